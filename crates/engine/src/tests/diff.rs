use std::collections::BTreeSet;

use icecore_core::ErrorKind;
use proptest::prelude::*;

use super::*;

async fn lake(old: &str, new: &str) -> (Lake, PinnedTable, PinnedTable) {
    let lake = Lake::new().await;
    lake.create("t.t", NewTable::new(payments_schema())).await;
    let old = lake.commit("t.t", payments(old), WriteMode::Overwrite).await.pinned;
    let new = lake.commit("t.t", payments(new), WriteMode::Overwrite).await.pinned;
    (lake, old, new)
}

fn key(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|&column| column.to_owned()).collect()
}

async fn rows(diff: &crate::TableDiff) -> Vec<String> {
    lines(&diff.rows(None).await.unwrap().concat().await.unwrap())
}

#[tokio::test]
async fn rows_are_compared_in_both_directions_and_counted() {
    // C137
    let (lake, old, new) =
        lake("1|a|-|2026-01-01 2|b|1|- 2|b|1|- 3|-|2|-", "1|a|-|2026-01-01 2|b|1|- 4|-|2|-").await;
    let diff = lake.engine.diff(&old, &new, &[]).await.unwrap();
    assert_eq!((diff.added, diff.removed, diff.changed), (1, 2, 0));
    let expected =
        ["removed|1|2|b|1.0|null", "removed|1|3|null|2.0|null", "added|1|4|null|2.0|null"];
    assert_eq!(rows(&diff).await, expected);
    let first = diff.rows(Some(1)).await.unwrap().concat().await.unwrap();
    assert_eq!(first.num_rows(), 1);
    let back = lake.engine.diff(&new, &old, &[]).await.unwrap();
    assert_eq!((back.added, back.removed), (2, 1));
    let same = lake.engine.diff(&new, &new, &[]).await.unwrap();
    assert!(same.is_empty() && rows(&same).await.is_empty());
}

#[tokio::test]
async fn a_key_tells_changes_from_additions() {
    // C138
    let (lake, old, new) = lake(
        "1|a|1|- 2|b|2|- 3|c|-|2026-01-01 5|e|5|-",
        "1|a|9|- 2|b|2|- 3|-|3|2026-01-01 4|d|4|-",
    )
    .await;
    let diff = lake.engine.diff(&old, &new, &key(&["id"])).await.unwrap();
    assert_eq!((diff.added, diff.removed, diff.changed), (1, 1, 2));
    let at = "2026-01-01T00:00:00Z";
    assert_eq!(
        rows(&diff).await,
        [
            "changed|amount|1|a|a|1.0|9.0|null|null".to_owned(),
            format!("changed|user_token, amount|3|c|null|null|3.0|{at}|{at}"),
            "added|null|4|null|d|null|4.0|null|null".to_owned(),
            "removed|null|5|e|null|5.0|null|null|null".to_owned(),
        ]
    );
    let error = lake.engine.diff(&old, &new, &key(&["idd"])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.help(), Some("did you mean `id`?"));
}

#[tokio::test]
async fn files_of_both_states_are_not_read() {
    let (lake, _, old) = lake("", "1|a|1|- 2|b|2|-").await;
    let new = lake.append("t.t", payments("3|c|3|-")).await.pinned;
    let diff = lake.engine.diff(&old, &new, &key(&["id"])).await.unwrap();
    assert_eq!((diff.added, diff.removed, diff.changed, diff.shared_files), (1, 0, 0, 1));
    assert_eq!(rows(&diff).await, ["added|null|3|null|c|null|3.0|null|null"]);
}

#[tokio::test]
async fn a_new_column_is_null_before() {
    use arrow::datatypes::{DataType, Field, Schema};
    let (lake, _, old) = lake("", "1|a|1|- 2|b|2|-").await;
    let mut fields = payments_schema().fields().to_vec();
    fields.push(Arc::new(Field::new("country", DataType::Utf8, true)));
    let wider = Arc::new(Schema::new(fields));
    lake.catalog().evolve(&name("t.t"), &wider).await.unwrap();
    let mut columns = payments("1|a|1|- 2|b|2|-").columns().to_vec();
    columns.push(Arc::new(arrow::array::StringArray::from(vec![None, Some("de")])));
    let batch = RecordBatch::try_new(wider, columns).unwrap();
    let new = lake.commit("t.t", batch, WriteMode::Overwrite).await.pinned;
    let diff = lake.engine.diff(&old, &new, &key(&["id"])).await.unwrap();
    assert_eq!(diff.columns_added, ["country"]);
    assert_eq!((diff.added, diff.removed, diff.changed), (0, 0, 1));
    assert!(rows(&diff).await[0].starts_with("changed|country|2|"));
}

