//! The footer of a Parquet file says how long it is in the file's last bytes, which every reader asks
//! for first: so that is where a length that would exhaust memory is noticed.

use icecore_core::Result;

use super::limits::exceeded;

/// The length of a footer, and one of the two marks that end a file.
const TAIL_BYTES: usize = 8;
const MARKS: [&[u8]; 2] = [b"PAR1", b"PARE"];

/// The longest read that may be one of a file's end: readers fetch a little more than the tail, to
/// have the footer with it.
pub(super) const READ_BYTES_MAX: u64 = 2 << 20;

/// Fails for bytes that end a Parquet file whose footer is larger than `limit`.
///
/// # Errors
///
/// `LimitExceeded` naming the file.
pub(super) fn check(location: &str, bytes: &[u8], limit: u64) -> Result<()> {
    let Some(at) = bytes.len().checked_sub(TAIL_BYTES) else { return Ok(()) };
    let tail = &bytes[at..];
    if !location.ends_with(".parquet") || !MARKS.contains(&&tail[4..]) {
        return Ok(());
    }
    let length = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    if u64::from(length) > limit {
        return Err(exceeded(location, "the footer", limit, "storage.footer_limit"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use icecore_core::ErrorKind;

    use super::*;

    #[test]
    fn a_footer_that_is_too_large_is_refused_from_its_tail() {
        let tail = |length: u32, mark: &[u8]| [&length.to_le_bytes()[..], mark].concat();
        let kind = |name: &str, bytes: &[u8]| check(name, bytes, 100).err().map(|e| e.kind());
        assert_eq!(kind("a.parquet", &tail(100, b"PAR1")), None);
        for bytes in [tail(101, b"PAR1"), [vec![0; 90], tail(u32::MAX, b"PARE")].concat()] {
            assert_eq!(kind("a.parquet", &bytes), Some(ErrorKind::LimitExceeded));
            assert_eq!(kind("a.bin", &bytes), None);
        }
        assert_eq!(kind("a.parquet", &tail(101, b"PAR2")), None);
        assert_eq!(kind("a.parquet", b"PAR1"), None);
    }
}
