//! What contradicts what: every kind of change against every kind of change that came first.

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Literal, ManifestContentType,
    Operation, Struct,
};
use icecore_core::Isolation;

use super::*;
use crate::commit::{AddedFiles, FileChange, FileSet, OwnedReads, OwnedRemoval, Touched, load};

/// A description of a file. Nothing reads it, so there need not be one.
fn file(lake: &Lake, name: &str, day: i32) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path(format!("file://{}/{name}", lake.root.path().display()))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::date(day))]))
        .record_count(10)
        .file_size_in_bytes(100);
    builder
}

fn data(lake: &Lake, name: &str, day: i32) -> DataFile {
    file(lake, name, day).build().unwrap()
}

fn deletes_at(lake: &Lake, name: &str, of: &DataFile) -> DataFile {
    let mut builder = file(lake, name, 1);
    builder
        .content(DataContentType::PositionDeletes)
        .partition(of.partition().clone())
        .referenced_data_file(Some(of.file_path().to_owned()));
    builder.build().unwrap()
}

fn deletes_like(lake: &Lake, name: &str, day: i32) -> DataFile {
    let mut builder = file(lake, name, day);
    builder.content(DataContentType::EqualityDeletes).equality_ids(Some(vec![1]));
    builder.build().unwrap()
}

/// A kind of change. The table has one file in each of the days 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Op {
    Append(i32),
    OverwriteDay(i32),
    OverwriteAll,
    /// Writes the file of day 1 again without some of its rows, having looked at day 1.
    Rewrite,
    /// Drops the file of day 1.
    Drop,
    /// Deletes rows of the file of day 1 by position.
    DeleteAt,
    /// The same, and writes them anew.
    UpdateAt,
    /// Deletes rows of a day by their values.
    DeleteLike(i32),
    /// Moves the rows of the file of day 1 to another file.
    Compact,
}

/// What an operation is to the table at `base`.
fn change(lake: &Lake, table: &Table, op: Op, who: &str) -> FileChange {
    let metadata = table.metadata_ref();
    let (schema, spec) =
        (metadata.current_schema().clone(), metadata.default_partition_spec().clone());
    let sequence = metadata.last_sequence_number();
    let one = data(lake, "one", 1);
    let rows =
        |day: i32| AddedFiles::data(&metadata, vec![data(lake, &format!("{who}-{day}"), day)]);
    let deletes = |files: Vec<DataFile>| AddedFiles {
        content: ManifestContentType::Deletes,
        schema: schema.clone(),
        spec: spec.clone(),
        sequence: None,
        files,
    };
    let day = |day: i32| Arc::new(Touched::of(&[data(lake, "", day)], &spec, &schema));
    let mut change = FileChange::new(metadata.clone(), Operation::Overwrite);
    match op {
        Op::Append(to) => {
            change.operation = Operation::Append;
            change.added = vec![rows(to)];
        }
        Op::OverwriteDay(of) => {
            change.added = vec![rows(of)];
            change.removed = OwnedRemoval::Partitions(day(of));
            change.reads = OwnedReads::Partitions(day(of));
        }
        Op::OverwriteAll => {
            change.added = vec![rows(1)];
            change.removed = OwnedRemoval::Everything;
            change.reads = OwnedReads::Everything;
        }
        Op::Rewrite => {
            change.added = vec![rows(1)];
            change.removed = OwnedRemoval::Files(FileSet::of([&one]));
            change.depends_on = FileSet::of([&one]);
            change.reads = OwnedReads::Partitions(day(1));
        }
        Op::Drop => {
            change.operation = Operation::Delete;
            change.removed = OwnedRemoval::Files(FileSet::of([&one]));
            change.depends_on = FileSet::of([&one]);
        }
        Op::DeleteAt => {
            change.operation = Operation::Delete;
            change.added = vec![deletes(vec![deletes_at(lake, &format!("{who}-at"), &one)])];
            change.depends_on = FileSet::of([&one]);
            change.reads = OwnedReads::Partitions(day(1));
        }
        Op::UpdateAt => {
            change.added =
                vec![rows(1), deletes(vec![deletes_at(lake, &format!("{who}-at"), &one)])];
            change.depends_on = FileSet::of([&one]);
            change.reads = OwnedReads::Partitions(day(1));
        }
        Op::DeleteLike(of) => {
            change.operation = Operation::Delete;
            change.added = vec![deletes(vec![deletes_like(lake, &format!("{who}-like"), of)])];
        }
        Op::Compact => {
            change.operation = Operation::Replace;
            change.added = vec![AddedFiles { sequence: Some(sequence), ..rows(1) }];
            change.removed = OwnedRemoval::Files(FileSet::of([&one]));
            change.depends_on = FileSet::of([&one]);
        }
    }
    change
}

