//! Writing a file again of which most stays as it is.
//!
//! A row group that loses no row keeps the columns in which none changes: their bytes are copied with
//! all that the footer and the page index say of them. So the deletion of one user's rows from a file
//! that is sorted by user encodes a row group, and an update of one column encodes that column.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use iceberg::spec::{DataContentType, SchemaRef};
use icecore_core::{BatchStream, Error, Result};
use parquet::basic::Type as PhysicalType;
use parquet::schema::types::{SchemaDescriptor, TypePtr};
use roaring::RoaringTreemap;

use super::patch::{NewValues, Patch, Patcher};
use super::target::{Target, schema_of};
use crate::scan::{FileTask, StoredFile, deleted_positions};
use crate::schema;
use crate::storage::KnownFile as _;
use crate::write::{Copied, Splice, WrittenFiles, column_leaves, target_bytes};

/// A file is put together if at least one in so many of its bytes can be copied. Otherwise it is
/// written anew, which makes row groups of their full size of those that became small.
const COPIED_MIN: i64 = 4;

/// Writes a file again, patched, if much of it can be copied.
///
/// # Errors
///
/// As [`crate::write::write_rows`]; `DataCorrupt` for a file that is not what the table says.
pub(super) async fn splice(
    target: &Target,
    task: &FileTask,
    patch: &Patch,
    values: &NewValues,
) -> Result<Option<WrittenFiles>> {
    if !keeps_its_place(target, task, patch)? {
        return Ok(None);
    }
    let stored = StoredFile::open(target.table.file_io(), &task.file).await?;
    let columns = target.moved_columns()?;
    let partition = task.file.partition().clone();
    let like = stored.metadata();
    let file = Splice::begin(&target.write_target(), &columns, partition, like).await?;
    let deleted = deleted_positions(&target.table, task).await?;
    let layout = Layout::new(&stored, file.fields()?, target.has_lineage());
    let plan = layout.plan(patch, &deleted);
    if !layout.is_worth_it(&plan) {
        return Ok(None);
    }
    let rows = plan.iter().map(|part| part.rows).sum();
    let nans = layout.nans(task, &plan);
    let feeds = Feeds::new(target, task, (patch, values), &plan)?;
    let mut work = Work { stored, file, layout, feeds };
    work.run(plan).await?;
    let written = work.file.finish(&nans).await?;
    if written.record_count() != rows {
        return Err(Error::internal("rows were lost while a file was written again"));
    }
    Ok(Some(WrittenFiles { files: vec![written], rows }))
}

/// Whether the rows that stay make one file, in the order that they have: of the present partitioning,
/// of the present sort order, and of about the present size.
fn keeps_its_place(target: &Target, task: &FileTask, patch: &Patch) -> Result<bool> {
    let metadata = target.table.metadata();
    let (spec, order) = (metadata.default_partition_spec(), metadata.default_sort_order());
    let by_key = |content| content == DataContentType::EqualityDeletes;
    if task.spec_id != spec.spec_id()
        || task.deletes.iter().any(|delete| by_key(delete.file.content_type()))
    {
        return Ok(false);
    }
    let is_sorted = task.file.sort_order_id().map(i64::from) == Some(order.order_id);
    if !order.fields.is_empty() && !is_sorted {
        return Ok(false);
    }
    // A changed value may move its row to another place or partition.
    let changed: BTreeSet<i32> = {
        let fields = target.columns().as_struct().fields();
        let changed = patch.columns.iter().filter_map(|place| fields.get(*place));
        changed.flat_map(|field| schema::ids_of(field)).collect()
    };
    let mut sources = spec.fields().iter().map(|field| field.source_id);
    let mut sorted = order.fields.iter().map(|field| field.source_id);
    if sources.any(|id| changed.contains(&id)) || sorted.any(|id| changed.contains(&id)) {
        return Ok(false);
    }
    let largest = (target_bytes(metadata)? as u64).saturating_mul(2);
    Ok(task.file.file_size_in_bytes() <= largest)
}

/// What becomes of a row group.
#[derive(Debug)]
struct Part {
    group: usize,
    places: Range<u64>,
    /// The rows that stay.
    rows: u64,
    /// The columns that are encoded, by their places among those of the new file. The others are
    /// copied.
    encoded: BTreeSet<usize>,
}

/// How the columns of the new file lie in the old one.
struct Layout {
    /// For each column of the new file, the leaf columns of the old one that are the same.
    columns: Vec<Option<Range<usize>>>,
    /// Columns that cannot be copied.
    always: BTreeSet<usize>,
    /// The rows of each row group of the old file, and the bytes of each of its leaf columns.
    groups: Vec<(Range<u64>, Vec<i64>)>,
    /// Ids of leaf columns of floats, by the column of the new file.
    floats: Vec<(usize, i32)>,
}

