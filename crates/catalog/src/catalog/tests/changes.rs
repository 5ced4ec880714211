//! Reading what changed between two snapshots.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, ManifestContentType, Operation,
};
use icecore_core::{Literal, Predicate, SnapshotId};
use proptest::prelude::*;

use super::*;
use crate::commit::{AddedFiles, FileChange, FileSet, OwnedRemoval, load};
use crate::{
    AlterOptions, Alteration, ChangeMode, ChangeOptions, Changes, NewColumn, RowMode, RowOptions,
};

/// What happened to a row, the row, and in which step.
type Change = (String, Row, i64);

async fn read(
    lake: &Lake,
    from: &PinnedTable,
    to: &PinnedTable,
    options: ChangeOptions,
) -> Vec<Change> {
    let changes = lake.catalog.changes(from, to, options).await.unwrap();
    collect(changes).await.into_iter().map(|(change, _)| change).collect()
}

/// The changes, each with the snapshot that did it.
async fn collect(changes: Changes) -> Vec<(Change, i64)> {
    let mut found = Vec::new();
    for batch in changes.rows.collect().await.unwrap() {
        let ints = |name: &str| {
            batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec()
        };
        let kinds = batch.column_by_name("_change_type").unwrap().as_string::<i32>();
        let days = batch.column(1).as_primitive::<Date32Type>().values();
        let numbers = batch.column(0).as_primitive::<Int64Type>().values();
        let (commits, ordinals) = (ints("_commit_snapshot_id"), ints("_change_ordinal"));
        for row in 0..batch.num_rows() {
            let change = (kinds.value(row).to_owned(), (numbers[row], days[row]), ordinals[row]);
            found.push((change, commits[row]));
        }
    }
    found
}

fn net() -> ChangeOptions {
    ChangeOptions::default()
}

fn log() -> ChangeOptions {
    ChangeOptions::new(ChangeMode::Log)
}

fn sorted(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_by(|left, right| (left.2, &left.0, left.1).cmp(&(right.2, &right.0, right.1)));
    changes
}

fn change(kind: &str, row: Row, ordinal: i64) -> Change {
    (kind.to_owned(), row, ordinal)
}

#[tokio::test]
async fn a_rewritten_file_shows_only_the_rows_that_changed() {
    // C156
    let lake = Lake::new().await;
    let empty = lake.pin("latest").await.unwrap();
    let one = lake.append(&[(1, 1), (2, 1), (3, 2)]).await;
    let two = lake.commit(WriteMode::OverwritePartitions, &[(1, 1), (5, 1)]).await.pinned;
    let found = lake.catalog.changes(&one, &two, net()).await.unwrap();
    // The file of day 2 is in both.
    assert_eq!((found.files_read, found.files_skipped), (2, 1));
    let found = collect(found).await;
    assert!(found.iter().all(|(_, commit)| *commit == two.snapshot.get()));
    let found: Vec<Change> = found.into_iter().map(|(change, _)| change).collect();
    assert_eq!(sorted(found), [change("delete", (2, 1), 0), change("insert", (5, 1), 0)]);
    let keyed = read(&lake, &one, &two, net().with_key(["day"])).await;
    assert_eq!(keyed, [change("update_before", (2, 1), 0), change("update_after", (5, 1), 0)]);
    let back = read(&lake, &two, &one, net()).await;
    assert_eq!(sorted(back), [change("delete", (5, 1), 0), change("insert", (2, 1), 0)]);
    let all = sorted(read(&lake, &empty, &one, net()).await);
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|(kind, ..)| kind == "insert"));
    assert_eq!(read(&lake, &two, &two, log()).await, []);
    let gone = read(&lake, &two, &empty, net()).await;
    assert!(gone.len() == 3 && gone.iter().all(|(kind, ..)| kind == "delete"));
}