async fn start() -> Lake {
    let lake = Lake::new().await;
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let mut change = FileChange::new(table.metadata_ref(), Operation::Append);
    change.added = vec![AddedFiles::data(
        table.metadata(),
        vec![data(&lake, "one", 1), data(&lake, "two", 2)],
    )];
    lake.catalog.commit_change(&lake.table, change).await.unwrap();
    lake
}

/// The names of the live files of `main`, of both kinds, in order.
async fn live(lake: &Lake) -> Vec<String> {
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let Some(head) = table.metadata().current_snapshot() else { return vec![] };
    let list = table.manifest_list_reader(head).load().await.unwrap();
    let mut names = Vec::new();
    for file in list.entries() {
        for entry in load(&table, file).await.unwrap().entries() {
            if entry.is_alive() {
                names.push(entry.file_path().rsplit('/').next().unwrap().to_owned());
            }
        }
    }
    names.sort();
    names
}

async fn outcome(mine: Op, theirs: Op, isolation: Isolation) -> Result<Vec<String>, ErrorKind> {
    let lake = start().await;
    let base = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let first = change(&lake, &base, theirs, "theirs");
    lake.catalog.commit_change(&lake.table, first).await.unwrap();
    let mut second = change(&lake, &base, mine, "mine");
    second.isolation = isolation;
    match lake.catalog.commit_change(&lake.table, second).await {
        Ok(_) => Ok(live(&lake).await),
        Err(error) => Err(error.kind()),
    }
}

/// The letters of a row say what became of the change against each of the others in turn: `.` both
/// are made, `x` it conflicts always, `s` it conflicts if it is to be serializable.
const THEIRS: [Op; 10] = [
    Op::Append(1),
    Op::Append(2),
    Op::OverwriteDay(1),
    Op::OverwriteDay(2),
    Op::Rewrite,
    Op::Drop,
    Op::DeleteAt,
    Op::DeleteLike(1),
    Op::DeleteLike(2),
    Op::Compact,
];
const EXPECTED: [(Op, &str); 9] = [
    (Op::Append(1), ".........."),
    (Op::OverwriteDay(1), "s.x.xxxx.n"),
    (Op::OverwriteAll, "ssxxxxxxxn"),
    (Op::Rewrite, "s.x.xxxx.x"),
    (Op::Drop, "..x.xxxx.x"),
    (Op::DeleteAt, "s.x.xx...x"),
    (Op::UpdateAt, "s.x.xxxx.x"),
    (Op::DeleteLike(1), ".........."),
    (Op::Compact, "..x.xxx..x"),
];

#[tokio::test]
async fn every_kind_of_change_knows_what_contradicts_it() {
    for (mine, row) in EXPECTED {
        for (theirs, letter) in THEIRS.into_iter().zip(row.chars()) {
            for isolation in [Isolation::Serializable, Isolation::Snapshot] {
                let conflicts = match letter {
                    '.' => false,
                    'x' => true,
                    's' => isolation == Isolation::Serializable,
                    // Rows of before are mixed with those that were added since.
                    'n' => isolation == Isolation::Snapshot,
                    _ => unreachable!(),
                };
                let got = outcome(mine, theirs, isolation).await;
                let what = format!("{mine:?} after {theirs:?}, {isolation}");
                match got {
                    Ok(_) => assert!(!conflicts, "{what}: went through"),
                    Err(kind) => {
                        assert_eq!(kind, ErrorKind::Conflict, "{what}");
                        assert!(conflicts, "{what}: conflicts");
                    }
                }
            }
        }
    }
}

