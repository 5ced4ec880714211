//! Files that are not what they should be: an error that names the file, in bounded memory.
//!
//! More mutants, by hand:
//!
//! ```text
//! ICECORE_TEST_MUTANTS=100000 cargo test --release -p icecore-testkit --test malformed
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "clippy's exemption does not reach the helpers of a test"
)]

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use icecore_core::ErrorKind;
use icecore_testkit::Random;
use icecore_testkit::specimen::{Part, Specimen};

/// More than this no damaged file may cost.
const MEMORY_MAX_KIB: u64 = 1 << 20;

fn mutants() -> u64 {
    let asked = std::env::var("ICECORE_TEST_MUTANTS").ok();
    asked.and_then(|value| value.parse().ok()).unwrap_or(1_000)
}

/// The most memory that this process ever held.
fn memory_peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A change of some bytes: what a bad disk, a cut connection or somebody with bad intentions does.
fn mutant(bytes: &Bytes, mut random: Random) -> Bytes {
    let mut bytes = bytes.to_vec();
    let place = |random: &mut Random, length: usize| {
        usize::try_from(random.below(length.max(1) as u64)).unwrap()
    };
    for _ in 0..=random.below(4) {
        let at = place(&mut random, bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            2 => {
                // Numbers at the edges of their types, where lengths are.
                let edges = [0_u64, u64::MAX, 1 << 31, 1 << 63, 0x7fff_ffff];
                let edge = edges[place(&mut random, edges.len())].to_le_bytes();
                for (byte, new) in bytes.iter_mut().skip(at).zip(&edge[..4]) {
                    *byte = *new;
                }
            }
            3 => {
                let end = (at + place(&mut random, 64)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            4 => {
                let end = (at + place(&mut random, 64)).min(bytes.len());
                let copy = bytes[at.min(end)..end].to_vec();
                let to = place(&mut random, bytes.len());
                bytes.splice(to..to, copy);
            }
            5 => {
                for byte in bytes.iter_mut().skip(at).take(place(&mut random, 16)) {
                    *byte = u8::try_from(random.below(256)).unwrap();
                }
            }
            _ => {
                // Digits of JSON become other digits, so that it stays JSON.
                if let Some(byte) = bytes.iter_mut().skip(at).find(|byte| byte.is_ascii_digit()) {
                    *byte = b'0' + u8::try_from(random.below(10)).unwrap();
                }
            }
        }
    }
    Bytes::from(bytes)
}

fn check(part: Part) {
    check_of(&Specimen::new(), part);
}

fn check_of(specimen: &Specimen, part: Part) {
    let whole = specimen.bytes(part);
    specimen.read(part, &whole).unwrap();
    // A parser that panics is caught where it is called; what it says on stderr helps nobody here.
    std::panic::set_hook(Box::new(|_| {}));
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for number in 0..mutants() {
        let bytes = mutant(&whole, Random::new(number).of(part as u64));
        let read = catch_unwind(AssertUnwindSafe(|| specimen.read(part, &bytes)));
        let Ok(read) = read else {
            let _ = std::panic::take_hook();
            panic!("mutant {number} of {part:?} stops its reader");
        };
        if let Err(error) = &read {
            // Whatever is wrong is said of the file in which it is.
            let mut text = format!("{error:?}");
            text.push_str(&error.notes().join(" "));
            // A list that names what is not there is found out by the name that it has.
            let is_named = text.contains(specimen.name(part))
                || text.contains("damaged.goods")
                || text.contains('`') && text.contains('/');
            if !is_named || error.kind() == ErrorKind::Internal {
                let _ = std::panic::take_hook();
                panic!("mutant {number} of {part:?}: {:?} {text}", error.kind());
            }
        }
        let kind = read.err().map_or("read".to_owned(), |error| format!("{:?}", error.kind()));
        *kinds.entry(kind).or_default() += 1;
    }
    let _ = std::panic::take_hook();
    let peak = memory_peak_kib();
    eprintln!("{part:?}: {kinds:?}, at most {peak} KiB");
    assert!(peak < MEMORY_MAX_KIB, "{peak} KiB");
}

#[test]
fn damaged_metadata_is_an_error() {
    check(Part::Metadata);
}

#[test]
fn a_damaged_manifest_list_is_an_error() {
    check(Part::ManifestList);
}

#[test]
fn a_damaged_manifest_is_an_error() {
    check(Part::Manifest);
}

#[test]
fn a_damaged_file_of_rows_is_an_error() {
    check(Part::Rows);
}

#[test]
fn a_damaged_deletion_vector_is_an_error() {
    check_of(&Specimen::with_deletes(3), Part::Deletes);
}

#[test]
fn a_damaged_file_of_deleted_positions_is_an_error() {
    check_of(&Specimen::with_deletes(2), Part::Deletes);
}

#[test]
fn a_damaged_file_of_deleted_keys_is_an_error() {
    check_of(&Specimen::with_deleted_keys(), Part::Deletes);
}

#[test]
fn a_damaged_file_of_statistics_is_an_error() {
    check_of(&Specimen::with_statistics(), Part::Statistics);
}

#[test]
fn a_bomb_is_an_error_that_costs_little() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![b' '; 1 << 20];
    for _ in 0..64 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = Bytes::from(encoder.finish().unwrap());
    assert!(bomb.len() < 4 << 20, "{}", bomb.len());
    let specimen = Specimen::new();
    let error = specimen.read(Part::Metadata, &bomb).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error:?}");
    assert!(error.to_string().contains(specimen.name(Part::Metadata)), "{error}");
    assert!(memory_peak_kib() < MEMORY_MAX_KIB, "{} KiB", memory_peak_kib());
}
