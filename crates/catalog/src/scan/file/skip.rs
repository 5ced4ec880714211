//! Which rows of a file need not be read.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use iceberg::spec::{Datum, NestedField, NestedFieldRef, PrimitiveLiteral, PrimitiveType};
use icecore_core::{CompareOp, Result};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::ParquetMetaData;
use roaring::RoaringTreemap;

use super::bind::arrow_type;
use super::layout::FileField;
use crate::predicate::{
    Evidence, Filter, Known, Membership, Nulls, Question, Value, has_nan, primitive,
};
use crate::scan::delete::live_ranges;

/// The rows of a row group that are to be read.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) index: usize,
    /// Where it begins in the file.
    start: u64,
    rows: u64,
    /// Counted from the group's first row, in order.
    keep: Vec<Range<u64>>,
}

impl Group {
    /// Those of its rows that lie in a range of it.
    pub(super) fn within(&self, range: Range<u64>) -> Self {
        let keep = intersection(&self.keep, &[range]);
        Self { keep, ..self.clone() }
    }

    /// Its rows that are to be read.
    #[cfg(test)]
    pub(super) fn kept(&self) -> &[Range<u64>] {
        &self.keep
    }

    /// Whether no row of it is to be read.
    pub(super) const fn is_empty(&self) -> bool {
        self.keep.is_empty()
    }

    /// Its rows, those that are not to be read among them.
    pub(super) const fn rows(&self) -> u64 {
        self.rows
    }
}

/// The row groups of a file.
pub(super) fn groups(metadata: &ParquetMetaData) -> Vec<Group> {
    let mut start = 0;
    let groups = metadata.row_groups().iter().enumerate();
    groups
        .map(|(index, group)| {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            let group = Group { index, start, rows, keep: std::iter::once(0..rows).collect() };
            start += rows;
            group
        })
        .collect()
}

/// Leaves deleted rows out.
pub(super) fn skip_deleted(groups: &mut Vec<Group>, deleted: &RoaringTreemap) {
    for group in &mut *groups {
        let live = live_ranges(deleted, group.start..group.start + group.rows);
        let start = group.start;
        let live: Vec<Range<u64>> =
            live.into_iter().map(|range| range.start - start..range.end - start).collect();
        group.keep = intersection(&group.keep, &live);
    }
    groups.retain(|group| !group.keep.is_empty());
}

/// The rows to read of the groups that are read, where those are not all.
pub(super) fn selection(groups: &[Group]) -> Option<RowSelection> {
    let is_whole =
        |group: &Group| matches!(group.keep.as_slice(), [all] if *all == (0..group.rows));
    if groups.iter().all(is_whole) {
        return None;
    }
    let (mut ranges, mut start) = (Vec::new(), 0);
    for group in groups {
        let place = |row: u64| usize::try_from(start + row).unwrap_or(usize::MAX);
        ranges.extend(group.keep.iter().map(|range| place(range.start)..place(range.end)));
        start += group.rows;
    }
    let total = usize::try_from(start).unwrap_or(usize::MAX);
    Some(RowSelection::from_consecutive_ranges(ranges.into_iter(), total))
}

/// What both hold. Either is in order and without overlaps.
fn intersection(left: &[Range<u64>], right: &[Range<u64>]) -> Vec<Range<u64>> {
    let (mut both, mut at) = (Vec::new(), 0);
    for range in left {
        while right.get(at).is_some_and(|other| other.end <= range.start) {
            at += 1;
        }
        let mut next = at;
        while let Some(other) = right.get(next).filter(|other| other.start < range.end) {
            both.push(range.start.max(other.start)..range.end.min(other.end));
            next += 1;
        }
    }
    both
}

/// What a footer says of the columns of a filter.
pub(super) struct Footer<'a> {
    footer: &'a ArrowReaderMetadata,
    columns: Vec<FooterColumn<'a>>,
}

struct FooterColumn<'a> {
    column: NestedFieldRef,
    wanted: DataType,
    field: &'a FileField,
    leaf: usize,
}