/// Whether a file of which these are the least and the greatest number, and which was appended to a
/// day since, contradicts a change that looked at numbers above 100 of day 1.
async fn contradicts(day: i32, least: i64, greatest: i64) -> bool {
    use icecore_core::{CompareOp, Literal, Predicate};

    let lake = start().await;
    let base = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let mut theirs = change(&lake, &base, Op::Append(day), "theirs");
    let bounds = |value: i64| [(1, iceberg::spec::Datum::long(value))].into();
    let mut appended = file(&lake, "theirs", day);
    appended.lower_bounds(bounds(least)).upper_bounds(bounds(greatest));
    appended.null_value_counts([(1, 0)].into());
    theirs.added = vec![AddedFiles::data(base.metadata(), vec![appended.build().unwrap()])];
    lake.catalog.commit_change(&lake.table, theirs).await.unwrap();
    let mut mine = change(&lake, &base, Op::Rewrite, "mine");
    let compare =
        |column: &str, op, value| Predicate::Compare { column: column.to_owned(), op, value };
    let day_1 = Literal::Date(icecore_core::Date::from_days(1));
    let filter = Predicate::And(vec![
        compare("number", CompareOp::Gt, Literal::Int(100)),
        compare("day", CompareOp::Eq, day_1),
    ]);
    let schema = base.metadata().current_schema();
    mine.reads = OwnedReads::Filter(crate::predicate::Filter::bind(&filter, schema).unwrap());
    match lake.catalog.commit_change(&lake.table, mine).await {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
            true
        }
    }
}

#[tokio::test]
async fn only_files_that_may_hold_rows_that_were_asked_for_contradict() {
    assert!(contradicts(1, 50, 150).await);
    assert!(!contradicts(1, 50, 100).await);
    assert!(!contradicts(2, 50, 150).await);
}

#[tokio::test]
async fn rows_that_others_appended_to_an_overwritten_partition_stay_where_they_do_not_conflict() {
    let (mine, theirs) = (Op::OverwriteDay(1), Op::Append(1));
    let live = outcome(mine, theirs, Isolation::Snapshot).await.unwrap();
    assert_eq!(live, ["mine-1", "theirs-1", "two"]);
    let live = outcome(Op::OverwriteAll, theirs, Isolation::Snapshot).await.unwrap();
    assert_eq!(live, ["mine-1", "theirs-1"]);
}

#[tokio::test]
async fn an_overwrite_takes_the_deletes_of_its_partition_along() {
    let live_after = |theirs, mine| outcome_in_turn(theirs, mine);
    assert_eq!(live_after(Op::DeleteAt, Op::OverwriteDay(1)).await, ["mine-1", "two"]);
    assert_eq!(live_after(Op::DeleteLike(1), Op::OverwriteDay(1)).await, ["mine-1", "two"]);
    let kept = live_after(Op::DeleteLike(2), Op::OverwriteDay(1)).await;
    assert_eq!(kept, ["mine-1", "theirs-like", "two"]);
    assert_eq!(live_after(Op::DeleteLike(2), Op::OverwriteAll).await, ["mine-1"]);
}

/// Their change, then mine that has seen it.
async fn outcome_in_turn(theirs: Op, mine: Op) -> Vec<String> {
    let lake = start().await;
    for (op, who) in [(theirs, "theirs"), (mine, "mine")] {
        let head = lake.catalog.tables_now().load(&lake.table).await.unwrap();
        let change = change(&lake, &head, op, who);
        lake.catalog.commit_change(&lake.table, change).await.unwrap();
    }
    live(&lake).await
}

