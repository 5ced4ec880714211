//! Programs that are written over the `iceberg` crate, on our catalog.

use std::collections::HashMap;

use iceberg::spec::{DataFile, DataFileFormat, NestedField, PrimitiveType, Type};
use iceberg::table::Table;
use iceberg::transaction::{AddColumn, ApplyTransactionAction, Transaction};
use iceberg::writer::base_writer::data_file_writer::DataFileWriterBuilder;
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{
    DefaultFileNameGenerator, DefaultLocationGenerator,
};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{IcebergWriter, IcebergWriterBuilder};
use iceberg::{NamespaceIdent, TableCreation, TableIdent};

use super::*;

/// A file of rows that the other crate's own writer made.
async fn write(table: &Table, rows: &[i64]) -> Vec<DataFile> {
    let metadata = table.metadata();
    let schema = metadata.current_schema().clone();
    let arrow = iceberg::arrow::schema_to_arrow_schema(&schema).unwrap();
    let column = Arc::new(Int64Array::from(rows.to_vec()));
    let batch = RecordBatch::try_new(Arc::new(arrow), vec![column]).unwrap();
    let id = uuid::Uuid::new_v4().to_string();
    let files = RollingFileWriterBuilder::new_with_default_file_size(
        ParquetWriterBuilder::new(Default::default(), schema),
        table.file_io().clone(),
        DefaultLocationGenerator::new(metadata).unwrap(),
        DefaultFileNameGenerator::new(id, None, DataFileFormat::Parquet),
    );
    let mut writer = DataFileWriterBuilder::new(files).build(None).await.unwrap();
    writer.write(batch).await.unwrap();
    writer.close().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_another_crate_commits_through_our_catalog() {
    let lake = Lake::empty().await;
    let catalog = lake.catalog.as_iceberg();
    let space = NamespaceIdent::from_strs(["a", "b"]).unwrap();
    let column = NestedField::required(1, "n", Type::Primitive(PrimitiveType::Long));
    let schema = iceberg::spec::Schema::builder().with_fields([column.into()]).build().unwrap();
    let creation = || TableCreation::builder().name("t".to_owned()).schema(schema.clone()).build();
    let error = catalog.create_table(&space, creation()).await.unwrap_err();
    assert_eq!(error.kind(), iceberg::ErrorKind::NamespaceNotFound);
    catalog.create_namespace(&space, [("k".to_owned(), "v".to_owned())].into()).await.unwrap();
    let stale = catalog.create_table(&space, creation()).await.unwrap();
    let error = catalog.create_table(&space, creation()).await.unwrap_err();
    assert_eq!(error.kind(), iceberg::ErrorKind::TableAlreadyExists);

    // Two appends, the second of which was prepared on the state before the first.
    for rows in [[1, 2], [3, 4]] {
        let files = write(&stale, &rows).await;
        let tx = Transaction::new(&stale);
        let tx = tx.fast_append().add_data_files(files).apply(tx).unwrap();
        tx.commit(&*catalog).await.unwrap();
    }
    let name = TableName::parse("a.b.t").unwrap();
    let pinned = lake.catalog.pin(&name, &SnapshotSelector::Latest).await.unwrap();
    let rows = lake.catalog.scan(&pinned, ScanOptions::default()).await.unwrap();
    assert_eq!(rows.concat().await.unwrap().num_rows(), 4);
    assert_eq!(lake.catalog.history(&name).await.unwrap().len(), 2);

    let ident = TableIdent::new(space.clone(), "t".to_owned());
    let table = catalog.load_table(&ident).await.unwrap();
    let tx = Transaction::new(&table);
    let added = AddColumn::optional("extra", Type::Primitive(PrimitiveType::String));
    let tx = tx.update_schema().add_column(added).apply(tx).unwrap();
    let table = tx.commit(&*catalog).await.unwrap();
    assert!(table.metadata().current_schema().field_by_name("extra").is_some());
    assert!(lake.catalog.describe(&name).await.unwrap().schema.field_with_name("extra").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_and_tables_are_listed_renamed_and_dropped() {
    let lake = Lake::new().await;
    let catalog = lake.catalog.as_iceberg();
    let space = |name: &str| NamespaceIdent::from_strs(name.split('.')).unwrap();
    catalog.create_namespace(&space("x.y"), HashMap::default()).await.unwrap();
    let set: HashMap<String, String> = [("owner".to_owned(), "me".to_owned())].into();
    catalog.update_namespace(&space("x.y"), set.clone()).await.unwrap();
    assert_eq!(catalog.get_namespace(&space("x.y")).await.unwrap().properties(), &set);
    assert_eq!(catalog.list_namespaces(None).await.unwrap(), [space("ns"), space("x")]);
    assert_eq!(catalog.list_namespaces(Some(&space("x"))).await.unwrap(), [space("x.y")]);
    assert!(catalog.namespace_exists(&space("ns")).await.unwrap());
    assert!(!catalog.namespace_exists(&space("nobody")).await.unwrap());

    let old = TableIdent::new(space("ns"), "events".to_owned());
    let new = TableIdent::new(space("x.y"), "moved".to_owned());
    assert_eq!(catalog.list_tables(&space("ns")).await.unwrap(), std::slice::from_ref(&old));
    let location =
        catalog.load_table(&old).await.unwrap().metadata_location_result().unwrap().to_owned();
    catalog.rename_table(&old, &new).await.unwrap();
    assert!(!catalog.table_exists(&old).await.unwrap());
    assert!(catalog.table_exists(&new).await.unwrap());
    assert!(catalog.drop_namespace(&space("x.y")).await.is_err());
    catalog.drop_table(&new).await.unwrap();
    assert!(catalog.drop_table(&new).await.is_err());
    catalog.drop_namespace(&space("x.y")).await.unwrap();
    assert!(catalog.drop_namespace(&space("x.y")).await.is_err());
    let again = catalog.register_table(&old, location.clone()).await.unwrap();
    assert_eq!(again.metadata_location(), Some(location.as_str()));
    assert!(catalog.register_table(&old, location).await.is_err());
    assert!(catalog.purge_table(&old).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_a_view_has_is_taken() {
    let lake = Lake::new().await;
    let database = format!("sqlite:{}", lake.root.path().join("catalog.db").display());
    let pool = sqlx::SqlitePool::connect(&database).await.unwrap();
    // As PyIceberg enters views.
    let copy = "INSERT INTO iceberg_tables SELECT catalog_name, 'ns', 'seen', metadata_location, \
        NULL, 'VIEW' FROM iceberg_tables WHERE table_name = 'events'";
    sqlx::query(copy).execute(&pool).await.unwrap();
    let taken = TableName::parse("ns.seen").unwrap();
    let error = lake.catalog.rename_table(&lake.table, &taken).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(lake.catalog.describe(&lake.table).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_comes_back_as_it_was_last() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    let stale = lake.catalog.describe(&lake.table).await.unwrap().metadata_location;
    lake.reopened()
        .await
        .commit(&lake.table, stream(&[(2, 1)]), CommitOptions::new(WriteMode::Append))
        .await
        .unwrap();
    // What was committed since is not forgotten by whoever did not know of it.
    assert!(!lake.catalog.drop_table_at(&lake.table, &stale).await.unwrap());
    let last = lake.catalog.drop_table(&lake.table).await.unwrap();
    assert!(lake.catalog.describe(&lake.table).await.is_err());
    lake.catalog.register_table(&lake.table, &last).await.unwrap();
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 1)]);
}

/// A table that is renamed while others commit loses none of what they were told is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rename_among_commits_loses_none() {
    let lake = Lake::new().await;
    let names: Vec<TableName> =
        ["ns.events", "ns.other"].map(|name| TableName::parse(name).unwrap()).into();
    let before = lake.catalog.history(&names[0]).await.unwrap().len();
    let writer = lake.reopened().await;
    let writes = async {
        let mut stored = 0;
        for number in 0..30 {
            let name = &names[number % 2];
            let rows = stream(&[(i64::try_from(number).unwrap(), 1)]);
            match writer.commit(name, rows, CommitOptions::new(WriteMode::Append)).await {
                Ok(_) => stored += 1,
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict),
                    "{error}"
                ),
            }
        }
        stored
    };
    let renames = async {
        for turn in 0..10 {
            let (from, to) = (&names[turn % 2], &names[(turn + 1) % 2]);
            lake.catalog.rename_table(from, to).await.unwrap();
            assert!(lake.catalog.describe(from).await.is_err());
            assert_eq!(lake.catalog.describe(to).await.unwrap().name, *to);
        }
    };
    let (stored, ()) = tokio::join!(writes, renames);
    let after = lake.catalog.history(&names[0]).await.unwrap().len();
    assert_eq!(after, before + stored);
    assert!(stored > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transactions_of_another_crate_and_our_own_do_not_lose_each_other() {
    let lake = Lake::empty().await;
    let catalog = lake.catalog.as_iceberg();
    let columns = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    lake.catalog.ensure_table(&lake.table, &NewTable::new(columns.clone())).await.unwrap();
    let ident = TableIdent::from_strs(["ns", "events"]).unwrap();
    let theirs = async {
        for number in 0..4 {
            let table = catalog.load_table(&ident).await.unwrap();
            let files = write(&table, &[number]).await;
            let tx = Transaction::new(&table);
            let tx = tx.fast_append().add_data_files(files).apply(tx).unwrap();
            tx.commit(&*catalog).await.unwrap();
        }
    };
    let other = lake.reopened().await;
    let ours = async {
        for number in 10..14 {
            let column = Arc::new(Int64Array::from(vec![number]));
            let batch = RecordBatch::try_new(columns.clone(), vec![column]).unwrap();
            let rows = BatchStream::from_batches(columns.clone(), vec![batch]);
            other.commit(&lake.table, rows, CommitOptions::default()).await.unwrap();
        }
    };
    tokio::join!(theirs, ours);
    assert_eq!(lake.catalog.history(&lake.table).await.unwrap().len(), 8);
}