#[tokio::test]
async fn the_log_goes_on_where_it_ended() {
    // C155
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1)]).await;
    let two = lake.append(&[(2, 1)]).await;
    let three = lake.commit(WriteMode::Overwrite, &[(2, 1), (3, 1)]).await.pinned;
    let changes = lake.catalog.changes(&one, &three, log()).await.unwrap();
    let found = collect(changes).await;
    let expected = [
        (change("insert", (2, 1), 0), two.snapshot.get()),
        (change("delete", (1, 1), 1), three.snapshot.get()),
        (change("insert", (3, 1), 1), three.snapshot.get()),
    ];
    let (mut first, rest) =
        (found[..1].to_vec(), sorted(found[1..].iter().map(|(c, _)| c.clone()).collect()));
    first.extend(rest.into_iter().map(|change| (change, three.snapshot.get())));
    assert_eq!(first, expected);
    let again = read(&lake, &two, &three, log()).await;
    assert_eq!(sorted(again), [change("delete", (1, 1), 0), change("insert", (3, 1), 0)]);
}

#[tokio::test]
async fn what_another_branch_of_the_past_did_is_taken_back_first() {
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1)]).await;
    let left = lake.append(&[(2, 1)]).await;
    lake.catalog.rollback(&lake.table, one.snapshot, RollbackPolicy::AncestorsOnly).await.unwrap();
    let right = lake.append(&[(3, 1)]).await;
    let found = collect(lake.catalog.changes(&left, &right, log()).await.unwrap()).await;
    assert_eq!(
        found,
        [
            (change("delete", (2, 1), 0), one.snapshot.get()),
            (change("insert", (3, 1), 1), right.snapshot.get()),
        ]
    );
    let found = sorted(read(&lake, &left, &right, net()).await);
    assert_eq!(found, [change("delete", (2, 1), 0), change("insert", (3, 1), 0)]);
}

#[tokio::test]
async fn a_change_of_columns_is_no_change_of_rows() {
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1), (2, 2)]).await;
    let rename = Alteration::RenameColumn { column: "number".into(), to: "n".into() };
    let add =
        Alteration::AddColumn(NewColumn::new("more", crate::ColumnType::parse("int").unwrap()));
    lake.catalog.alter(&lake.table, &[rename, add], AlterOptions::default()).await.unwrap();
    let two = lake.pin("latest").await.unwrap();
    assert_ne!(one, two);
    for options in [net(), log()] {
        let changes = lake.catalog.changes(&one, &two, options).await.unwrap();
        assert_eq!(changes.files_read, 0);
        assert_eq!(changes.rows.schema().field(0).name(), "n");
        assert_eq!(collect(changes).await, []);
    }
}