impl<'a> Footer<'a> {
    pub(super) fn new(
        footer: &'a ArrowReaderMetadata,
        fields: &'a [FileField],
        filter: &Filter,
    ) -> Result<Self> {
        let mut columns = Vec::new();
        for column in filter.columns() {
            let field = fields.iter().find(|field| field.id == Some(column.id));
            if let Some(field) = field.filter(|field| field.children.is_empty())
                && primitive(&column).is_some()
            {
                let wanted = arrow_type(&column.field_type)?;
                columns.push(FooterColumn { column, wanted, leaf: field.leaves.start, field });
            }
        }
        Ok(Self { footer, columns })
    }

    /// Leaves out row groups and pages that hold no row that passes.
    pub(super) fn skip(&self, groups: &mut Vec<Group>, filter: &Filter) {
        let known: Vec<(i32, Bounds)> = self
            .columns
            .iter()
            .filter_map(|column| Some((column.column.id, self.of_groups(column)?)))
            .collect();
        groups.retain(|group| filter.may_pass(&Part { known: &known, index: group.index }));
        for conjunct in filter.conjuncts() {
            if let [column] = conjunct.columns().as_slice()
                && let Some(column) = self.columns.iter().find(|own| own.column.id == column.id)
            {
                for group in &mut *groups {
                    if let Some(pages) = self.pages(column, group, &conjunct) {
                        group.keep = intersection(&group.keep, &pages);
                    }
                }
            }
        }
        groups.retain(|group| !group.keep.is_empty());
    }

    fn converter(&self, column: &FooterColumn<'a>) -> Option<StatisticsConverter<'a>> {
        let (schema, parquet) = (self.footer.schema(), self.footer.parquet_schema());
        let converter = StatisticsConverter::try_new(&column.field.name, schema, parquet).ok()?;
        let is_it = converter.parquet_column_index() == Some(column.leaf);
        is_it.then(|| converter.with_missing_null_counts_as_zero(false))
    }

    /// Bounds of each row group.
    fn of_groups(&self, column: &FooterColumn<'a>) -> Option<Bounds> {
        let groups = self.footer.metadata().row_groups();
        // Old writers ordered text by signed bytes.
        let is_odd = groups.iter().any(|group| {
            let statistics = group.columns().get(column.leaf).and_then(|chunk| chunk.statistics());
            statistics.is_some_and(|statistics| statistics.is_min_max_deprecated())
        });
        let is_ordered_by_bytes = matches!(
            column.field.data_type,
            DataType::Utf8
                | DataType::Binary
                | DataType::FixedSizeBinary(_)
                | DataType::Decimal128(..)
        );
        if is_odd && is_ordered_by_bytes {
            return None;
        }
        let converter = self.converter(column)?;
        Some(Bounds {
            mins: cast(&converter.row_group_mins(groups).ok()?, &column.wanted).ok()?,
            maxes: cast(&converter.row_group_maxes(groups).ok()?, &column.wanted).ok()?,
            nulls: converter.row_group_null_counts(groups).ok()?,
            rows: groups.iter().map(|group| u64::try_from(group.num_rows()).ok()).collect(),
        })
    }

    /// The rows of those pages of a group that may hold rows that pass; `None` if nothing is known.
    fn pages(
        &self,
        column: &FooterColumn<'a>,
        group: &Group,
        filter: &Filter,
    ) -> Option<Vec<Range<u64>>> {
        let metadata = self.footer.metadata();
        let (index, offsets) = (metadata.column_index()?, metadata.offset_index()?);
        index.get(group.index)?.get(column.leaf)?;
        let pages = offsets.get(group.index)?.get(column.leaf)?.page_locations();
        let starts = pages.iter().map(|page| u64::try_from(page.first_row_index).ok());
        let mut starts: Vec<u64> = starts.collect::<Option<_>>()?;
        starts.push(group.rows);
        if starts.first() != Some(&0) || !starts.is_sorted() {
            return None;
        }
        let converter = self.converter(column)?;
        let of = [group.index];
        let bounds = Bounds {
            mins: cast(&converter.data_page_mins(index, offsets, &of).ok()?, &column.wanted)
                .ok()?,
            maxes: cast(&converter.data_page_maxes(index, offsets, &of).ok()?, &column.wanted)
                .ok()?,
            nulls: converter.data_page_null_counts(index, offsets, &of).ok()?,
            rows: starts.windows(2).map(|pair| Some(pair[1] - pair[0])).collect(),
        };
        if bounds.mins.len() + 1 != starts.len() {
            return None;
        }
        let known = [(column.column.id, bounds)];
        let mut keep: Vec<Range<u64>> = Vec::new();
        for (page, pair) in starts.windows(2).enumerate() {
            let [from, to] = pair else { continue };
            if from == to || !filter.may_pass(&Part { known: &known, index: page }) {
                continue;
            }
            match keep.last_mut() {
                Some(last) if last.end == *from => last.end = *to,
                _ => keep.push(*from..*to),
            }
        }
        Some(keep)
    }

    /// The leaf columns whose bloom filters may answer a filter.
    pub(super) fn blooms(&self, filter: &Filter, group: usize) -> Vec<(i32, usize)> {
        let asked = filter.equalities();
        let columns = self.columns.iter().filter(|column| {
            let chunk = self.footer.metadata().row_groups().get(group);
            let chunk = chunk.and_then(|group| group.columns().get(column.leaf));
            asked.contains(&column.column.id)
                && column.field.data_type == column.wanted
                && chunk.is_some_and(|chunk| chunk.bloom_filter_offset().is_some())
        });
        columns.map(|column| (column.column.id, column.leaf)).collect()
    }
}

/// Bounds of parts of a file, one after the other.
struct Bounds {
    mins: ArrayRef,
    maxes: ArrayRef,
    nulls: UInt64Array,
    rows: Vec<Option<u64>>,
}

/// One of the parts that bounds are of.
struct Part<'a> {
    known: &'a [(i32, Bounds)],
    index: usize,
}

