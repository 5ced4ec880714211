//! The servers come up, do what they are for, and are gone afterwards.

use icecore_testkit::{PostgresServer, RestServer, S3Server};
use serde_json::json;

#[test]
fn a_postgres_has_databases_of_its_own() {
    let Some(server) = PostgresServer::start() else { return };
    let (one, other) = (server.database(), server.database());
    assert_ne!(one, other);
    let name = one.rsplit('/').next().unwrap();
    server.execute(name, "CREATE TABLE t (n int); INSERT INTO t VALUES (41)");
    assert_eq!(server.execute(name, "SELECT n + 1 FROM t"), "42");
    server.disconnect_all();
    drop(server);
    assert!(
        std::net::TcpStream::connect(one.split('@').nth(1).unwrap().split('/').next().unwrap())
            .is_err()
    );
}

#[test]
fn a_rest_catalog_counts_requests_and_faults() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = RestServer::start(dir.path(), &["--prefix", "lake"]) else { return };
    assert!(server.uri().starts_with("http://127.0.0.1:"));
    server.fail(&json!([{"on": "commit", "do": "drop-reply"}]));
    assert_eq!(server.counts()["pending"], 1);
    server.heal();
    assert_eq!(server.counts(), json!({"pending": 0, "hit": 0, "requests": {}}));
}

#[test]
fn an_object_store_has_its_bucket() {
    let Some(server) = S3Server::start("lake") else { return };
    assert_eq!(server.bucket(), "lake");
    assert!(server.endpoint().starts_with("http://127.0.0.1:"));
}
