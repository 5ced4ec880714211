//! Files of many row groups that are written again with most of what they hold as it is.

use std::collections::BTreeMap;
use std::fs::File;

use icecore_core::{NewTable, SnapshotCatalog as _};
use parquet::basic::Compression;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::lineage::lineage_of;
use super::*;
use crate::catalog::tests::alter::{add, alter, rename};
use crate::fsck::FsckOptions;
use crate::rowlevel::UpsertOptions;

/// Rows of a row group: the fewest there can be.
const GROUP: i64 = 8192;

/// A row of a number: names come in order, some scores are NaN and some absent.
fn numbered(id: i64) -> Line {
    let score = match id % 97 {
        3 => None,
        4 => Some(f64::NAN.to_bits()),
        5 => Some((-0.0_f64).to_bits()),
        _ => Some(((id as f64).abs().sqrt() * 20.0).to_bits()),
    };
    let name = (id % 50 != 7).then(|| format!("n{:05}", id / 10));
    Line { id, name, score, day: (id / 20_000) as i32, extra: None }
}

/// A table of one file with several row groups.
async fn grouped(version: u8, sort_by: &[&str], rows: i64) -> Lines {
    let lake = Lake::empty().await;
    let table = TableName::parse("ns.lines").unwrap();
    let new = NewTable::new(schema_with(false))
        .with_sort_by(sort_by.iter().copied())
        .with_format_version(version);
    lake.catalog.ensure_table(&table, &new).await.unwrap();
    let properties = [
        ("write.parquet.row-group-size-bytes", "1"),
        ("write.parquet.page-row-limit", "1000"),
        ("write.parquet.bloom-filter-enabled.column.name", "true"),
    ];
    let properties =
        properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    lake.catalog.set_properties(&table, properties, Vec::new()).await.unwrap();
    let lines = Lines { lake, table, extra: false };
    lines.append(&(0..rows).map(numbered).collect::<Vec<_>>()).await;
    lines
}

/// The bytes of the one data file of the head, and what they say.
async fn file(lines: &Lines) -> (Vec<u8>, ParquetMetaData) {
    let paths = lines.paths().await;
    assert_eq!(paths.len(), 1, "{paths:?}");
    let path = lines.on_disk(&paths[0]);
    let metadata = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(&File::open(&path).unwrap())
        .unwrap();
    (std::fs::read(path).unwrap(), metadata)
}

/// The bytes of a column in a row group.
fn chunk((bytes, metadata): &(Vec<u8>, ParquetMetaData), group: usize, column: usize) -> &[u8] {
    let (start, length) = metadata.row_group(group).column(column).byte_range();
    &bytes[start as usize..(start + length) as usize]
}

async fn check_sound(lines: &Lines) {
    let options = FsckOptions::default().with_deep(true);
    let report = lines.catalog().fsck(&lines.table, options).await.unwrap();
    let found: Vec<String> = report.findings().map(|(_, found)| format!("{found:?}")).collect();
    assert_eq!(found, Vec::<String>::new());
}

/// Rows are found by what row groups, pages and Bloom filters say of them.
async fn check_found(lines: &Lines, expected: &[Line]) {
    let text = |name: &str| Predicate::equal("name", Literal::Text(name.to_owned()));
    let asked = [
        is("id", 5),
        is("id", GROUP),
        Predicate::compare("id", CompareOp::Gt, Literal::Int(2 * GROUP + 100)),
        text("n00001"),
        text("n01200"),
        text("nobody"),
        Predicate::IsNull("score".to_owned()),
        Predicate::compare("score", CompareOp::Lt, Literal::Float(1.0)),
        Predicate::compare("score", CompareOp::GtEq, Literal::Float(3_000.0)),
    ];
    let passes = |line: &Line, place: usize| match place {
        0 => line.id == 5,
        1 => line.id == GROUP,
        2 => line.id > 2 * GROUP + 100,
        3 => line.name.as_deref() == Some("n00001"),
        4 => line.name.as_deref() == Some("n01200"),
        5 => false,
        6 => line.score.is_none(),
        7 => line.score().is_some_and(|score| score < 1.0),
        // A NaN is greater than every number.
        _ => line.score().is_some_and(|score| score >= 3_000.0 || score.is_nan()),
    };
    for (place, filter) in asked.into_iter().enumerate() {
        let options = ScanOptions::default().with_filter(filter.clone());
        let rows = lines.catalog().scan(&lines.pin().await, options).await.unwrap();
        let rows = rows.concat().await.unwrap();
        let mut ids = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        ids.sort_unstable();
        let wanted: Vec<i64> =
            expected.iter().filter(|line| passes(line, place)).map(|line| line.id).collect();
        assert_eq!(ids, wanted, "{filter:?}");
    }
}

