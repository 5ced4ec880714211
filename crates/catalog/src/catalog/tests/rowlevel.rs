//! Deleting, overwriting and upserting rows.

mod conflicts;
mod lineage;
mod oracle;
mod splice;
mod upserts;

use arrow::array::{Array, AsArray, Float64Array, StringArray};
use arrow::datatypes::Float64Type;
use icecore_core::{CompareOp, Literal, PinnedTable, Predicate};

use super::*;
use crate::rowlevel::{RowChanges, RowFilter, RowMode, RowOptions};

/// A row: `id`, `name`, `score` and `day`, by which tables may be partitioned, and `extra`, a
/// column that tables get later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    id: i64,
    name: Option<String>,
    /// The bits of the number.
    score: Option<u64>,
    day: i32,
    extra: Option<i64>,
}

impl Line {
    fn score(&self) -> Option<f64> {
        self.score.map(f64::from_bits)
    }
}

pub(super) fn line(id: i64, name: &str, score: f64, day: i32) -> Line {
    Line { id, name: Some(name.to_owned()), score: Some(score.to_bits()), day, extra: None }
}

pub(super) fn schema_with(extra: bool) -> SchemaRef {
    let mut fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("score", DataType::Float64, true),
        Field::new("day", DataType::Date32, false),
    ];
    if extra {
        fields.push(Field::new("extra", DataType::Int64, true));
    }
    Arc::new(Schema::new(fields))
}

pub(super) fn lines_of(of: &[Line], extra: bool) -> BatchStream {
    let schema = schema_with(extra);
    let mut columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(of.iter().map(|line| line.id))),
        Arc::new(StringArray::from_iter(of.iter().map(|line| line.name.clone()))),
        Arc::new(Float64Array::from_iter(of.iter().map(Line::score))),
        Arc::new(Date32Array::from_iter_values(of.iter().map(|line| line.day))),
    ];
    if extra {
        columns.push(Arc::new(Int64Array::from_iter(of.iter().map(|line| line.extra))));
    }
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    // In two pieces, so that batches do not matter.
    let cut = batch.num_rows() / 2;
    let pieces = vec![batch.slice(0, cut), batch.slice(cut, batch.num_rows() - cut)];
    BatchStream::from_batches(schema, pieces)
}

/// A lake with the table `ns.lines`.
pub(super) struct Lines {
    pub(super) lake: Lake,
    pub(super) table: TableName,
    pub(super) extra: bool,
}

impl Lines {
    pub(super) async fn new(version: u8, partition_by: &[&str]) -> Self {
        let lake = Lake::empty().await;
        let table = TableName::parse("ns.lines").unwrap();
        let new = NewTable::new(schema_with(false))
            .with_partition_by(partition_by.iter().copied())
            .with_format_version(version);
        lake.catalog.ensure_table(&table, &new).await.unwrap();
        Self { lake, table, extra: false }
    }

    pub(super) const fn catalog(&self) -> &IcebergCatalog {
        &self.lake.catalog
    }

    pub(super) async fn append(&self, of: &[Line]) -> Committed {
        let rows = lines_of(of, self.extra);
        self.catalog().commit(&self.table, rows, CommitOptions::default()).await.unwrap()
    }

    pub(super) async fn now(&self) -> Vec<Line> {
        self.at(&self.pin().await).await
    }

    pub(super) async fn pin(&self) -> PinnedTable {
        self.catalog().pin(&self.table, &SnapshotSelector::Latest).await.unwrap()
    }

    pub(super) async fn at(&self, pinned: &PinnedTable) -> Vec<Line> {
        let rows = self.catalog().scan(pinned, ScanOptions::default()).await.unwrap();
        let rows = rows.concat().await.unwrap();
        let ids = rows.column(0).as_primitive::<Int64Type>();
        let names = rows.column(1).as_string::<i32>();
        let scores = rows.column(2).as_primitive::<Float64Type>();
        let days = rows.column(3).as_primitive::<Date32Type>();
        let extras = rows.columns().get(4).map(|extra| extra.as_primitive::<Int64Type>());
        let mut all: Vec<Line> = (0..rows.num_rows())
            .map(|row| Line {
                id: ids.value(row),
                name: names.is_valid(row).then(|| names.value(row).to_owned()),
                score: scores.is_valid(row).then(|| scores.value(row).to_bits()),
                day: days.value(row),
                extra: extras.filter(|extras| extras.is_valid(row)).map(|extras| extras.value(row)),
            })
            .collect();
        all.sort();
        all
    }

    pub(super) async fn delete(&self, filter: &Predicate, options: RowOptions) -> RowChanges {
        self.catalog().delete(&self.table, filter, options).await.unwrap()
    }

    /// Paths of the data files of the head, in order.
    pub(super) async fn paths(&self) -> Vec<String> {
        let plan = self.catalog().plan_files(&self.pin().await, None).await.unwrap();
        plan.files.iter().map(|file| file.path().to_string()).collect()
    }

