//! Reading what was written before columns changed.

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Int32Array, StringArray};
use arrow::datatypes::Fields;
use proptest::prelude::*;

use super::alter::{add, alter, drop, names, of, orders, rename, widen};
use super::*;
use crate::write::tests::lines;
use crate::{Alteration, ColumnPlace, NewColumn};

/// A column of the oracle: which it is, what it is called and what it holds.
#[derive(Debug, Clone)]
struct Modelled {
    uid: usize,
    name: String,
    holds: &'static str,
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8, u8, u8),
    Drop(u8),
    Rename(u8, u8),
    Widen(u8),
    Move(u8, u8),
    Write(u8, u8),
    Rollback,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| Step::Add(a, b, c)),
        any::<u8>().prop_map(Step::Drop),
        (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Step::Rename(a, b)),
        any::<u8>().prop_map(Step::Widen),
        (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Step::Move(a, b)),
        (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Step::Write(a, b)),
        (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Step::Write(a, b)),
        Just(Step::Rollback),
    ]
}

/// What the table must hold: columns in order, and rows by the columns that they were given.
#[derive(Debug, Clone)]
struct Oracle {
    columns: Vec<Modelled>,
    rows: Vec<BTreeMap<usize, String>>,
    next: usize,
}

impl Oracle {
    fn pick(&self, by: u8) -> Option<usize> {
        (self.columns.len() > 1).then(|| 1 + usize::from(by) % (self.columns.len() - 1))
    }

    fn lines(&self) -> Vec<String> {
        let line = |row: &BTreeMap<usize, String>| {
            let cells = self.columns.iter().map(|column| match row.get(&column.uid) {
                Some(value) => value.clone(),
                None => "∅".to_owned(),
            });
            cells.collect::<Vec<_>>().join("|")
        };
        let mut lines: Vec<String> = self.rows.iter().map(line).collect();
        lines.sort();
        lines
    }
}

async fn take(lake: &Lake, table: &TableName, oracle: &mut Oracle, step: &Step) {
    match step {
        Step::Add(name, kind, place) => {
            let name = format!("c{}", name % 6);
            let holds = ["int", "float", "string"][usize::from(*kind) % 3];
            let taken = oracle.columns.iter().any(|column| column.name == name);
            let at = usize::from(*place) % oracle.columns.len();
            let after = ColumnPlace::After(oracle.columns[at].name.clone());
            let new = NewColumn::new(&name, of(holds)).with_place(after);
            let added = alter(lake, table, &[Alteration::AddColumn(new)]).await;
            assert_eq!(added.is_err(), taken);
            if !taken {
                let column = Modelled { uid: oracle.next, name, holds };
                oracle.columns.insert(at + 1, column);
                oracle.next += 1;
            }
        }
        Step::Drop(which) => {
            let Some(at) = oracle.pick(*which) else { return };
            let column = oracle.columns.remove(at);
            alter(lake, table, &[drop(&column.name)]).await.unwrap();
        }
        Step::Rename(which, name) => {
            let (Some(at), name) = (oracle.pick(*which), format!("c{}", name % 6)) else { return };
            let old = oracle.columns[at].name.clone();
            let taken = oracle.columns.iter().any(|column| column.name == name) && name != old;
            assert_eq!(alter(lake, table, &[rename(&old, &name)]).await.is_err(), taken);
            if !taken {
                oracle.columns[at].name = name;
            }
        }
        Step::Widen(which) => {
            let Some(at) = oracle.pick(*which) else { return };
            let column = &mut oracle.columns[at];
            column.holds = match column.holds {
                "int" => "long",
                "float" => "double",
                same => same,
            };
            alter(lake, table, &[widen(&column.name, column.holds)]).await.unwrap();
        }
        Step::Move(which, to) => {
            let Some(at) = oracle.pick(*which) else { return };
            let column = oracle.columns.remove(at);
            let to = usize::from(*to) % oracle.columns.len();
            let before = ColumnPlace::Before(oracle.columns[to].name.clone());
            let moving = Alteration::MoveColumn { column: column.name.clone(), to: before };
            oracle.columns.insert(to, column);
            alter(lake, table, &[moving]).await.unwrap();
        }
        Step::Write(which, value) => write(lake, table, oracle, (*which, *value)).await,
        Step::Rollback => {}
    }
}

