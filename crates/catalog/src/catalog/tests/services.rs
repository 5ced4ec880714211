//! Catalogs and storage that are services: Postgres, REST, S3. Each runs on this machine for the
//! length of a test.

use icecore_testkit::{PostgresServer, RestServer, S3Server};
use serde_json::json;

use super::*;
use crate::{BucketOptions, CatalogAccess, StorageOptions};

/// A catalog that was opened with these options, and its table.
async fn lake_of(options: CatalogOptions, clock: Arc<HandClock>, root: tempfile::TempDir) -> Lake {
    let catalog = IcebergCatalog::open(options).await.unwrap();
    let table = TableName::parse("ns.events").unwrap();
    Lake { root, clock, catalog, table }
}

fn clock() -> Arc<HandClock> {
    Arc::new(HandClock(Mutex::new(at("2026-01-01"))))
}

/// What every catalog and every storage does.
async fn check_lake(lake: &Lake, other: &IcebergCatalog) {
    let new = NewTable::new(columns()).with_partition_by(["day"]);
    assert!(lake.catalog.ensure_table(&lake.table, &new).await.unwrap());
    assert!(!other.ensure_table(&lake.table, &new).await.unwrap());
    let first = lake.append(&[(1, 1), (2, 2)]).await;
    lake.commit(WriteMode::OverwritePartitions, &[(3, 2)]).await;
    assert_eq!(lake.rows_now().await, [(1, 1), (3, 2)]);
    assert_eq!(lake.rows(&first).await, [(1, 1), (2, 2)]);
    lake.catalog.tag(&first, &named("v1"), TagMove::Refuse).await.unwrap();
    assert_eq!(rows_of(other, &lake.pin("v1").await.unwrap()).await, [(1, 1), (2, 2)]);

    // Two processes at once.
    let mine = async {
        for number in 10..14 {
            lake.append(&[(number, 5)]).await;
        }
    };
    let theirs = async {
        for number in 20..24 {
            let options = CommitOptions::default();
            other.commit(&lake.table, stream(&[(number, 5)]), options).await.unwrap();
        }
    };
    tokio::join!(mine, theirs);
    assert_eq!(lake.rows_now().await.len(), 10);
    let log = other.history(&lake.table).await.unwrap();
    assert_eq!(log.len(), 10);
    assert!(log.windows(2).all(|pair| pair[1].parent == Some(pair[0].id)));

    assert_eq!(other.tables().await.unwrap(), std::slice::from_ref(&lake.table));
    let unknown = TableName::parse("ns.event").unwrap();
    let error = other.describe(&unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.help(), Some("did you mean `ns.events`?"));
}