type Row = (Option<i64>, Option<i64>, Option<i64>);

fn batch(rows: &[Row]) -> RecordBatch {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    let k: Int64Array = rows.iter().map(|row| row.0).collect();
    let v: Int64Array = rows.iter().map(|row| row.1).collect();
    let s: StringArray = rows.iter().map(|row| row.2.map(|n| format!("s{n}"))).collect();
    let columns: Vec<(&str, ArrayRef, bool)> =
        vec![("k", Arc::new(k), true), ("v", Arc::new(v), true), ("s", Arc::new(s), true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn counted(rows: &[Row]) -> BTreeMap<Row, i64> {
    let mut counts = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry(*row).or_default() += 1);
    counts
}

/// The differences by looking at every row: those that are left when equal rows are struck out.
fn oracle(old: &[Row], new: &[Row]) -> (Vec<Row>, Vec<Row>) {
    let (old, new) = (counted(old), counted(new));
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for row in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let net = old.get(row).unwrap_or(&0) - new.get(row).unwrap_or(&0);
        let side = if net > 0 { &mut removed } else { &mut added };
        (0..net.abs()).for_each(|_| side.push(*row));
    }
    (removed, added)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_diff_agrees_with_striking_out_equal_rows(
        old in proptest::collection::vec(row(), 0..12),
        new in proptest::collection::vec(row(), 0..12),
        shared in proptest::collection::vec(row(), 1..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lake = Lake::new().await;
            lake.create("t.a", NewTable::new(batch(&[]).schema())).await;
            // The shared rows are a file of both states; the others are replaced.
            let base = lake.append("t.a", batch(&shared)).await.pinned;
            let before = lake.append("t.a", batch(&old)).await.pinned;
            lake.catalog()
                .rollback(&name("t.a"), base.snapshot, icecore_catalog::RollbackPolicy::AncestorsOnly)
                .await
                .unwrap();
            let after = lake.append("t.a", batch(&new)).await.pinned;
            let (removed, added) = oracle(&old, &new);

            let diff = lake.engine.diff(&before, &after, &[]).await.unwrap();
            assert_eq!((diff.removed, diff.added), (removed.len() as u64, added.len() as u64));

            let keyed = lake.engine.diff(&before, &after, &key(&["k"])).await.unwrap();
            let (mut lost, mut gained, mut changed) = (0, 0, 0);
            for k in removed.iter().chain(&added).map(|row| row.0).collect::<BTreeSet<_>>() {
                let of = |rows: &[Row]| rows.iter().filter(|row| row.0 == k).count() as u64;
                let (o, n) = (of(&removed), of(&added));
                changed += o.min(n);
                lost += o - o.min(n);
                gained += n - o.min(n);
            }
            assert_eq!((keyed.removed, keyed.added, keyed.changed), (lost, gained, changed));
            let shown = rows(&keyed).await;
            let of = |change: &str| shown.iter().filter(|row| row.starts_with(change)).count() as u64;
            assert_eq!((of("removed|"), of("added|"), of("changed|")), (lost, gained, changed));
            assert!(shown.iter().all(|row| !row.starts_with("changed||")), "{shown:?}");
        });
    }
}

fn row() -> impl Strategy<Value = Row> {
    let value = || proptest::option::of(0_i64..3);
    (value(), value(), value())
}

