//! Tables with deleted rows and changed columns, against an oracle that keeps every row.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, Float32Array, Int32Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use icecore_core::{ErrorKind, Predicate, SnapshotId};
use proptest::prelude::*;
use roaring::RoaringTreemap;

use super::delete_files::{by_partition, vector_blob};
use super::filters::{Row, batch, passes, predicates, row, rows};
use super::*;

/// What happens to a table.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Row>),
    /// Deletes the rows at these places among the live ones.
    Positions(Vec<prop::sample::Index>),
    Vectors(Vec<prop::sample::Index>),
    /// Deletes the rows that have the `n` of this one, or its `n` and `text`.
    Keys(prop::sample::Index, bool),
    /// `n` and `f` become wider.
    Widen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = || prop::collection::vec(any::<prop::sample::Index>(), 1..6);
    let step = prop_oneof![
        2 => prop::collection::vec(row(), 1..20).prop_map(Step::Append),
        2 => some().prop_map(Step::Positions),
        2 => some().prop_map(Step::Vectors),
        2 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(at, both)| Step::Keys(at, both)),
        1 => Just(Step::Widen),
    ];
    prop::collection::vec(step, 1..7)
}

/// A table and what it should hold.
struct World {
    lake: Lake,
    live: Vec<(i64, Row)>,
    next_id: i64,
    is_wide: bool,
    head: PinnedTable,
}

impl World {
    async fn new(first: Vec<Row>, by: Option<&str>) -> Self {
        let schema = narrow(&batch(&[])).schema();
        let lake = Lake::new(NewTable::new(schema).with_partition_by(by)).await;
        let head = PinnedTable {
            table: lake.table.clone(),
            uuid: String::new(),
            snapshot: SnapshotId::new(0),
        };
        let mut world = Self { lake, live: Vec::new(), next_id: 0, is_wide: false, head };
        world.append(first).await;
        world
    }