impl Layout {
    fn new(stored: &StoredFile, fields: &[TypePtr], has_lineage: bool) -> Self {
        let metadata = stored.metadata();
        let schema = metadata.file_metadata().schema_descr();
        let own = schema.root_schema().get_fields();
        let leaves = column_leaves(schema);
        let (mut groups, mut start) = (Vec::new(), 0);
        for group in metadata.row_groups() {
            let end = start + group.num_rows().unsigned_abs();
            let bytes = group.columns().iter().map(|chunk| chunk.compressed_size());
            groups.push((start..end, bytes.collect()));
            start = end;
        }
        let can_be_moved = |range: &Range<usize>| {
            (0..groups.len())
                .all(|group| range.clone().all(|leaf| stored.can_be_moved(group, leaf)))
        };
        // What rows keep is said anew: in the old file it may be left to the manifest.
        let kept = fields.len() - if has_lineage { crate::write::lineage::COLUMNS } else { 0 };
        let same = |(place, field): (usize, &TypePtr)| {
            let mut at = own.iter().zip(&leaves).filter(|(own, _)| *own == field);
            let range = at.next().map(|(_, range)| range.clone());
            range.filter(|range| place < kept && can_be_moved(range))
        };
        let columns: Vec<Option<Range<usize>>> = fields.iter().enumerate().map(same).collect();
        let copied = columns.iter().enumerate();
        let floats = copied.flat_map(|(place, range)| {
            let leaves = range.clone().into_iter().flatten();
            leaves.filter_map(move |leaf| float_id(schema, leaf).map(|id| (place, id)))
        });
        let floats = floats.collect();
        let always = columns.iter().enumerate().filter(|(_, range)| range.is_none());
        let always = always.map(|(place, _)| place).collect();
        Self { columns, always, groups, floats }
    }

    /// What becomes of the row groups that keep a row.
    fn plan(&self, patch: &Patch, deleted: &RoaringTreemap) -> Vec<Part> {
        let gone = &patch.gone | deleted;
        let gone_in = |places: &Range<u64>| {
            let before = |end: u64| end.checked_sub(1).map_or(0, |last| gone.rank(last));
            before(places.end) - before(places.start)
        };
        let mut parts = Vec::new();
        for (group, (places, _)) in self.groups.iter().enumerate() {
            let (all, gone) = (places.end - places.start, gone_in(places));
            if gone == all {
                continue;
            }
            let first = patch.changed.partition_point(|(place, _)| *place < places.start);
            let changes = patch.changed.get(first).is_some_and(|(place, _)| places.contains(place));
            let encoded = match (gone > 0, changes) {
                (true, _) => (0..self.columns.len()).collect(),
                (false, true) => &self.always | &patch.columns,
                (false, false) => self.always.clone(),
            };
            parts.push(Part { group, places: places.clone(), rows: all - gone, encoded });
        }
        parts
    }

    /// Whether enough is copied.
    fn is_worth_it(&self, plan: &[Part]) -> bool {
        let mut copied = 0;
        for part in plan {
            let Some((_, bytes)) = self.groups.get(part.group) else { continue };
            for (place, leaves) in self.columns.iter().enumerate() {
                if !part.encoded.contains(&place)
                    && let Some(leaves) = leaves
                {
                    copied += bytes.get(leaves.clone()).unwrap_or_default().iter().sum::<i64>();
                }
            }
        }
        let all: i64 = self.groups.iter().flat_map(|(_, bytes)| bytes).sum();
        copied.saturating_mul(COPIED_MIN) >= all && copied > 0
    }

    /// How many values of columns that are copied are NaN, by the ids of the columns.
    fn nans(&self, task: &FileTask, plan: &[Part]) -> Vec<(i32, Option<u64>)> {
        let is_copied = |place: usize| plan.iter().any(|part| !part.encoded.contains(&place));
        let stays_whole = |place: usize| {
            plan.len() == self.groups.len()
                && plan.iter().all(|part| !part.encoded.contains(&place))
        };
        let floats = self.floats.iter().filter(|(place, _)| is_copied(*place));
        let counted = floats.map(|(place, id)| {
            let nans = task.file.nans(*id);
            (*id, nans.filter(|nans| *nans == 0 || stays_whole(*place)))
        });
        counted.collect()
    }
}

fn float_id(schema: &SchemaDescriptor, leaf: usize) -> Option<i32> {
    let column = schema.columns().get(leaf)?;
    let is_float = matches!(column.physical_type(), PhysicalType::FLOAT | PhysicalType::DOUBLE);
    let info = column.self_type().get_basic_info();
    (is_float && info.has_id()).then(|| info.id())
}

