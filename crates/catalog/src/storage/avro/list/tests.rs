//! What is written is what the iceberg crate's reader and our own read.

use iceberg::spec::ManifestList;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const CODECS: [Codec; 4] = [Codec::Null, Codec::Deflate(1), Codec::Snappy, Codec::Zstandard(1)];

fn summary() -> impl Strategy<Value = FieldSummary> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    (any::<bool>(), proptest::option::of(any::<bool>()), bytes(), bytes()).prop_map(
        |(contains_null, contains_nan, lower, upper)| FieldSummary {
            contains_null,
            contains_nan,
            lower_bound: lower.map(Into::into),
            upper_bound: upper.map(Into::into),
        },
    )
}

/// A manifest of a snapshot, or of one before it.
fn manifest() -> impl Strategy<Value = ManifestFile> {
    let numbers = (1..i64::MAX, any::<i32>(), 0..1_000_i64, any::<bool>());
    let counts = (any::<u16>(), any::<u16>(), any::<u16>(), 0..(1_u64 << 40), 0..(1_u64 << 40));
    let partitions = proptest::option::of(proptest::collection::vec(summary(), 0..4));
    let key = proptest::option::of(proptest::collection::vec(any::<u8>(), 1..4));
    let content = select(vec![ManifestContentType::Data, ManifestContentType::Deletes]);
    ("\\PC{1,40}", numbers, counts, partitions, key, content, proptest::option::of(0..1_000_u64))
        .prop_map(|(path, numbers, counts, partitions, key_metadata, content, first_row_id)| {
            let (length, spec, sequence, is_new) = numbers;
            let (added, existing, deleted, rows, more) = counts;
            ManifestFile {
                manifest_path: path,
                manifest_length: length,
                partition_spec_id: spec,
                content,
                sequence_number: if is_new { UNASSIGNED } else { sequence },
                min_sequence_number: if is_new { UNASSIGNED } else { sequence },
                added_snapshot_id: if is_new { 77 } else { 76 },
                added_files_count: Some(added.into()),
                existing_files_count: Some(existing.into()),
                deleted_files_count: Some(deleted.into()),
                added_rows_count: Some(rows),
                existing_rows_count: Some(more),
                deleted_rows_count: Some(rows / 2),
                partitions,
                key_metadata,
                first_row_id,
            }
        })
}

proptest! {
    #[test]
    fn both_readers_read_what_is_written(
        manifests in proptest::collection::vec(manifest(), 0..20),
        version in select(vec![FormatVersion::V2, FormatVersion::V3]),
        codec in select(CODECS.to_vec()),
        parent in proptest::option::of(any::<i64>()),
    ) {
        let ids = version == FormatVersion::V3;
        let kind = ListKind {
            version,
            snapshot: 77,
            parent,
            sequence: 2_000,
            first_row_id: ids.then_some(5_000),
            codec,
        };
        let (bytes, next) = write_list(&kind, manifests.clone()).unwrap();
        let (again, _) = write_list(&kind, manifests.clone()).unwrap();
        prop_assert_eq!(&bytes, &again);
        let theirs = ManifestList::parse_with_version(&bytes, version).unwrap();
        let theirs: Vec<ManifestFile> = theirs.consume_entries().into_iter().collect();
        prop_assert_eq!(&list(&bytes, u64::MAX).unwrap(), &theirs);
        // What was said is said, and what was left open is filled in.
        let mut row_id = 5_000;
        for (mut wanted, read) in manifests.into_iter().zip(theirs) {
            if wanted.sequence_number == UNASSIGNED {
                wanted.sequence_number = 2_000;
                wanted.min_sequence_number = 2_000;
            }
            match (wanted.content, wanted.first_row_id) {
                (ManifestContentType::Data, None) if ids => {
                    wanted.first_row_id = Some(row_id);
                    row_id += wanted.added_rows_count.unwrap() + wanted.existing_rows_count.unwrap();
                }
                (ManifestContentType::Data, Some(_)) if ids => {}
                _ => wanted.first_row_id = None,
            }
            prop_assert_eq!(wanted, read);
        }
        prop_assert_eq!(next, ids.then_some(row_id));
    }

    #[test]
    fn damaged_bytes_are_never_read_as_others_than_the_other_reader_finds(
        manifests in proptest::collection::vec(manifest(), 1..5),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let kind = ListKind {
            version: FormatVersion::V3,
            snapshot: 77,
            parent: None,
            sequence: 2_000,
            first_row_id: Some(0),
            codec: Codec::Null,
        };
        let (mut bytes, _) = write_list(&kind, manifests).unwrap();
        let header = bytes.len() - Container::open(&bytes).unwrap().parts.blocks.len();
        for (at, byte) in damage {
            let at = header + at.index(bytes.len() - header);
            bytes[at] = byte;
        }
        let theirs = std::panic::catch_unwind(|| {
            ManifestList::parse_with_version(&bytes, FormatVersion::V3)
        });
        if let (Some(ours), Ok(Ok(theirs))) = (list(&bytes, 1 << 20), theirs) {
            let theirs: Vec<ManifestFile> = theirs.consume_entries().into_iter().collect();
            prop_assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn a_manifest_of_no_snapshot_or_without_counts_is_refused() {
    let kind = ListKind {
        version: FormatVersion::V2,
        snapshot: 77,
        parent: None,
        sequence: 1,
        first_row_id: None,
        codec: Codec::Null,
    };
    let whole = ManifestFile {
        manifest_path: "m".to_owned(),
        manifest_length: 1,
        partition_spec_id: 0,
        content: ManifestContentType::Data,
        sequence_number: 1,
        min_sequence_number: 1,
        added_snapshot_id: 76,
        added_files_count: Some(1),
        existing_files_count: Some(0),
        deleted_files_count: Some(0),
        added_rows_count: Some(1),
        existing_rows_count: Some(0),
        deleted_rows_count: Some(0),
        partitions: None,
        key_metadata: None,
        first_row_id: None,
    };
    assert!(write_list(&kind, vec![whole.clone()]).is_ok());
    let lost = ManifestFile { sequence_number: UNASSIGNED, ..whole.clone() };
    assert!(write_list(&kind, vec![lost]).is_err());
    let silent = ManifestFile { added_rows_count: None, ..whole };
    let error = write_list(&kind, vec![silent]).unwrap_err();
    assert!(error.to_string().contains("`m`"), "{error}");
}