    /// Where a data file is on the disk.
    fn on_disk(&self, path: &str) -> String {
        let name = path.rsplit('/').next().unwrap();
        self.lake.files_on_disk().into_iter().find(|file| file.ends_with(name)).unwrap()
    }
}

pub(super) fn is(column: &str, value: i64) -> Predicate {
    Predicate::equal(column, Literal::Int(value))
}

fn day(days: i32) -> Predicate {
    Predicate::equal("day", Literal::Date(icecore_core::Date::from_days(days)))
}

pub(super) const MODES: [RowMode; 2] = [RowMode::CopyOnWrite, RowMode::MergeOnRead];

#[tokio::test]
async fn a_file_of_nothing_but_deleted_rows_is_removed_without_being_read() {
    let lines = Lines::new(2, &["day"]).await;
    lines.append(&[line(1, "a", 0.0, 1), line(2, "b", 0.0, 1), line(3, "c", 0.0, 2)]).await;
    let before = lines.paths().await;
    let of_day = before.iter().find(|path| path.contains("day=1970-01-02")).unwrap();
    std::fs::remove_file(lines.on_disk(of_day)).unwrap();
    let done = lines.delete(&day(1), RowOptions::default()).await;
    assert_eq!((done.deleted, done.files_removed, done.files_touched), (2, 1, 0));
    assert_eq!(lines.now().await, [line(3, "c", 0.0, 2)]);
    let log = lines.catalog().history(&lines.table).await.unwrap();
    assert_eq!(log.last().unwrap().operation, "delete");
    assert_eq!(log.last().unwrap().count("total-records"), 1);
}

