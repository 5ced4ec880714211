use super::*;

fn name(text: &str) -> TableName {
    TableName::parse(text).unwrap()
}

fn uri(root: &tempfile::TempDir) -> String {
    format!("sqlite:{}/deep/catalog.db", root.path().display())
}

#[tokio::test]
async fn of_two_writers_that_read_the_same_pointer_one_succeeds() {
    let root = tempfile::tempdir().unwrap();
    let table = name("a.b.t");
    let one = SqlitePointers::open(&uri(&root), "icecore").await.unwrap();
    let two = SqlitePointers::open(&uri(&root), "icecore").await.unwrap();
    assert!(matches!(one.create(&table, "v0").await, Swap::Done));
    assert!(matches!(two.create(&table, "other").await, Swap::Moved));
    assert!(matches!(two.swap(&table, "v0", "v1").await, Swap::Done));
    assert!(matches!(one.swap(&table, "v0", "v1'").await, Swap::Moved));
    assert_eq!(one.find(&table).await.unwrap().as_deref(), Some("v1"));
    assert!(one.remove(&table).await.unwrap());
    assert!(!two.remove(&table).await.unwrap());
    assert_eq!(two.find(&table).await.unwrap(), None);
}

#[tokio::test]
async fn catalogs_of_other_names_share_the_file_but_not_the_tables() {
    let root = tempfile::tempdir().unwrap();
    let one = SqlitePointers::open(&uri(&root), "one").await.unwrap();
    let two = SqlitePointers::open(&uri(&root), "two").await.unwrap();
    for table in ["z.t", "a.t", "a.s"] {
        assert!(matches!(one.create(&name(table), "v0").await, Swap::Done));
    }
    assert_eq!(one.list().await.unwrap(), [name("a.s"), name("a.t"), name("z.t")]);
    assert_eq!(two.list().await.unwrap(), []);
    assert!(matches!(two.create(&name("a.t"), "v0").await, Swap::Done));
}

#[tokio::test]
async fn a_file_of_before_views_gains_the_column() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("old.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let without = CREATE_TABLES.replace("iceberg_type VARCHAR(5),", "");
    sqlx::query(&without).execute(&pool).await.unwrap();
    sqlx::query("INSERT INTO iceberg_tables VALUES ('icecore', 'ns', 't', 'file:///m.json', NULL)")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let uri = format!("sqlite://{}", path.display());
    let pointers = SqlitePointers::open(&uri, "icecore").await.unwrap();
    assert_eq!(pointers.find(&name("ns.t")).await.unwrap().as_deref(), Some("file:///m.json"));
    assert_eq!(pointers.list().await.unwrap(), [name("ns.t")]);
}

#[tokio::test]
async fn many_open_a_new_file_at_once() {
    let root = tempfile::tempdir().unwrap();
    let uri = uri(&root);
    let opened = futures::future::join_all((0..8).map(|_| SqlitePointers::open(&uri, "x"))).await;
    for pointers in opened {
        assert_eq!(pointers.unwrap().list().await.unwrap(), []);
    }
}

#[test]
fn other_kinds_of_catalogs_are_refused_by_name() {
    assert_eq!(sqlite_path("sqlite:.icecore/catalog.db").unwrap(), ".icecore/catalog.db");
    assert_eq!(sqlite_path("sqlite:///abs/catalog.db").unwrap(), "/abs/catalog.db");
    // The rest of a URI may hold a password.
    let error = sqlite_path("postgres://me:secret@host/db").unwrap_err();
    assert_eq!(error.to_string(), "catalog `postgres` is of a kind that icecore does not open");
    assert!(sqlite_path("sqlite:").is_err());
}