impl Evidence for Part<'_> {
    fn allows(&self, column: &NestedField, question: &Question) -> bool {
        let bounds = self.known.iter().find(|(id, _)| *id == column.id);
        let (Some((_, bounds)), Some(of)) = (bounds, primitive(column)) else { return true };
        let index = self.index;
        let is_known = index < bounds.nulls.len() && bounds.nulls.is_valid(index);
        let nulls = is_known.then(|| bounds.nulls.value(index));
        let nulls = Nulls::counted(nulls, bounds.rows.get(index).copied().flatten());
        let min = Value::of_array(&bounds.mins, index);
        let max = Value::of_array(&bounds.maxes, index);
        Known::between(min, max, nulls, has_nan(of)).allows(question, of)
    }
}

/// The bloom filters of a row group, by the ids of their columns.
#[derive(Default)]
pub(super) struct Blooms(pub(super) BTreeMap<i32, Sbbf>);

impl Evidence for Blooms {
    fn allows(&self, column: &NestedField, question: &Question) -> bool {
        let (Some(bloom), Some(of)) = (self.0.get(&column.id), primitive(column)) else {
            return true;
        };
        match question {
            Question::Compare(CompareOp::Eq, value) => may_hold(bloom, value, of),
            Question::In(values, Membership::Inside) => {
                values.iter().any(|value| may_hold(bloom, value, of))
            }
            _ => true,
        }
    }
}

fn may_hold(bloom: &Sbbf, value: &Datum, of: &PrimitiveType) -> bool {
    use PrimitiveType as P;
    match (of, value.literal()) {
        (P::Int | P::Date, PrimitiveLiteral::Int(value)) => bloom.check(value),
        (
            P::Long | P::Timestamp | P::Timestamptz | P::TimestampNs | P::TimestamptzNs,
            PrimitiveLiteral::Long(value),
        ) => bloom.check(value),
        (P::String, PrimitiveLiteral::String(text)) => bloom.check(text.as_str()),
        _ => true,
    }
}