    async fn append(&mut self, rows: Vec<Row>) {
        let first = self.next_id;
        let ids = Int64Array::from_iter_values((first..).take(rows.len()));
        let mut all = with_ids(&batch(&rows), ids);
        if !self.is_wide {
            all = narrow(&all);
        }
        self.head = self.lake.commit(all).await;
        self.next_id += rows.len() as i64;
        self.live.extend((first..).zip(rows));
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Append(rows) => self.append(rows).await,
            Step::Positions(chosen) => self.delete_at(&chosen, false).await,
            Step::Vectors(chosen) => self.delete_at(&chosen, true).await,
            Step::Keys(chosen, both) => self.delete_keys(chosen, both).await,
            Step::Widen => {
                let wide = batch(&[]).schema();
                match self.lake.catalog.evolve(&self.lake.table, &wide).await {
                    Ok(_) => self.is_wide = true,
                    // A column that files are partitioned by stays as it is.
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
                }
            }
        }
    }

    async fn delete_at(&mut self, chosen: &[prop::sample::Index], vectors: bool) {
        if self.live.is_empty() {
            return;
        }
        let chosen: BTreeSet<i64> = chosen.iter().map(|at| at.get(&self.live).0).collect();
        let table = self.lake.loaded().await;
        for task in self.lake.tasks().await {
            let old = task.deletes.iter().find(|delete| delete.is_vector());
            if old.is_some() && !vectors {
                continue;
            }
            let rows = self.lake.places(&task).await;
            let ids = rows.column(0).as_primitive::<Int64Type>();
            let places = rows.column_by_name("_pos").unwrap().as_primitive::<Int64Type>();
            let found: Vec<(i64, i64)> = ids
                .values()
                .iter()
                .zip(places.values())
                .filter(|(id, _)| chosen.contains(id))
                .map(|(id, place)| (*id, *place))
                .collect();
            if found.is_empty() {
                continue;
            }
            self.live.retain(|(id, _)| !found.iter().any(|(gone, _)| gone == id));
            let places: Vec<i64> = found.iter().map(|(_, place)| *place).collect();
            let (file, replaced) = if vectors {
                let mut all = crate::scan::deleted_positions(&table, &task).await.unwrap();
                all.extend(places.iter().map(|place| u64::try_from(*place).unwrap()));
                let replaced = old.iter().map(|old| &old.file).collect();
                (self.lake.vector(&task, &all).await, replaced)
            } else {
                (self.lake.position_deletes(&task, &places).await, Vec::new())
            };
            self.head = self.lake.commit_deletes(task.spec_id, vec![file], replaced).await;
        }
    }

    async fn delete_keys(&mut self, chosen: prop::sample::Index, both: bool) {
        if self.live.is_empty() {
            return;
        }
        let wanted = chosen.get(&self.live).1.clone();
        let row = if self.is_wide {
            batch(std::slice::from_ref(&wanted))
        } else {
            narrow(&batch(std::slice::from_ref(&wanted)))
        };
        let columns: &[&str] = if both { &["text", "n"] } else { &["n"] };
        let keys = self.lake.keys(&row, columns).await;
        let tasks = self.lake.tasks().await;
        for task in by_partition(&tasks) {
            let file = self.lake.equality_deletes(task, &keys).await;
            self.head = self.lake.commit_deletes(task.spec_id, vec![file], Vec::new()).await;
        }
        self.live.retain(|(_, row)| row.n != wanted.n || both && row.text != wanted.text);
    }

    async fn check(&self, predicate: &Predicate) -> Result<(), TestCaseError> {
        let expected: Vec<i64> = self
            .live
            .iter()
            .filter(|(_, row)| passes(row, predicate) == Some(true))
            .map(|(id, _)| *id)
            .collect();
        for columns in [&["id"][..], &["text", "id", "f"], &["id", "n"]] {
            let options = ScanOptions::default().with_columns(columns.iter().copied());
            let read = self.lake.read(&self.head, options.with_filter(predicate.clone())).await;
            let ids = read.column_by_name("id").unwrap().as_primitive::<Int64Type>();
            let mut ids = ids.values().to_vec();
            ids.sort_unstable();
            prop_assert_eq!(&ids, &expected, "{:?} {:?}", predicate, columns);
        }
        Ok(())
    }
}

/// The batch with `n` and `f` in 32 bits.
fn narrow(wide: &RecordBatch) -> RecordBatch {
    let schema = wide.schema();
    let columns = schema.fields().iter().zip(wide.columns()).map(|(field, column)| {
        let column = match field.name().as_str() {
            "n" => cast(column, &DataType::Int32).unwrap(),
            "f" => cast(column, &DataType::Float32).unwrap(),
            _ => column.clone(),
        };
        (field.name().clone(), column, field.is_nullable())
    });
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn with_ids(rows: &RecordBatch, ids: Int64Array) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    columns[0] = Arc::new(ids);
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Whatever was deleted, in whichever way, and however columns changed since.
    #[test]
    fn what_is_read_is_what_was_not_deleted(
        first in rows(),
        steps in steps(),
        predicates in prop::collection::vec(predicates(), 1..5),
        by in prop::sample::select(vec![
            None, Some("n"), Some("bucket(2, n)"), Some("truncate(1, text)"), Some("day(at)"),
        ]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(first, by).await;
            for step in steps {
                world.take(step).await;
            }
            world.check(&Predicate::And(Vec::new())).await?;
            for predicate in &predicates {
                world.check(predicate).await?;
            }
            Ok::<_, TestCaseError>(())
        })?;
    }
}

fn numbers(values: std::ops::Range<i64>) -> RecordBatch {
    let id = Arc::new(Int64Array::from_iter_values(values)) as arrow::array::ArrayRef;
    RecordBatch::try_from_iter([("id", id)]).unwrap()
}

