//! Tables whose columns change while events wait for them.

use arrow::datatypes::{Schema, TimeUnit};
use icecore_catalog::{AlterOptions, Alteration, ColumnType, NewColumn};

use super::*;

async fn alter(world: &World, change: Alteration) {
    let catalog = world.engine.catalog();
    catalog.alter(&table(), &[change], AlterOptions::default()).await.unwrap();
}

async fn add(world: &World, column: &str) {
    add_of(world, column, "long").await;
}

async fn add_of(world: &World, column: &str, holds: &str) {
    let new = NewColumn::new(column, ColumnType::parse(holds).unwrap());
    alter(world, Alteration::AddColumn(new)).await;
}

/// An event with a value in one more column.
fn event(user: &str, column: &str, value: i64) -> Push {
    let mut columns = balance(user, "2026-11-21", 1);
    columns.insert(column.to_owned(), vec![json!(value)]);
    Push::new("balances", columns)
}

/// What a column has, without its nulls.
async fn values(world: &World, column: &str) -> Vec<i64> {
    let catalog = world.engine.catalog();
    let pin = catalog.pin(&table(), &SnapshotSelector::Latest).await.unwrap();
    let rows = catalog.scan(&pin, ScanOptions::default()).await.unwrap().concat().await.unwrap();
    let column = rows.column_by_name(column).unwrap().as_primitive::<Int64Type>().clone();
    let mut values: Vec<i64> = column.iter().flatten().collect();
    values.sort_unstable();
    values
}

#[tokio::test]
async fn events_reach_a_table_that_has_renamed_or_dropped_their_columns() {
    let world = World::new().await;
    let pushes = world.pushes();
    add(&world, "tier").await;
    pushes.push(event("a", "tier", 5)).await.unwrap();
    alter(&world, Alteration::RenameColumn { column: "tier".to_owned(), to: "level".to_owned() })
        .await;
    add(&world, "tier").await;
    assert_eq!(pushes.commit("balances").await.unwrap().rows, 1);
    assert_eq!(values(&world, "level").await, [5]);
    assert_eq!(values(&world, "tier").await, Vec::<i64>::new());
    // What is dropped is left out, and the rest of the event is not.
    pushes.push(event("b", "tier", 6)).await.unwrap();
    alter(&world, Alteration::DropColumn("level".to_owned())).await;
    let other = Push::new("balances", balance("c", "2026-11-21", 1));
    pushes.push(other).await.unwrap();
    assert_eq!(pushes.commit("balances").await.unwrap().rows, 2);
    let status = pushes.status().remove(0);
    assert_eq!((status.rows, status.failed_commits, status.left_out_values), (0, 0, 1));
    assert_eq!(world.lake().await, [1, 1, 1]);
    // From here on events are checked by the columns that there are.
    let error = pushes.push(event("d", "level", 7)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    pushes.push(event("d", "tier", 8)).await.unwrap();
    pushes.commit("balances").await.unwrap();
    assert_eq!(values(&world, "tier").await, [8]);
}

#[tokio::test]
async fn a_table_that_was_made_again_gets_events_by_the_names_of_their_columns() {
    let world = World::new().await;
    let pushes = world.pushes();
    pushes.push(Push::new("balances", balance("a", "2026-11-21", 7))).await.unwrap();
    let catalog = world.engine.catalog();
    catalog.drop_table(&table()).await.unwrap();
    // While there is no table, nobody is told that it gets events.
    pushes.commit("balances").await.unwrap_err();
    let refused = pushes.push(Push::new("balances", balance("b", "2026-11-21", 8))).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
    // The same columns in another order have each other's ids.
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let schema = Schema::new(vec![
        Field::new("balance", DataType::Int64, true),
        Field::new("user", DataType::Utf8, true),
        Field::new("event_timestamp", time, true),
    ]);
    catalog.ensure_table(&table(), &NewTable::new(Arc::new(schema))).await.unwrap();
    assert_eq!(pushes.commit("balances").await.unwrap().rows, 1);
    assert_eq!(world.lake().await, [7]);
}

#[tokio::test]
async fn a_column_of_lists_is_refused_with_what_to_do() {
    let world = World::new().await;
    add_of(&world, "tags", "list<double>").await;
    let mut columns = balance("a", "2026-11-21", 1);
    columns.insert("tags".to_owned(), vec![json!([0.5])]);
    let error = world.pushes().push(Push::new("balances", columns)).await.unwrap_err();
    let message = "column `tags` holds lists, which are not pushed as JSON";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unsupported, message));
    assert!(error.help().unwrap().contains("leave `tags` out"), "{:?}", error.help());
    assert_eq!(error.related()[0].notes(), ["df.tags"]);
}