#[tokio::test]
async fn what_cannot_be_compared_is_named() {
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1)]).await;
    let error = lake.catalog.changes(&one, &one, net().with_key(["nubmer"])).await.unwrap_err();
    assert_eq!(error.help(), Some("did you mean `number`?"));
    let unknown = PinnedTable { snapshot: SnapshotId::new(7), ..one.clone() };
    let error = lake.catalog.changes(&unknown, &one, net()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("no snapshot `7`"), "{error}");
    let other = PinnedTable { table: TableName::parse("ns.other").unwrap(), ..one.clone() };
    assert_eq!(
        lake.catalog.changes(&other, &one, net()).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[tokio::test]
async fn more_changes_than_fit_into_memory_are_read_in_parts() {
    let lake = Lake::new().await;
    let rows = |from: i64| (from..from + 5000).map(|n| (n, 1)).collect::<Vec<Row>>();
    let one = lake.commit(WriteMode::Overwrite, &rows(0)).await.pinned;
    let two = lake.commit(WriteMode::Overwrite, &rows(2500)).await.pinned;
    for options in [net(), net().with_key(["number"])] {
        let found = sorted(read(&lake, &one, &two, options.with_memory_bytes(40_000)).await);
        assert_eq!(found.len(), 5000);
        assert_eq!(found[0], change("delete", (0, 1), 0));
        assert_eq!(found[4999], change("insert", (7499, 1), 0));
    }
}

/// `ns.events` in this version of the format.
async fn lake_of(version: u8) -> Lake {
    let lake = Lake::empty().await;
    let new = NewTable::new(columns()).with_partition_by(["day"]).with_format_version(version);
    lake.catalog.ensure_table(&lake.table, &new).await.unwrap();
    lake
}

async fn delete(lake: &Lake, number: i64, mode: RowMode) -> PinnedTable {
    let filter = Predicate::equal("number", Literal::Int(number));
    let options = RowOptions::default().with_mode(mode);
    lake.catalog.delete(&lake.table, filter, options).await.unwrap().pinned
}

#[tokio::test]
async fn deleted_rows_are_changes_however_they_were_deleted() {
    for version in [2, 3] {
        let lake = lake_of(version).await;
        let one = lake.append(&[(1, 1), (2, 1), (3, 1), (4, 2)]).await;
        let two = delete(&lake, 2, RowMode::MergeOnRead).await;
        let three = delete(&lake, 3, RowMode::MergeOnRead).await;
        let four = delete(&lake, 1, RowMode::CopyOnWrite).await;
        let found = lake.catalog.changes(&one, &two, net()).await.unwrap();
        assert_eq!((found.files_read, found.files_skipped), (1, 1), "version {version}");
        let found: Vec<Change> = collect(found).await.into_iter().map(|(c, _)| c).collect();
        assert_eq!(found, [change("delete", (2, 1), 0)]);
        let found = read(&lake, &two, &three, net()).await;
        assert_eq!(found, [change("delete", (3, 1), 0)]);
        let found = read(&lake, &one, &four, log()).await;
        let expected = [(2, 0), (3, 1), (1, 2)].map(|(n, at)| change("delete", (n, 1), at));
        assert_eq!(found, expected);
        let back = sorted(read(&lake, &four, &one, net()).await);
        assert_eq!(back, [1, 2, 3].map(|n| change("insert", (n, 1), 0)));
    }
}

/// Writes files of position deletes anew, as Spark's `rewrite_position_delete_files` does: what
/// they delete stays the same, and the snapshot says nothing of data files.
async fn rewrite_deletes(lake: &Lake) -> PinnedTable {
    let head = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let (metadata, io) = (head.metadata_ref(), head.file_io());
    let current = metadata.current_snapshot().unwrap();
    let list = crate::storage::load_list(&head, current).await.unwrap();
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for manifest in list.iter().filter(|file| file.content == ManifestContentType::Deletes) {
        let manifest = load(&head, manifest).await.unwrap();
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let file = entry.data_file();
            let path = format!("{}-anew.parquet", file.file_path().trim_end_matches(".parquet"));
            let bytes = io.new_input(file.file_path()).unwrap().read().await.unwrap();
            io.new_output(&path).unwrap().write(bytes).await.unwrap();
            let mut described = DataFileBuilder::default();
            described
                .content(DataContentType::PositionDeletes)
                .file_path(path)
                .file_format(DataFileFormat::Parquet)
                .partition(file.partition().clone())
                .record_count(file.record_count())
                .file_size_in_bytes(file.file_size_in_bytes())
                .referenced_data_file(file.referenced_data_file());
            new.push(described.build().unwrap());
            old.push(file.clone());
        }
    }
    assert!(!old.is_empty());
    let mut change = FileChange::new(metadata.clone(), Operation::Replace);
    change.added = vec![AddedFiles {
        content: ManifestContentType::Deletes,
        schema: metadata.current_schema().clone(),
        spec: metadata.default_partition_spec().clone(),
        sequence: None,
        files: new,
    }];
    change.removed = OwnedRemoval::Files(FileSet::of(&old));
    lake.catalog.commit_change(&lake.table, change).await.unwrap().pinned
}

