use std::collections::BTreeMap;

use icecore_core::ErrorKind;
use icecore_testkit::PostgresServer;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::*;
use crate::pointer::Swap;

fn name(text: &str) -> TableName {
    TableName::parse(text).unwrap()
}

fn uri(root: &tempfile::TempDir) -> String {
    format!("sqlite:{}/deep/catalog.db", root.path().display())
}

/// The contract of [`PointerStore`], over two connections to the same database.
async fn check_pointers(uri: &str) {
    let one = open(uri, "icecore", None).await.unwrap();
    let two = open(uri, "icecore", None).await.unwrap();
    let other = open(uri, "other", None).await.unwrap();
    let table = name("a.b.t");

    // Of two writers that read the same pointer, one succeeds.
    assert_eq!(one.find(&table).await.unwrap(), None);
    assert!(matches!(one.create(&table, "v0").await, Swap::Done));
    assert!(matches!(two.create(&table, "other").await, Swap::Moved));
    assert!(matches!(two.swap(&table, "v0", "v1").await, Swap::Done));
    assert!(matches!(one.swap(&table, "v0", "v1'").await, Swap::Moved));
    assert_eq!(one.find(&table).await.unwrap().as_deref(), Some("v1"));
    assert!(matches!(one.swap(&name("a.b.u"), "v0", "v1").await, Swap::Moved));

    // Catalogs of other names share the database but not the tables.
    assert!(matches!(other.create(&table, "w0").await, Swap::Done));
    for more in ["z.t", "a.t", "a.s"] {
        assert!(matches!(one.create(&name(more), "v0").await, Swap::Done));
    }
    let listed = one.list().await.unwrap();
    assert_eq!(listed, [name("a.b.t"), name("a.s"), name("a.t"), name("z.t")]);
    assert_eq!(other.list().await.unwrap(), std::slice::from_ref(&table));

    // A rename, too, is only of what was read, and only to a name that is free.
    let new = name("new.t");
    let is_taken = |swap: Swap| matches!(swap, Swap::Failed(error) if error.kind() == ErrorKind::AlreadyExists);
    assert!(matches!(one.rename(&table, &new, "v0").await, Swap::Moved));
    assert!(is_taken(one.rename(&table, &name("a.s"), "v1").await));
    assert!(is_taken(one.rename(&table, &table, "v1").await));
    assert!(matches!(two.rename(&table, &new, "v1").await, Swap::Done));
    assert!(matches!(one.rename(&table, &new, "v1").await, Swap::Failed(_)));
    assert!(matches!(one.swap(&table, "v1", "v2").await, Swap::Moved));
    assert_eq!(one.find(&new).await.unwrap().as_deref(), Some("v1"));
    assert!(one.namespaces().unwrap().list().await.unwrap().contains_key("new"));

    assert!(matches!(one.remove(&new, "v0").await, Swap::Moved));
    assert!(matches!(one.remove(&new, "v1").await, Swap::Done));
    assert!(matches!(two.remove(&new, "v1").await, Swap::Moved));
    assert_eq!(two.find(&new).await.unwrap(), None);
    assert_eq!(other.find(&table).await.unwrap().as_deref(), Some("w0"));
}

async fn check_namespaces(uri: &str) {
    let store = open(uri, "spaces", None).await.unwrap();
    let spaces = store.namespaces().unwrap();
    assert!(spaces.list().await.unwrap().is_empty());
    let properties = BTreeMap::from([("owner".to_owned(), "me".to_owned())]);
    spaces.put("a.b", &properties).await.unwrap();
    spaces.put("c", &BTreeMap::new()).await.unwrap();
    assert!(matches!(store.create(&name("d.t"), "v0").await, Swap::Done));
    let found = spaces.list().await.unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a.b", "c", "d"]);
    assert_eq!(found["a.b"], properties);
    assert_eq!(found["c"], BTreeMap::new());
    spaces.put("a.b", &BTreeMap::new()).await.unwrap();
    assert_eq!(spaces.list().await.unwrap()["a.b"], BTreeMap::new());
    assert!(spaces.remove("a.b").await.unwrap());
    assert!(!spaces.remove("a.b").await.unwrap());
}