// C145
#[tokio::test]
async fn files_without_a_row_that_is_meant_stay_as_they_are() {
    for mode in MODES {
        let lines = Lines::new(2, &["day"]).await;
        lines.append(&[line(1, "a", 0.5, 1), line(2, "b", 0.0, 1), line(1, "c", 0.0, 2)]).await;
        let before = lines.paths().await;
        let filter = Predicate::And(vec![is("id", 1), day(1)]);
        let options = RowOptions::default().with_mode(mode);
        assert_eq!(lines.delete(&filter, options.clone()).await.deleted, 1);
        let after = lines.paths().await;
        let kept = before.iter().filter(|path| after.contains(path)).count();
        assert_eq!(kept, if mode == RowMode::CopyOnWrite { 1 } else { 2 });
        assert_eq!(lines.now().await, [line(1, "c", 0.0, 2), line(2, "b", 0.0, 1)]);
        let again = lines.delete(&filter, options).await;
        assert_eq!((again.changed, again.deleted), (false, 0));
        assert_eq!(again.pinned, lines.pin().await);
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_change_and_writes_nothing() {
    let lines = Lines::new(2, &[]).await;
    lines.append(&[line(1, "a", 0.5, 1), line(2, "b", 0.0, 1)]).await;
    let (files, pin) = (lines.lake.files_on_disk(), lines.pin().await);
    let done = lines.delete(&is("id", 1), RowOptions::default().as_dry_run()).await;
    assert_eq!((done.changed, done.deleted, done.files_touched), (true, 1, 1));
    let rows = lines_of(&[line(1, "n", 0.0, 1)], false);
    let options = RowOptions::default().as_dry_run();
    let filter = is("id", 1);
    let done = lines.catalog().overwrite_where(&lines.table, &filter, rows, options).await.unwrap();
    assert_eq!((done.changed, done.deleted, done.inserted), (true, 1, 1));
    assert_eq!((lines.lake.files_on_disk(), lines.pin().await), (files, pin));
}

#[tokio::test]
async fn an_overwrite_refuses_a_row_that_it_would_not_replace_and_names_it() {
    let lines = Lines::new(2, &["day"]).await;
    lines.append(&[line(1, "a", 0.5, 1), line(2, "b", 0.0, 2)]).await;
    let files = lines.lake.files_on_disk();
    let rows = [line(7, "x", 0.0, 1), line(8, "y", 0.0, 1), line(9, "z", 0.0, 2)];
    let rows = lines_of(&rows, false);
    let result = lines.catalog().overwrite_where(&lines.table, day(1), rows, RowOptions::default());
    let error = result.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "new row 3 is not among the rows that are replaced");
    assert_eq!(error.notes(), ["it has `day` = `1970-01-03`"]);
    assert_eq!(lines.lake.files_on_disk(), files);

    let rows = lines_of(&[line(7, "x", 0.0, 1)], false);
    let result = lines.catalog().overwrite_where(&lines.table, day(1), rows, RowOptions::default());
    let done = result.await.unwrap();
    assert_eq!((done.inserted, done.deleted), (1, 1));
    assert_eq!(lines.now().await, [line(2, "b", 0.0, 2), line(7, "x", 0.0, 1)]);
}

#[tokio::test]
async fn a_failed_change_leaves_no_file_behind() {
    let lines = Lines::new(2, &[]).await;
    let rows: Vec<Line> = (0..40).map(|id| line(id, "a", 0.5, 1)).collect();
    lines.append(&rows).await;
    lines.append(&rows).await;
    let files = lines.lake.files_on_disk();
    // The second file cannot be read, the first can.
    let path = lines.on_disk(&lines.paths().await.pop().unwrap());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let result = lines.catalog().delete(&lines.table, is("id", 3), RowOptions::default()).await;
    assert!(result.is_err());
    assert_eq!(lines.lake.files_on_disk(), files);
}

#[tokio::test]
async fn the_properties_of_a_table_say_how_rows_leave_and_the_call_overrides_them() {
    let lines = Lines::new(2, &[]).await;
    lines.append(&[line(1, "a", 0.5, 1), line(2, "b", 0.0, 1), line(3, "b", 0.0, 1)]).await;
    let merge = [("write.delete.mode".to_owned(), "merge-on-read".to_owned())];
    lines.catalog().set_properties(&lines.table, merge.into(), vec![]).await.unwrap();
    let path = lines.paths().await;
    lines.delete(&is("id", 1), RowOptions::default()).await;
    assert_eq!(lines.paths().await, path);
    lines.delete(&is("id", 2), RowOptions::default().with_mode(RowMode::CopyOnWrite)).await;
    assert_ne!(lines.paths().await, path);
    let log = lines.catalog().history(&lines.table).await.unwrap();
    assert_eq!(log[1].count("total-delete-files"), 1);
    // The delete file speaks of a file that is gone, and so is gone.
    assert_eq!(log[2].count("total-delete-files"), 0);
    assert_eq!(lines.now().await, [line(3, "b", 0.0, 1)]);
    let odd = [("write.delete.mode".to_owned(), "quickly".to_owned())];
    lines.catalog().set_properties(&lines.table, odd.into(), vec![]).await.unwrap();
    let error = lines.catalog().delete(&lines.table, is("id", 3), RowOptions::default()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.notes(), ["it is the table's property `write.delete.mode`"]);
}

#[tokio::test]
async fn a_file_has_one_deletion_vector_that_says_all() {
    let lines = Lines::new(3, &["day"]).await;
    let rows: Vec<Line> = (0..20).map(|id| line(id, "a", 0.5, id as i32 % 2)).collect();
    lines.append(&rows).await;
    for id in [3, 4, 5] {
        let options = RowOptions::default().with_mode(RowMode::MergeOnRead);
        lines.delete(&is("id", id), options).await;
    }
    let log = lines.catalog().history(&lines.table).await.unwrap();
    let last = log.last().unwrap();
    assert_eq!((last.count("total-delete-files"), last.count("total-position-deletes")), (2, 3));
    let expected: Vec<Line> = rows.into_iter().filter(|row| !(3..6).contains(&row.id)).collect();
    assert_eq!(lines.now().await, expected);
}

#[tokio::test]
async fn rows_can_be_tested_by_what_no_predicate_asks() {
    #[derive(Debug)]
    struct NameIsLong;
    impl crate::rowlevel::RowTest for NameIsLong {
        fn columns(&self) -> Vec<String> {
            vec!["name".to_owned()]
        }

        fn implied(&self) -> Option<Predicate> {
            Some(Predicate::IsNotNull("name".to_owned()))
        }

        fn passes(&self, rows: &RecordBatch) -> Result<arrow::array::BooleanArray> {
            let names = rows.column(0).as_string::<i32>();
            Ok(names.iter().map(|name| name.map(|name| name.len() > 3)).collect())
        }
    }
    for mode in MODES {
        let lines = Lines::new(2, &[]).await;
        let none = Line { name: None, ..line(3, "", 0.0, 1) };
        lines.append(&[line(1, "short", 0.5, 1), line(2, "sho", 0.0, 1), none.clone()]).await;
        let filter = RowFilter::Test(Arc::new(NameIsLong));
        let options = RowOptions::default().with_mode(mode);
        let done = lines.catalog().delete(&lines.table, filter, options).await.unwrap();
        assert_eq!(done.deleted, 1);
        assert_eq!(lines.now().await, [line(2, "sho", 0.0, 1), none]);
    }
}

#[tokio::test]
async fn the_order_of_rows_in_a_file_survives_a_rewrite() {
    let lines = Lines::new(2, &[]).await;
    let rows: Vec<Line> = (0..3000).map(|id| line(id * 7919 % 3000, "a", 0.5, 1)).collect();
    lines.append(&rows).await;
    let low = Predicate::compare("id", CompareOp::Lt, Literal::Int(1000));
    lines.delete(&low, RowOptions::default()).await;
    let rows_now = lines.catalog().scan(&lines.pin().await, ScanOptions::default()).await.unwrap();
    let rows_now = rows_now.concat().await.unwrap();
    let ids = rows_now.column(0).as_primitive::<Int64Type>().values().to_vec();
    let expected: Vec<i64> = rows.iter().map(|row| row.id).filter(|id| *id >= 1000).collect();
    assert_eq!(ids, expected);
}