#[tokio::test]
async fn what_was_deleted_before_its_delete_files_were_written_anew_is_a_change() {
    let lake = lake_of(2).await;
    let mut pins = vec![lake.append(&[(1, 1), (2, 1), (3, 1), (4, 1), (5, 2)]).await];
    pins.push(delete(&lake, 2, RowMode::MergeOnRead).await);
    pins.push(rewrite_deletes(&lake).await);
    pins.push(delete(&lake, 3, RowMode::MergeOnRead).await);
    let found = sorted(read(&lake, &pins[0], &pins[3], net()).await);
    assert_eq!(found, [change("delete", (2, 1), 0), change("delete", (3, 1), 0)]);
    pins.push(rewrite_deletes(&lake).await);
    pins.push(delete(&lake, 1, RowMode::CopyOnWrite).await);
    for from in &pins {
        for to in &pins {
            let (before, after) = (lake.rows(from).await, lake.rows(to).await);
            for options in [net(), log(), net().with_key(["number"])] {
                let changes = read(&lake, from, to, options).await;
                assert_eq!(sorted_rows(applied(&before, &in_steps(&changes))), after);
                assert_eq!(changes.len(), before.len().abs_diff(after.len()), "no row too many");
            }
        }
    }
}

fn counted(rows: &[Row]) -> BTreeMap<Row, i64> {
    let mut counts = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry(*row).or_default() += 1);
    counts
}

/// The rows of a state after changes were made to it.
fn applied(before: &[Row], changes: &[Change]) -> Vec<Row> {
    let mut counts = counted(before);
    for (kind, row, _) in changes {
        let count = counts.entry(*row).or_default();
        match kind.as_str() {
            "insert" | "update_after" => *count += 1,
            _ => *count -= 1,
        }
        assert!(*count >= 0, "{kind} of {row:?}, which is not there");
    }
    counts.into_iter().flat_map(|(row, count)| vec![row; count as usize]).collect()
}

fn operation() -> impl Strategy<Value = (u8, Vec<Row>)> {
    let rows = proptest::collection::vec((0_i64..4, 0_i32..3), 0..5);
    (0_u8..8, rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn changes_lead_from_each_state_to_each_other(
        operations in proptest::collection::vec(operation(), 1..7),
        version in 2_u8..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lake = lake_of(version).await;
            let mut states = vec![(lake.pin("latest").await.unwrap(), Vec::new())];
            for (operation, rows) in &operations {
                let pin = match operation {
                    0 | 1 => lake.append(rows).await,
                    2 => lake.commit(WriteMode::Overwrite, rows).await.pinned,
                    3 => lake.commit(WriteMode::OverwritePartitions, rows).await.pinned,
                    4 => delete(&lake, rows.len() as i64, RowMode::CopyOnWrite).await,
                    5 | 6 => delete(&lake, rows.len() as i64, RowMode::MergeOnRead).await,
                    _ => {
                        let back = states[states.len() / 2].0.clone();
                        if back.snapshot == PinnedTable::EMPTY {
                            continue;
                        }
                        let force = RollbackPolicy::Force;
                        lake.catalog.rollback(&lake.table, back.snapshot, force).await.unwrap()
                    }
                };
                let rows = lake.rows(&pin).await;
                states.push((pin, rows));
            }
            for (from, before) in &states {
                for (to, after) in &states {
                    for options in [net(), log(), net().with_key(["number"]), log().with_key(["day"])] {
                        let net_only = options.mode == ChangeMode::Net;
                        let changes = read(&lake, from, to, options).await;
                        let mut ordinals: Vec<i64> = changes.iter().map(|change| change.2).collect();
                        assert!(ordinals.is_sorted());
                        assert_eq!(&sorted_rows(applied(before, &in_steps(&changes))), after);
                        ordinals.dedup();
                        if net_only {
                            let moved: i64 = counted(before)
                                .keys()
                                .chain(counted(after).keys())
                                .collect::<std::collections::BTreeSet<_>>()
                                .into_iter()
                                .map(|row| {
                                    let of = |rows: &[Row]| counted(rows).get(row).copied().unwrap_or(0);
                                    (of(before) - of(after)).abs()
                                })
                                .sum();
                            assert_eq!(changes.len() as i64, moved, "no row too many");
                        }
                    }
                }
            }
        });
    }
}

/// Within a step, what is deleted was there before it.
fn in_steps(changes: &[Change]) -> Vec<Change> {
    let mut changes = changes.to_vec();
    changes.sort_by_key(|(kind, _, ordinal)| {
        (*ordinal, !matches!(kind.as_str(), "delete" | "update_before"))
    });
    changes
}

fn sorted_rows(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_unstable();
    rows
}