#[tokio::test]
async fn deletes_are_counted_kept_and_merged_like_rows() {
    let lake = start().await;
    let few = [("commit.manifest.min-count-to-merge".to_owned(), "2".to_owned())].into();
    lake.catalog.set_properties(&lake.table, few, vec![]).await.unwrap();
    for number in 0..4 {
        let head = lake.catalog.tables_now().load(&lake.table).await.unwrap();
        let op = if number % 2 == 0 { Op::DeleteAt } else { Op::DeleteLike(2) };
        let change = change(&lake, &head, op, &format!("d{number}"));
        lake.catalog.commit_change(&lake.table, change).await.unwrap();
    }
    assert_eq!(live(&lake).await, ["d0-at", "d1-like", "d2-at", "d3-like", "one", "two"]);
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let head = table.metadata().current_snapshot().unwrap();
    let list = table.manifest_list_reader(head).load().await.unwrap();
    let of = |content| list.entries().iter().filter(|file| file.content == content).count();
    assert_eq!((of(ManifestContentType::Data), of(ManifestContentType::Deletes)), (1, 2));
    let log = lake.catalog.history(&lake.table).await.unwrap();
    let last = log.last().unwrap();
    for (field, count) in [
        ("added-delete-files", 1),
        ("added-equality-delete-files", 1),
        ("added-equality-deletes", 10),
        ("total-delete-files", 4),
        ("total-position-deletes", 20),
        ("total-equality-deletes", 20),
        ("total-data-files", 2),
        ("changed-partition-count", 1),
    ] {
        assert_eq!(last.count(field), count, "{field}");
    }
    assert_eq!(last.summary["engine-name"], "icecore");
    // Whoever overwrites everything removes them too.
    lake.commit(WriteMode::Overwrite, &[(1, 1)]).await;
    let log = lake.catalog.history(&lake.table).await.unwrap();
    let last = log.last().unwrap();
    for (field, count) in [
        ("removed-delete-files", 4),
        ("removed-position-delete-files", 2),
        ("removed-equality-deletes", 20),
        ("deleted-data-files", 2),
        ("total-delete-files", 0),
        ("total-equality-deletes", 0),
        ("total-records", 1),
    ] {
        assert_eq!(last.count(field), count, "{field}");
    }
    assert_eq!(live(&lake).await.len(), 1);
}

#[tokio::test]
async fn changes_of_single_partitions_are_told_where_the_table_asks_for_it() {
    let lake = Lake::new().await;
    let limit = [("write.summary.partition-limit".to_owned(), "2".to_owned())].into();
    lake.catalog.set_properties(&lake.table, limit, vec![]).await.unwrap();
    lake.append(&[(1, 1), (2, 1), (3, 2)]).await;
    lake.append(&[(1, 1), (2, 2), (3, 3)]).await;
    let log = lake.catalog.history(&lake.table).await.unwrap();
    assert_eq!(log[0].count("changed-partition-count"), 2);
    let day = &log[0].summary["partitions.day=1970-01-02"];
    assert!(day.contains("added-records=2") && day.contains("added-data-files=1"), "{day}");
    assert_eq!(log[1].count("changed-partition-count"), 3);
    assert!(!log[1].summary.keys().any(|name| name.starts_with("partitions.")));
}

#[tokio::test]
async fn the_table_says_how_isolated_overwrites_are_unless_the_caller_does() {
    let lake = Lake::new().await;
    let base = lake.append(&[(1, 1)]).await;
    lake.append(&[(2, 1)]).await;
    let name = "write.overwrite.isolation-level";
    let set = |level: &str| [(name.to_owned(), level.to_owned())].into();
    let options = || CommitOptions::new(WriteMode::OverwritePartitions).with_base(base.snapshot);
    lake.catalog.set_properties(&lake.table, set("snapshot"), vec![]).await.unwrap();
    let strict = options().with_isolation(Isolation::Serializable);
    let error = lake.try_commit(strict, &[(9, 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    lake.try_commit(options(), &[(9, 1)]).await.unwrap();
    assert_eq!(lake.rows_now().await, [(2, 1), (9, 1)]);
    lake.catalog.set_properties(&lake.table, set("none"), vec![]).await.unwrap();
    let error = lake.try_commit(options(), &[(9, 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.notes()[0].contains(name), "{error:?}");
}
