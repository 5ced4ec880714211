//! Large row groups, a part at a time.
//!
//! The columns of a row group lie one after the other, and a reader gets all of a row group before it
//! decodes any. A group of a million rows would stay in memory as a whole while its rows are
//! handed on. The page index says where in each column some rows begin, so large groups are read in
//! slices, which end where a page of their largest column does.

use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::skip::Group;

/// Bytes of the columns of a slice. Tests read everything in small ones.
const SLICE_BYTES: u64 = if cfg!(test) { 1 << 10 } else { 8 << 20 };

/// Whether there is a row group that is read in slices.
pub(super) fn has_large(metadata: &ParquetMetaData, groups: &[Group], leaves: &[usize]) -> bool {
    groups.iter().any(|group| {
        let of = metadata.row_groups().get(group.index);
        of.is_some_and(|of| bytes(of, leaves) > 2 * SLICE_BYTES)
    })
}

/// Row groups that are read together: small ones all at once, large ones slice by slice.
pub(super) fn slices(
    metadata: &ParquetMetaData,
    groups: Vec<Group>,
    leaves: &[usize],
) -> Vec<Vec<Group>> {
    let mut slices: Vec<Vec<Group>> = Vec::new();
    let mut small = Vec::new();
    for group in groups {
        let ends = ends(metadata, &group, leaves);
        if ends.is_empty() {
            small.push(group);
            continue;
        }
        if !small.is_empty() {
            slices.push(std::mem::take(&mut small));
        }
        let mut start = 0;
        for end in ends.into_iter().chain([group.rows()]) {
            let part = group.within(start..end);
            if !part.is_empty() {
                slices.push(vec![part]);
            }
            start = end;
        }
    }
    if !small.is_empty() {
        slices.push(small);
    }
    slices
}

/// Where the slices of a row group end, but the last one; nothing where it is read as a whole.
fn ends(metadata: &ParquetMetaData, group: &Group, leaves: &[usize]) -> Vec<u64> {
    let Some(of) = metadata.row_groups().get(group.index) else { return Vec::new() };
    let all = bytes(of, leaves);
    let largest = leaves.iter().max_by_key(|leaf| column_bytes(of, **leaf));
    let pages = metadata
        .offset_index()
        .and_then(|index| index.get(group.index))
        .zip(largest)
        .and_then(|(columns, largest)| columns.get(*largest));
    let (Some(pages), Some(largest)) = (pages, largest) else { return Vec::new() };
    if all <= 2 * SLICE_BYTES {
        return Vec::new();
    }
    // The share of a slice that falls to the largest column.
    let share = u128::from(SLICE_BYTES) * u128::from(column_bytes(of, *largest)) / u128::from(all);
    let (mut ends, mut taken) = (Vec::new(), 0_u128);
    for page in pages.page_locations() {
        let start = u64::try_from(page.first_row_index).unwrap_or(0);
        if taken > 0 && taken >= share && start > ends.last().copied().unwrap_or(0) {
            ends.push(start);
            taken = 0;
        }
        taken += u128::try_from(page.compressed_page_size).unwrap_or(0);
    }
    ends
}

fn bytes(group: &RowGroupMetaData, leaves: &[usize]) -> u64 {
    leaves.iter().map(|leaf| column_bytes(group, *leaf)).sum()
}

fn column_bytes(group: &RowGroupMetaData, leaf: usize) -> u64 {
    let size = group.columns().get(leaf).map_or(0, |column| column.compressed_size());
    u64::try_from(size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
    use parquet::file::properties::WriterProperties;

    use super::super::skip::groups;
    use super::*;

    #[test]
    fn slices_of_a_large_group_have_all_of_its_rows_once_and_in_order() {
        let random = |row: i64| row.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed());
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..10_000).map(random)));
        let rows = RecordBatch::try_from_iter([("a", column.clone()), ("b", column)]).unwrap();
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_data_page_row_count_limit(100)
            .set_write_batch_size(50)
            .build();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        let mut reader =
            ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
        reader.try_parse(&Bytes::from(file)).unwrap();
        let metadata = reader.finish().unwrap();
        assert!(has_large(&metadata, &groups(&metadata), &[0, 1]));
        let found = slices(&metadata, groups(&metadata), &[0, 1]);
        assert!(found.len() > 50, "{}", found.len());
        let mut next = 0;
        for slice in &found {
            let [part] = slice.as_slice() else { panic!("a slice of one group") };
            let [range] = part.kept() else { panic!("one range of it") };
            assert_eq!(range.start, next);
            next = range.end;
        }
        assert_eq!(next, 10_000);
        assert_eq!(slices(&metadata, groups(&metadata), &[]).len(), 1);
    }
}