struct Work {
    stored: StoredFile,
    file: Splice,
    layout: Layout,
    feeds: Feeds,
}

impl Work {
    async fn run(&mut self, plan: Vec<Part>) -> Result<()> {
        let all = self.layout.columns.len();
        let group_rows = self.file.group_rows() as u64;
        // Row groups that are encoded as a whole and became small go together.
        let mut open: Option<u64> = None;
        for part in plan {
            let is_whole = part.encoded.len() == all;
            let joins = is_whole && open.is_some_and(|rows| rows + part.rows <= group_rows);
            if !joins {
                if open.take().is_some() {
                    self.file.end_group(Vec::new()).await?;
                }
                self.file.begin_group(&part.encoded)?;
            }
            while let Some(rows) = self.feeds.next(&part).await? {
                self.file.push(&rows).await?;
            }
            if is_whole {
                open = Some(open.unwrap_or(0) + part.rows);
            } else {
                let copied = self.copied(&part).await?;
                self.file.end_group(copied).await?;
            }
        }
        if open.is_some() {
            self.file.end_group(Vec::new()).await?;
        }
        Ok(())
    }

    async fn copied(&mut self, part: &Part) -> Result<Vec<Copied>> {
        let columns = self.layout.columns.iter().enumerate();
        let copied = columns.filter(|(place, _)| !part.encoded.contains(place));
        let copied = copied.filter_map(|(place, range)| Some((place, range.clone()?)));
        let copied: Vec<(usize, Range<usize>)> = copied.collect();
        let wanted: Vec<usize> = copied.iter().flat_map(|(_, range)| range.clone()).collect();
        let mut chunks = self.stored.chunks(part.group, &wanted).await?.into_iter();
        let columns = copied.into_iter();
        Ok(columns
            .map(|(place, range)| (place, chunks.by_ref().take(range.len()).collect()))
            .collect())
    }
}

/// Patched rows of the columns that are encoded, by which columns those are.
struct Feeds(Vec<(BTreeSet<usize>, Feed)>);

struct Feed {
    rows: BatchStream,
    /// Rows that were read and lie in a later row group.
    ahead: Option<RecordBatch>,
    patcher: Patcher,
}

impl Feeds {
    fn new(
        target: &Target,
        task: &FileTask,
        (patch, values): (&Patch, &NewValues),
        plan: &[Part],
    ) -> Result<Self> {
        let mut wanted: Vec<(BTreeSet<usize>, Vec<usize>)> = Vec::new();
        for part in plan.iter().filter(|part| !part.encoded.is_empty()) {
            match wanted.iter_mut().find(|(encoded, _)| *encoded == part.encoded) {
                Some((_, groups)) => groups.push(part.group),
                None => wanted.push((part.encoded.clone(), vec![part.group])),
            }
        }
        let columns = target.moved_columns()?;
        let feeds = wanted.into_iter().map(|(encoded, groups)| {
            let columns = pick(&columns, &encoded)?;
            let arrow = schema::to_arrow(&columns)?;
            let values = encoded.iter().map(|place| values.columns.get(*place).cloned().flatten());
            let values = Arc::new(NewValues { columns: values.collect() });
            let rows = target.read_groups(task, columns, None, Some(groups));
            let patcher = Patcher::new(patch.clone(), values, arrow);
            Ok((encoded, Feed { rows, ahead: None, patcher }))
        });
        feeds.collect::<Result<_>>().map(Self)
    }

    /// The next rows of a row group.
    async fn next(&mut self, part: &Part) -> Result<Option<RecordBatch>> {
        match self.0.iter_mut().find(|(encoded, _)| *encoded == part.encoded) {
            Some((_, feed)) => feed.next(part.places.end).await,
            None => Ok(None),
        }
    }
}

impl Feed {
    /// The next rows before this place.
    async fn next(&mut self, end: u64) -> Result<Option<RecordBatch>> {
        let batch = match self.ahead.take() {
            Some(batch) => batch,
            None => match self.rows.try_next().await? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        let places = batch.columns().last().map(|places| places.as_primitive::<Int64Type>());
        let before = places.map_or(0, |places| {
            places.values().partition_point(|place| place.cast_unsigned() < end)
        });
        if before < batch.num_rows() {
            self.ahead = Some(batch.slice(before, batch.num_rows() - before));
        }
        if before == 0 {
            return Ok(None);
        }
        self.patcher.batch(&batch.slice(0, before)).map(Some)
    }
}

fn pick(columns: &SchemaRef, places: &BTreeSet<usize>) -> Result<SchemaRef> {
    let fields = columns.as_struct().fields();
    schema_of(places.iter().filter_map(|place| fields.get(*place)).cloned().collect())
}