#[tokio::test]
async fn maps_are_compared_by_their_entries() {
    use arrow::array::{Int64Builder, MapBuilder, StringBuilder};
    let maps = |values: [Option<i64>; 2]| {
        let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
        for value in values {
            maps.keys().append_value("k");
            maps.values().append_option(value);
            maps.append(true).unwrap();
        }
        maps.append(false).unwrap();
        let ids = arrow::array::Int64Array::from(vec![1, 2, 3]);
        RecordBatch::try_from_iter([
            ("id", Arc::new(ids) as arrow::array::ArrayRef),
            ("m", Arc::new(maps.finish())),
        ])
        .unwrap()
    };
    let lake = Lake::new().await;
    let (old, new) = (maps([Some(1), None]), maps([Some(1), Some(2)]));
    lake.create("t.t", NewTable::new(old.schema())).await;
    let old = lake.commit("t.t", old, WriteMode::Overwrite).await.pinned;
    let new = lake.commit("t.t", new, WriteMode::Overwrite).await.pinned;
    let diff = lake.engine.diff(&old, &new, &[]).await.unwrap();
    assert_eq!((diff.added, diff.removed), (1, 1));
    assert_eq!(rows(&diff).await.len(), 2);
    let diff = lake.engine.diff(&old, &new, &key(&["id"])).await.unwrap();
    assert_eq!((diff.added, diff.removed, diff.changed), (0, 0, 1));
    assert!(rows(&diff).await[0].starts_with("changed|m|2|"));
    assert!(lake.engine.diff(&new, &new, &[]).await.unwrap().is_empty());
}

/// Tables with a list, a list of lists, a list of structs, a struct and a map in two states.
async fn nested_lake() -> (Lake, PinnedTable, PinnedTable) {
    use arrow::datatypes::{DataType, Field, Schema};
    use icecore_catalog::ColumnType;

    let lake = Lake::new().await;
    let types = [
        ("list", "list<long>"),
        ("lists", "list<list<long>>"),
        ("structs", "list<struct<a: long, b: string>>"),
        ("row", "struct<a: list<long>>"),
    ];
    let id = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    lake.create("n.n", NewTable::new(id)).await;
    let columns = types.map(|(name, of)| {
        let column = icecore_catalog::NewColumn::new(name, ColumnType::parse(of).unwrap());
        icecore_catalog::Alteration::AddColumn(column)
    });
    let options = icecore_catalog::AlterOptions::default();
    lake.catalog().alter(&name("n.n"), &columns, options).await.unwrap();
    let mut pins = Vec::new();
    for last in [5_i64, 6] {
        let sql = format!(
            "SELECT id, make_array(id, {last}) AS list, \
             make_array(make_array(id), make_array({last})) AS lists, \
             make_array(named_struct('a', id, 'b', 'x')) AS structs, \
             named_struct('a', make_array({last})) AS row \
             FROM (VALUES (CAST(1 AS BIGINT)), (2), ({last})) AS t(id)"
        );
        let rows = lake.engine.sql(&sql, &[]).await.unwrap();
        let options = CommitOptions::new(WriteMode::Overwrite);
        pins.push(lake.catalog().commit(&name("n.n"), rows, options).await.unwrap().pinned);
    }
    let new = pins.pop().unwrap();
    (lake, pins.pop().unwrap(), new)
}

#[tokio::test]
async fn lists_and_structs_are_compared_by_key() {
    let (lake, old, new) = nested_lake().await;
    for by in [vec![], key(&["id"])] {
        let diff = lake.engine.diff(&old, &new, &by).await.unwrap();
        let expected = if by.is_empty() { (3, 3, 0) } else { (1, 1, 2) };
        assert_eq!((diff.added, diff.removed, diff.changed), expected, "{by:?}");
        rows(&diff).await;
    }
    for column in ["list", "lists", "structs", "row"] {
        for function in ["max", "first_value", "last_value"] {
            let sql = format!("SELECT {function}({column}) FROM n.n WHERE id = 1");
            if (function, column) != ("max", "row") && (function, column) != ("max", "structs") {
                assert_eq!(lake.rows(&sql).await.len(), 1, "{sql}");
            }
        }
        let sql = format!("SELECT lag({column}) OVER (ORDER BY id) AS x FROM n.n ORDER BY id");
        assert_eq!(lake.rows(&sql).await.len(), 3, "{sql}");
    }
    let condition = "list = make_array(1, 6) AND lists[1][1] = 1";
    let filter = lake.engine.row_filter(&lake.catalog().schema(&new).await.unwrap(), condition);
    let options = icecore_catalog::RowOptions::default();
    let done = lake.catalog().delete(&name("n.n"), filter.unwrap(), options).await.unwrap();
    assert_eq!(done.deleted, 1);
}