/// Writers that swap at once: every swap that was acknowledged is there, one after another.
async fn check_contention(uri: &str) {
    let first = open(uri, "many", None).await.unwrap();
    let table = name("ns.t");
    assert!(matches!(first.create(&table, "0").await, Swap::Done));
    let mut writers = Vec::new();
    for _ in 0..6 {
        let (uri, table) = (uri.to_owned(), table.clone());
        writers.push(tokio::spawn(async move {
            let store = open(&uri, "many", None).await.unwrap();
            for _ in 0..10 {
                let place = store.queue(&table).await.unwrap();
                let swap = loop {
                    let from = store.find(&table).await.unwrap().unwrap();
                    let to = (from.parse::<u32>().unwrap() + 1).to_string();
                    match store.swap(&table, &from, &to).await {
                        Swap::Moved => {}
                        swap => break swap,
                    }
                };
                assert!(matches!(swap, Swap::Done), "{swap:?}");
                drop(place);
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(first.find(&table).await.unwrap().as_deref(), Some("60"));
}

/// Places are given in the order in which they were asked for, also when one in the middle leaves.
async fn check_queue(uri: &str) {
    let store = open(uri, "queue", None).await.unwrap();
    let table = name("ns.t");
    assert!(!store.has_queue(&table).await);
    let first = store.queue(&table).await.unwrap();
    assert!(store.has_queue(&table).await);
    assert!(!store.has_queue(&name("ns.u")).await);
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..5 {
        let (uri, table, order) = (uri.to_owned(), table.clone(), order.clone());
        let asked = Arc::new(tokio::sync::Notify::new());
        let asks = asked.clone();
        waiting.push(tokio::spawn(async move {
            let other = open(&uri, "queue", None).await.unwrap();
            let turn = other.queue(&table);
            tokio::pin!(turn);
            // It stands in the queue once it was polled and does not answer.
            let early =
                tokio::time::timeout(std::time::Duration::from_millis(150), &mut turn).await;
            assert!(early.is_err());
            asks.notify_one();
            let place = turn.await.unwrap();
            order.lock().unwrap().push(number);
            drop(place);
        }));
        asked.notified().await;
    }
    waiting[2].abort();
    let _ = (&mut waiting[2]).await;
    assert_eq!(*order.lock().unwrap(), [0; 0]);
    drop(first);
    for (_, task) in waiting.into_iter().enumerate().filter(|(number, _)| *number != 2) {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 3, 4]);
    let last = store.queue(&table).await.unwrap();
    drop(last);
}

async fn check_all(uri: &str) {
    check_pointers(uri).await;
    check_namespaces(uri).await;
    check_contention(uri).await;
    check_queue(uri).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_keeps_the_contract() {
    let root = tempfile::tempdir().unwrap();
    check_all(&uri(&root)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_keeps_the_contract() {
    let Some(server) = PostgresServer::start() else { return };
    check_all(&server.database()).await;
}

#[tokio::test]
async fn a_file_of_before_views_gains_the_column() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("old.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let without = statements::CREATE_TABLES.replace("iceberg_type VARCHAR(5),", "");
    sqlx::query(&without).execute(&pool).await.unwrap();
    sqlx::query("INSERT INTO iceberg_tables VALUES ('icecore', 'ns', 't', 'file:///m.json', NULL)")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let uri = format!("sqlite://{}", path.display());
    let pointers = SqlitePointers::open(&uri, "icecore").await.unwrap();
    assert_eq!(pointers.find(&name("ns.t")).await.unwrap().as_deref(), Some("file:///m.json"));
    assert_eq!(PointerStore::list(&pointers).await.unwrap(), [name("ns.t")]);
}

#[tokio::test]
async fn many_open_a_new_file_at_once() {
    let root = tempfile::tempdir().unwrap();
    let uri = uri(&root);
    let opened = futures::future::join_all((0..8).map(|_| open(&uri, "x", None))).await;
    for pointers in opened {
        assert_eq!(pointers.unwrap().list().await.unwrap(), []);
    }
}

#[tokio::test]
async fn other_kinds_of_catalogs_are_refused_by_name() {
    assert_eq!(sqlite::path_of("sqlite:.icecore/catalog.db").unwrap(), ".icecore/catalog.db");
    assert_eq!(sqlite::path_of("sqlite:///abs/catalog.db").unwrap(), "/abs/catalog.db");
    assert!(sqlite::path_of("sqlite:").is_err());
    // The rest of a URI may hold a password.
    let error = open("mysql://me:secret@host/db", "x", None).await.unwrap_err();
    assert_eq!(error.to_string(), "catalog `mysql` is of a kind that icecore does not open");
}

#[test]
fn no_password_is_shown() {
    for (uri, shown) in [
        ("postgres://me:p@ss@host/db?sslkey=x", "postgres://***@host/db"),
        ("postgresql+psycopg2://me@host:1/db", "postgresql+psycopg2://***@host:1/db"),
        ("postgres://host/db?password=p", "postgres://host/db"),
        ("sqlite:a.db", "sqlite:a.db"),
    ] {
        assert_eq!(redacted(uri), shown);
    }
}
