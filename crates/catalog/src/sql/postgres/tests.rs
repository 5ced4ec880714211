use icecore_testkit::PostgresServer;

use super::*;
use crate::pointer::PointerStore;

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_who_ends_connections_loses_no_pointer() {
    let Some(server) = PostgresServer::start() else { return };
    let uri = server.database();
    let store = PostgresPointers::open(&uri, "icecore", None).await.unwrap();
    let table = TableName::parse("ns.t").unwrap();
    assert!(matches!(store.create(&table, "0").await, Swap::Done));
    let place = store.queue(&table).await.unwrap();
    server.disconnect_all();
    // What was asked on a connection that is gone is not known, or fails; asking again works.
    let mut at = 0_u32;
    for _ in 0..10 {
        let found = match store.find(&table).await {
            Ok(found) => found.unwrap(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                continue;
            }
        };
        assert!(found.parse::<u32>().unwrap() >= at, "{found}");
        let to = (found.parse::<u32>().unwrap() + 1).to_string();
        if let Swap::Done = store.swap(&table, &found, &to).await {
            at = to.parse().unwrap();
        }
        if at == 3 {
            break;
        }
    }
    assert_eq!(at, 3);
    drop(place);
    // The server took the turn back when it ended the connection.
    let _place = store.queue(&table).await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named_without_the_password() {
    let uri = "postgres://me:hunter2@127.0.0.1:1/db";
    let error = PostgresPointers::open(uri, "icecore", Some("hunter3")).await.unwrap_err();
    let shown = format!("{error:?} {error}");
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(error.to_string().contains("postgres://***@127.0.0.1:1/db"), "{error}");
    assert!(error.help().unwrap().contains("server runs"), "{error:?}");
}

#[test]
fn a_driver_in_the_uri_does_not_matter() {
    assert_eq!(plain("postgresql+psycopg2://h/d"), "postgresql://h/d");
    assert_eq!(plain("postgres://h/d"), "postgres://h/d");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_refuse() {
    let away = PostgresPointers::open("postgres://me@127.0.0.1:1/lake", "icecore", None).await;
    let error = away.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.help().unwrap().contains("server runs"));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("refused"), "{cause}");
}