#[tokio::test]
async fn a_delete_of_keys_spares_the_rows_of_its_own_commit_and_later_ones() {
    let lake = Lake::new(NewTable::new(numbers(0..0).schema())).await;
    lake.commit(numbers(0..10)).await;
    let tasks = lake.tasks().await;
    let keys = lake.keys(&numbers(2..5), &["id"]).await;
    let file = lake.equality_deletes(&tasks[0], &keys).await;
    let deleted = lake.commit_deletes(0, vec![file], Vec::new()).await;
    assert_eq!(lake.read(&deleted, ScanOptions::default()).await.num_rows(), 7);
    let again = lake.commit(numbers(3..4)).await;
    assert_eq!(lake.read(&again, ScanOptions::default()).await.num_rows(), 8);
    let plan = lake.catalog.plan_files(&again, None).await.unwrap();
    assert!(!plan.native);
}

#[tokio::test]
async fn damaged_deletes_are_errors_that_name_the_file() {
    let check = async |damage: fn(&mut Vec<u8>)| {
        let lake = Lake::new(NewTable::new(numbers(0..0).schema())).await;
        lake.commit(numbers(0..10)).await;
        let tasks = lake.tasks().await;
        let file = lake.vector(&tasks[0], &RoaringTreemap::from_iter([3, 7])).await;
        let path = file.file_path().strip_prefix("file://").unwrap().to_owned();
        let pinned = lake.commit_deletes(0, vec![file], Vec::new()).await;
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let rows = lake.catalog.scan(&pinned, ScanOptions::default()).await.unwrap();
        let error = rows.collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataCorrupt, "{error}");
        assert!(error.to_string().contains("vector.puffin"), "{error}");
    };
    check(|bytes| bytes[20] ^= 1).await;
    check(|bytes| bytes[5] ^= 0x7f).await;
    check(|bytes| bytes.truncate(12)).await;
}

#[tokio::test]
async fn a_vector_of_more_rows_than_the_file_has_is_refused() {
    let lake = Lake::new(NewTable::new(numbers(0..0).schema())).await;
    lake.commit(numbers(0..10)).await;
    let tasks = lake.tasks().await;
    let file = lake.vector(&tasks[0], &RoaringTreemap::from_iter([10])).await;
    let pinned = lake.commit_deletes(0, vec![file], Vec::new()).await;
    let rows = lake.catalog.scan(&pinned, ScanOptions::default()).await.unwrap();
    assert_eq!(rows.collect().await.unwrap_err().kind(), ErrorKind::DataCorrupt);
    assert_eq!(vector_blob(&RoaringTreemap::new()).len(), 4 + 4 + 8 + 4);
}

#[tokio::test]
async fn narrow_columns_of_old_files_are_deleted_from_by_wide_keys() {
    let old = RecordBatch::try_from_iter([
        ("id", Arc::new(Int32Array::from(vec![1, 2, 3])) as arrow::array::ArrayRef),
        ("f", Arc::new(Float32Array::from(vec![0.5, 1.5, 2.5]))),
    ])
    .unwrap();
    let lake = Lake::new(NewTable::new(old.schema())).await;
    lake.commit(old).await;
    let wide = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![2])) as arrow::array::ArrayRef),
        ("f", Arc::new(arrow::array::Float64Array::from(vec![1.5]))),
    ])
    .unwrap();
    lake.catalog.evolve(&lake.table, &wide.schema()).await.unwrap();
    let tasks = lake.tasks().await;
    let keys = lake.keys(&wide, &["id", "f"]).await;
    let file = lake.equality_deletes(&tasks[0], &keys).await;
    lake.commit_deletes(0, vec![file], Vec::new()).await;
    let live = lake.places(&lake.tasks().await[0]).await;
    assert_eq!(live.column(0).as_primitive::<Int64Type>().values().as_ref(), [1, 3]);
    assert_eq!(live.column_by_name("_pos").unwrap().null_count(), 0);
}