#[tokio::test]
async fn row_groups_that_lose_no_row_are_copied() {
    for version in [2, 3] {
        let lines = grouped(version, &[], 3 * GROUP + 500).await;
        let before = file(&lines).await;
        let past = lineage_of_version(&lines, version).await;
        let (from, to) = (GROUP + 1_000, GROUP + 1_010);
        let gone = Predicate::And(vec![
            Predicate::compare("id", CompareOp::GtEq, Literal::Int(from)),
            Predicate::compare("id", CompareOp::Lt, Literal::Int(to)),
        ]);
        assert_eq!(lines.delete(&gone, RowOptions::default()).await.deleted, 10);
        let after = file(&lines).await;
        assert_eq!(after.1.num_row_groups(), before.1.num_row_groups());
        for group in 0..4 {
            for column in 0..4 {
                let is_same = chunk(&before, group, column) == chunk(&after, group, column);
                assert_eq!(is_same, group != 1, "{group} {column}");
            }
        }
        let left = (0..3 * GROUP + 500).filter(|id| !(from..to).contains(id));
        let left: Vec<Line> = left.map(numbered).collect();
        assert_eq!(lines.now().await, left);
        check_found(&lines, &left).await;
        check_sound(&lines).await;
        let now = lineage_of_version(&lines, version).await;
        assert!(now.iter().all(|(id, lineage)| past[id] == *lineage));
        // What was put together is put together again.
        assert_eq!(lines.delete(&is("id", 7), RowOptions::default()).await.deleted, 1);
        let again = file(&lines).await;
        assert_eq!(chunk(&again, 2, 2), chunk(&before, 2, 2));
        let left: Vec<Line> = left.into_iter().filter(|line| line.id != 7).collect();
        assert_eq!(lines.now().await, left);
        check_sound(&lines).await;
    }
}

async fn lineage_of_version(lines: &Lines, version: u8) -> BTreeMap<i64, (i64, i64)> {
    if version > 2 { lineage_of(lines).await } else { BTreeMap::new() }
}

#[tokio::test]
async fn columns_in_which_no_row_changes_are_copied() {
    for version in [2, 3] {
        let lines = grouped(version, &[], 3 * GROUP).await;
        let before = file(&lines).await;
        let mut wanted: BTreeMap<i64, Line> = (0..3 * GROUP).map(|id| (id, numbered(id))).collect();
        let mut past = lineage_of_version(&lines, version).await;
        let changed = [3, GROUP - 1, GROUP, GROUP + 77];
        let rows = changed.map(|id| Line { score: Some(9.5_f64.to_bits()), ..numbered(id) });
        for row in &rows {
            wanted.insert(row.id, row.clone());
            past.entry(row.id).and_modify(|(_, updated)| *updated = 2);
        }
        // One that is as it is, and one that is new.
        let more = [numbered(12), numbered(-5)];
        wanted.insert(-5, numbered(-5));
        let all: Vec<Line> = rows.into_iter().chain(more).collect();
        let key = ["id".to_owned()];
        let rows = lines_of(&all, false);
        let options = UpsertOptions::default();
        let done = lines.catalog().upsert(&lines.table, rows, &key, options).await.unwrap();
        assert_eq!((done.updated, done.inserted), (4, 1));
        assert_eq!(lines.now().await, wanted.values().cloned().collect::<Vec<_>>());
        check_sound(&lines).await;
        let now = lineage_of_version(&lines, version).await;
        assert!(past.iter().all(|(id, lineage)| now[id] == *lineage), "version {version}");
        lines.delete(&is("id", -5), RowOptions::default()).await;
        let after = file(&lines).await;
        let codecs = |(_, metadata): &(Vec<u8>, ParquetMetaData)| {
            let columns = metadata.row_groups().iter().map(|group| group.column(2));
            columns
                .map(|it| (it.compression(), it.dictionary_page_offset().is_some()))
                .collect::<Vec<_>>()
        };
        assert_eq!(codecs(&after), codecs(&before));
        assert_eq!(codecs(&after)[0], (Compression::UNCOMPRESSED, false));
        for group in 0..3 {
            for column in 0..4 {
                let is_same = chunk(&before, group, column) == chunk(&after, group, column);
                assert_eq!(is_same, group == 2 || column != 2, "{group} {column}");
            }
        }
        wanted.remove(&-5);
        check_found(&lines, &wanted.into_values().collect::<Vec<_>>()).await;
    }
}

#[tokio::test]
async fn columns_that_the_file_has_otherwise_are_not_copied() {
    for version in [2, 3] {
        let mut lines = grouped(version, &[], 3 * GROUP).await;
        let before = file(&lines).await;
        alter(&lines.lake, &lines.table, &[rename("name", "title"), add("extra", "long")])
            .await
            .unwrap();
        lines.extra = true;
        assert_eq!(lines.delete(&is("id", 5), RowOptions::default()).await.deleted, 1);
        let left: Vec<Line> = (0..3 * GROUP).filter(|id| *id != 5).map(numbered).collect();
        assert_eq!(lines.now().await, left);
        check_sound(&lines).await;
        let after = file(&lines).await;
        let columns = after.1.file_metadata().schema_descr().columns();
        let names: Vec<&str> = columns.iter().take(5).map(|column| column.name()).collect();
        assert_eq!(names, ["id", "title", "score", "day", "extra"]);
        assert_eq!(chunk(&before, 1, 2), chunk(&after, 1, 2));
    }
}