/// Writes two rows that have some of the columns.
async fn write(lake: &Lake, table: &TableName, oracle: &mut Oracle, (which, value): (u8, u8)) {
    let (mut fields, mut arrays): (Vec<Field>, Vec<ArrayRef>) = (vec![], vec![]);
    let mut rows = vec![BTreeMap::new(), BTreeMap::new()];
    for (at, column) in oracle.columns.iter().enumerate() {
        if at > 0 && (which >> (at % 8)) & 1 == 0 {
            continue;
        }
        let numbers = [i32::from(value), i32::from(value) + 1];
        let floats = numbers.map(|number| number as f32 + 0.5);
        let words = numbers.map(|number| format!("w{number}"));
        let (array, shown): (ArrayRef, Vec<String>) = match column.holds {
            "int" | "long" => (
                Arc::new(Int32Array::from(numbers.to_vec())),
                numbers.iter().map(ToString::to_string).collect(),
            ),
            "float" | "double" => (
                Arc::new(Float32Array::from(floats.to_vec())),
                floats.iter().map(ToString::to_string).collect(),
            ),
            _ => (Arc::new(StringArray::from(words.to_vec())), words.to_vec()),
        };
        fields.push(Field::new(&column.name, array.data_type().clone(), true));
        arrays.push(array);
        for (row, shown) in rows.iter_mut().zip(shown) {
            row.insert(column.uid, shown);
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap();
    let stream = BatchStream::from_batches(schema, vec![batch]);
    lake.catalog.commit(table, stream, CommitOptions::default()).await.unwrap();
    oracle.rows.extend(rows);
}

async fn read(lake: &Lake, pinned: &PinnedTable) -> (Vec<String>, Vec<String>) {
    let stream = lake.catalog.scan(pinned, ScanOptions::default()).await.unwrap();
    let columns = names(stream.schema()).into_iter().map(str::to_owned).collect();
    let mut rows: Vec<String> = stream.collect().await.unwrap().iter().flat_map(lines).collect();
    rows.sort();
    (columns, rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_state_reads_back_under_the_columns_of_its_time(
        steps in proptest::collection::vec(step(), 1..16),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lake = Lake::empty().await;
            let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int32, true)]));
            let table = TableName::parse("ns.t").unwrap();
            lake.catalog.ensure_table(&table, &NewTable::new(schema)).await.unwrap();
            let first = Modelled { uid: 0, name: "k".to_owned(), holds: "int" };
            let mut oracle = Oracle { columns: vec![first], rows: vec![], next: 1 };
            let mut past: Vec<(PinnedTable, Oracle)> = Vec::new();
            for step in &steps {
                if let (Step::Rollback, Some((pin, then))) = (step, past.first().cloned()) {
                    // The rows come back, and with them the columns that they had.
                    let rolled = lake
                        .catalog
                        .rollback(&table, pin.snapshot, RollbackPolicy::Force)
                        .await;
                    assert!(rolled.is_ok());
                    assert_eq!(read(&lake, &pin).await.1, then.lines());
                    let back = past.last().unwrap().0.snapshot;
                    lake.catalog
                        .rollback(&table, back, RollbackPolicy::Force)
                        .await
                        .unwrap();
                    continue;
                }
                take(&lake, &table, &mut oracle, step).await;
                let now = lake.catalog.pin(&table, &SnapshotSelector::Latest).await.unwrap();
                if now.snapshot != PinnedTable::EMPTY {
                    past.push((now, oracle.clone()));
                }
            }
            for (pin, oracle) in &past {
                let (columns, rows) = read(&lake, pin).await;
                let expected: Vec<&str> =
                    oracle.columns.iter().map(|column| column.name.as_str()).collect();
                assert_eq!(columns, expected);
                assert_eq!(rows, oracle.lines(), "{steps:?}");
            }
        });
    }
}

#[tokio::test]
async fn rows_of_every_depth_survive_changes_inside_of_structs() {
    let (lake, table) = orders().await;
    let city: ArrayRef = Arc::new(StringArray::from(vec![Some("Ulm"), None]));
    let number: ArrayRef = Arc::new(Int32Array::from(vec![7, 8]));
    let place = Fields::from(vec![
        Field::new("city", DataType::Utf8, true),
        Field::new("number", DataType::Int32, true),
    ]);
    let place = arrow::array::StructArray::new(place, vec![city, number], None);
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("place", place.data_type().clone(), true),
    ]));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(place)];
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let rows = BatchStream::from_batches(schema, vec![batch]);
    lake.catalog.commit(&table, rows, CommitOptions::default()).await.unwrap();
    alter(
        &lake,
        &table,
        &[rename("place.city", "town"), widen("place.number", "long"), add("place.zip", "int")],
    )
    .await
    .unwrap();
    let pin = lake.catalog.pin(&table, &SnapshotSelector::Latest).await.unwrap();
    let stream = lake.catalog.scan(&pin, ScanOptions::default()).await.unwrap();
    let batch = stream.concat().await.unwrap();
    let place = batch.column(1).as_struct();
    let part = |name: &str| place.column_by_name(name).unwrap().clone();
    assert_eq!(part("town").as_string::<i32>().value(0), "Ulm");
    assert_eq!(part("number").as_primitive::<Int64Type>().value(1), 8);
    assert_eq!(part("zip").null_count(), 2);
}
