use std::time::Instant;

use futures::FutureExt as _;
use icecore_core::ErrorKind;
use icecore_testkit::{RedisServer, check_online_store};

use super::*;

async fn store(server: &RedisServer) -> RedisStore {
    RedisStore::connect(&server.url(), RedisOptions::default()).await.unwrap()
}

fn entry(key: &str, ttl: Option<Duration>) -> OnlineEntry {
    OnlineEntry { key: key.to_owned(), value: "0.9312".into(), ttl }
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    let Some(server) = RedisServer::start() else { return };
    check_online_store(&store(&server).await, tokio::time::sleep).await;
}

// C85 C161
#[tokio::test]
async fn a_day_is_exactly_86400_seconds_and_the_value_is_plain_text() {
    let Some(server) = RedisServer::start() else { return };
    let store = store(&server).await;
    let high = entry("churn:u1", Some(Duration::from_secs(86_400)));
    let packed = store_command(&high, Some(86_400_000)).get_packed_command();
    let packed = String::from_utf8(packed).unwrap();
    assert_eq!(packed, "*4\r\n$5\r\nSETEX\r\n$8\r\nchurn:u1\r\n$5\r\n86400\r\n$6\r\n0.9312\r\n");
    // The server rounds the seconds left; a busy machine may take more than half of one.
    let mut left = String::new();
    for _ in 0..5 {
        store.put(vec![high.clone(), entry("churn:u2", None)]).await.unwrap();
        left = server.command("TTL churn:u1");
        if left == ":86400" {
            break;
        }
    }
    assert_eq!(left, ":86400");
    assert_eq!(server.command("TTL churn:u2"), ":-1");
    assert_eq!(server.command("STRLEN churn:u1"), ":6");
    assert_eq!(server.command("GETRANGE churn:u1 0 -1"), "$6");
}

#[tokio::test]
async fn milliseconds_are_kept() {
    let Some(server) = RedisServer::start() else { return };
    let store = store(&server).await;
    store.put(vec![entry("k", Some(Duration::from_millis(90_500)))]).await.unwrap();
    let left: u64 = server.command("PTTL k").trim_start_matches(':').parse().unwrap();
    assert!((85_000..=90_500).contains(&left), "{left}");
}

// C164
#[tokio::test]
async fn a_server_that_is_down_is_unavailable_and_one_that_comes_back_is_found() {
    let Some(mut server) = RedisServer::start() else { return };
    let store = store(&server).await;
    store.ping().await.unwrap();
    server.stop();
    let started = Instant::now();
    for _ in 0..3 {
        let error = store.get(&["k".to_owned()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    server.restart();
    store.ping().await.unwrap();
    store.put(vec![entry("k", None)]).await.unwrap();
}

// C164
#[tokio::test]
async fn a_server_that_hangs_is_unavailable_after_a_bounded_time() {
    let Some(server) = RedisServer::start() else { return };
    let options = RedisOptions {
        connect_timeout: Duration::from_millis(200),
        response_timeout: Duration::from_millis(200),
    };
    let store = RedisStore::connect(&server.url(), options.clone()).await.unwrap();
    store.ping().await.unwrap();
    server.pause();
    let fresh = RedisStore::connect(&server.url(), options).await.unwrap();
    for store in [&store, &fresh] {
        let started = Instant::now();
        let error = store.ping().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
    server.resume();
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_a_right_one_works() {
    let Some(server) = RedisServer::start_with(&["--requirepass", "hunter2"]) else { return };
    for user in ["", ":wrong@"] {
        let url = format!("redis://{user}127.0.0.1:{}/0", server.port());
        let store = RedisStore::connect(&url, RedisOptions::default()).await.unwrap();
        let error = store.ping().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    }
    let url = format!("redis://:hunter2@127.0.0.1:{}/0", server.port());
    let store = RedisStore::connect(&url, RedisOptions::default()).await.unwrap();
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_full_server_is_a_limit_and_says_what_was_stored() {
    let Some(server) = RedisServer::start_with(&["--maxmemory", "1"]) else { return };
    let error = store(&server).await.put(vec![entry("k", None)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error:?}");
    assert_eq!(error.notes(), ["0 values were stored before"]);
}

// C164
#[tokio::test]
async fn a_connection_is_made_even_if_its_caller_gives_up_early() {
    let Some(server) = RedisServer::start() else { return };
    let store = store(&server).await;
    // Asked once and dropped: the connection has begun, and nobody waits for it.
    assert!(store.ping().now_or_never().is_none());
    let (_, connecting) = store.inner.line.current();
    drop(connecting.clone().await.unwrap());
    let (generation, _) = store.inner.line.current();
    assert_eq!(generation, 0, "it is the connection of the first caller");
}

#[tokio::test]
async fn a_failed_sign_in_is_not_kept() {
    let Some(server) = RedisServer::start() else { return };
    let url = format!("redis://:hunter2@127.0.0.1:{}/0", server.port());
    let store = RedisStore::connect(&url, RedisOptions::default()).await.unwrap();
    assert_eq!(store.ping().await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(server.command("CONFIG SET requirepass hunter2"), "+OK");
    store.ping().await.unwrap();
}