#[tokio::test]
async fn a_sorted_file_stays_sorted() {
    let lines = grouped(2, &["name", "id"], 3 * GROUP).await;
    let rows = [Line { score: None, ..numbered(40) }, Line { name: None, ..numbered(9_000) }];
    for row in &rows {
        let key = ["id".to_owned()];
        let rows = lines_of(std::slice::from_ref(row), false);
        let options = UpsertOptions::default();
        let done = lines.catalog().upsert(&lines.table, rows, &key, options).await.unwrap();
        assert_eq!(done.updated, 1);
        // A deep check looks at the order.
        check_sound(&lines).await;
    }
    let mut wanted: Vec<Line> = (0..3 * GROUP).map(numbered).collect();
    for row in rows {
        let place = wanted.iter().position(|line| line.id == row.id).unwrap();
        wanted[place] = row;
    }
    assert_eq!(lines.now().await, wanted);
}

/// A change of a few rows.
#[derive(Debug, Clone)]
enum Step {
    Delete(i64, i64),
    Score(Vec<i64>),
    Rename(Vec<i64>),
    MarkDeleted(Vec<i64>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ids = || proptest::collection::vec(0..3 * GROUP + 700, 1..5);
    let step = prop_oneof![
        (0..3 * GROUP, 1..2 * GROUP).prop_map(|(from, count)| Step::Delete(from, count)),
        (0..3 * GROUP, 1..20_i64).prop_map(|(from, count)| Step::Delete(from, count)),
        ids().prop_map(Step::Score),
        ids().prop_map(Step::Rename),
        ids().prop_map(Step::MarkDeleted),
    ];
    proptest::collection::vec(step, 1..5)
}

#[test]
fn whatever_changes_the_rows_are_those_of_an_oracle() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cases = ProptestConfig::with_cases(12);
    let mut runner =
        TestRunner::new_with_rng(cases, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let case = (prop_oneof![Just(2_u8), Just(3_u8)], steps());
    runner
        .run(&case, |(version, steps)| {
            runtime.block_on(take_steps(version, steps));
            Ok(())
        })
        .unwrap();
}

async fn take_steps(version: u8, steps: Vec<Step>) {
    let lines = grouped(version, &[], 3 * GROUP).await;
    let mut wanted: BTreeMap<i64, Line> = (0..3 * GROUP).map(|id| (id, numbered(id))).collect();
    for (round, step) in steps.into_iter().enumerate() {
        match step {
            Step::Delete(from, count) => {
                let gone = Predicate::And(vec![
                    Predicate::compare("id", CompareOp::GtEq, Literal::Int(from)),
                    Predicate::compare("id", CompareOp::Lt, Literal::Int(from + count)),
                ]);
                lines.delete(&gone, RowOptions::default()).await;
                wanted.retain(|id, _| !(from..from + count).contains(id));
            }
            Step::MarkDeleted(ids) => {
                let ids: Vec<Literal> = ids.into_iter().map(Literal::Int).collect();
                wanted.retain(|id, _| !ids.contains(&Literal::Int(*id)));
                let options = RowOptions::default().with_mode(RowMode::MergeOnRead);
                lines.delete(&Predicate::In("id".to_owned(), ids), options).await;
            }
            Step::Score(ids) => {
                let score = Some((round as f64).to_bits());
                upsert(&lines, &mut wanted, ids, |line| line.score = score).await;
            }
            Step::Rename(ids) => {
                let name = Some(format!("r{round}"));
                upsert(&lines, &mut wanted, ids, |line| line.name = name.clone()).await;
            }
        }
        assert_eq!(lines.now().await, wanted.values().cloned().collect::<Vec<_>>());
    }
    check_sound(&lines).await;
    check_found(&lines, &wanted.into_values().collect::<Vec<_>>()).await;
}

async fn upsert(
    lines: &Lines,
    wanted: &mut BTreeMap<i64, Line>,
    ids: Vec<i64>,
    change: impl Fn(&mut Line),
) {
    let mut rows: BTreeMap<i64, Line> = BTreeMap::new();
    for id in ids {
        let mut row = wanted.get(&id).cloned().unwrap_or_else(|| numbered(id));
        change(&mut row);
        rows.insert(id, row);
    }
    wanted.extend(rows.clone());
    let rows = lines_of(&rows.into_values().collect::<Vec<_>>(), false);
    let key = ["id".to_owned()];
    lines.catalog().upsert(&lines.table, rows, &key, UpsertOptions::default()).await.unwrap();
}
