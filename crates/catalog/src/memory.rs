//! What the allocator should know of how tables are read and written.

use std::hint::black_box;
use std::sync::Once;

/// More than what is freed at once while batches stream, and little beside what reading takes.
const PIECE_BYTES: usize = 4 << 20;

/// Has memory that a batch frees kept for the next one.
///
/// glibc gives the end of a heap back to the system whenever 128 KiB of it are free, and larger
/// pieces at once. A stream of batches then takes them anew, page by page, which is a fifth of the
/// cost of a scan. It learns from a large piece that comes and goes that pieces up to that size do
/// (`mallopt(3)`, `M_MMAP_THRESHOLD`); a scan of one row group has none. Other allocators think
/// nothing of it.
pub(crate) fn keep_freed() {
    static LEARNED: Once = Once::new();
    LEARNED.call_once(|| drop(black_box(Vec::<u8>::with_capacity(PIECE_BYTES))));
}