/// Each kind of loss, and what is there after it: all of it, once.
async fn check_losses(lake: &Lake, server: &RestServer) {
    for fault in ["drop-reply", "late-status", "drop-request", "status"] {
        let before = lake.rows_now().await.len();
        for status in [500, 502, 503, 504] {
            server.fail(&json!([{"on": "commit", "do": fault, "status": status, "times": 2}]));
            let done = lake.commit(WriteMode::Append, &[(7, 7)]).await;
            assert_eq!(lake.pin("latest").await.unwrap(), done.pinned, "{fault} {status}");
            server.heal();
        }
        assert_eq!(lake.rows_now().await.len(), before + 4, "{fault}");
    }
    server.fail(&json!([{"on": "load", "do": "status", "status": 503, "times": 2}]));
    lake.rows_now().await;
    server.fail(&json!([{"on": "create", "do": "drop-reply"}]));
    let second = TableName::parse("ns.second").unwrap();
    lake.catalog.ensure_table(&second, &NewTable::new(columns())).await.unwrap();
    assert!(lake.catalog.describe(&second).await.unwrap().head.is_none());
    lake.catalog.drop_table(&second).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rest_catalog_that_is_not_ours_is_used_like_our_own() {
    let root = scratch();
    let warehouse = root.path().join("warehouse");
    let arguments = ["--prefix", "lake", "--credential", "me:secret", "--token-seconds", "2"];
    let Some(server) = RestServer::start(&warehouse, &arguments) else { return };
    let clock = clock();
    let options = |credential: &str| {
        let access =
            CatalogAccess { credential: Some(credential.to_owned()), ..CatalogAccess::default() };
        CatalogOptions::new(server.uri(), "").with_access(access).with_clock(clock.clone())
    };
    let error = IcebergCatalog::open(options("me:other")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(!format!("{error:?}").contains("other"), "{error:?}");
    let lake = lake_of(options("me:secret"), clock.clone(), root).await;
    let other = IcebergCatalog::open(options("me:secret")).await.unwrap();
    check_lake(&lake, &other).await;
    check_losses(&lake, &server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_program_over_the_iceberg_crate_reaches_a_rest_catalog_through_ours() {
    let root = scratch();
    let Some(server) = RestServer::start(&root.path().join("warehouse"), &[]) else { return };
    let catalog =
        IcebergCatalog::open(CatalogOptions::new(server.uri(), "")).await.unwrap().as_iceberg();
    let space = iceberg::NamespaceIdent::new("a".to_owned());
    let properties = std::collections::HashMap::from([("k".to_owned(), "v".to_owned())]);
    catalog.create_namespace(&space, properties.clone()).await.unwrap();
    assert_eq!(catalog.get_namespace(&space).await.unwrap().properties()["k"], "v");
    let column = iceberg::spec::NestedField::required(
        1,
        "n",
        iceberg::spec::Type::Primitive(iceberg::spec::PrimitiveType::Long),
    );
    let schema = iceberg::spec::Schema::builder().with_fields([column.into()]).build().unwrap();
    let creation = iceberg::TableCreation::builder().name("t".to_owned()).schema(schema).build();
    let table = catalog.create_table(&space, creation).await.unwrap();
    use iceberg::transaction::{ApplyTransactionAction, Transaction};
    server.fail(&json!([{"on": "commit", "do": "drop-reply"}]));
    let tx = Transaction::new(&table);
    let set = tx.update_table_properties().set("a".to_owned(), "b".to_owned());
    let tx = set.apply(tx).unwrap();
    // The answer was lost; what is asked for is there, or it is said that nobody knows.
    let _ = tx.commit(&*catalog).await;
    let table = catalog.load_table(table.identifier()).await.unwrap();
    assert_eq!(table.metadata().properties()["a"], "b");
    catalog.drop_table(table.identifier()).await.unwrap();
    catalog.drop_namespace(&space).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_postgres_catalog_is_used_like_an_embedded_one_and_pyiceberg_opens_it() {
    let Some(server) = PostgresServer::start() else { return };
    let (root, clock, uri) = (scratch(), clock(), server.database());
    let warehouse = root.path().join("warehouse").display().to_string();
    let options = CatalogOptions::new(&uri, warehouse).with_clock(clock.clone());
    let other = IcebergCatalog::open(options.clone()).await.unwrap();
    let lake = lake_of(options, clock, root).await;
    check_lake(&lake, &other).await;
    let Some(python) = std::env::var_os("ICECORE_TEST_PYTHON") else { return };
    let script = "import sys\n\
        from pyiceberg.catalog.sql import SqlCatalog\n\
        uri = sys.argv[1].replace('postgres://', 'postgresql+psycopg2://')\n\
        table = SqlCatalog('icecore', uri=uri).load_table('ns.events')\n\
        print(table.scan().to_arrow().num_rows)";
    let output = std::process::Command::new(python).args(["-c", script, &uri]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), "10", "{}", String::from_utf8_lossy(&output.stderr));
}

fn buckets(server: &S3Server) -> StorageOptions {
    StorageOptions {
        buckets: BucketOptions {
            endpoint: Some(server.endpoint().to_owned()),
            region: Some("us-east-1".to_owned()),
            access_key_id: Some("test".to_owned()),
            secret_access_key: Some("secret".to_owned()),
            allow_http: true,
            ..BucketOptions::default()
        },
        ..StorageOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_are_kept_in_a_bucket() {
    let Some(server) = S3Server::start("lake") else { return };
    let (root, clock) = (scratch(), clock());
    let uri = format!("sqlite:{}", root.path().join("catalog.db").display());
    let options = CatalogOptions::new(uri, "s3://lake/wh/")
        .with_clock(clock.clone())
        .with_storage(buckets(&server));
    let other = IcebergCatalog::open(options.clone()).await.unwrap();
    let lake = lake_of(options, clock, root).await;
    check_lake(&lake, &other).await;

    // A file that is larger than one part, and one that is there already.
    let io = lake.catalog.tables_now().io().clone();
    let path = "s3://lake/wh/ns/events/data/large.bin";
    let piece: bytes::Bytes = (0..3 << 20).map(|at| (at % 251) as u8).collect();
    let mut writer = io.new_output(path).unwrap().writer().await.unwrap();
    for _ in 0..7 {
        writer.write(piece.clone()).await.unwrap();
    }
    writer.close().await.unwrap();
    assert_eq!(io.new_input(path).unwrap().read().await.unwrap(), piece.repeat(7));
    let small = "s3a://lake/wh/ns/events/data/small.bin";
    let put = async |bytes: &'static [u8]| {
        io.new_output(small).unwrap().write(bytes::Bytes::from_static(bytes)).await
    };
    put(b"one").await.unwrap();
    put(b"one").await.unwrap();
    assert!(put(b"two").await.is_err());
    assert!(io.exists("s3://lake/wh/ns/events").await.unwrap());
    assert!(!io.exists("s3://lake/wh/ns/event").await.unwrap());
    assert!(io.new_input("s3://lake/elsewhere").unwrap().read().await.is_err());
    io.delete(small).await.unwrap();
    io.delete(small).await.unwrap();
    assert!(!io.exists(small).await.unwrap());

    // What a query reads with is the same store, and reads only what belongs to tables.
    let store = lake.catalog.object_store();
    use object_store::ObjectStoreExt;
    assert!(store.get(&"s3/lake/wh/ns/events/data/large.bin".into()).await.is_ok());
    assert!(store.get(&"s3/lake/elsewhere".into()).await.is_err());
    assert!(store.delete(&"s3/lake/wh/ns/events/data/large.bin".into()).await.is_err());
}
