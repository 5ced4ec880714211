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
    let (_, connecting) = store.inner.network.first().current();
    drop(connecting.clone().await.unwrap());
    let (generation, _) = store.inner.network.first().current();
    assert_eq!(generation, 0, "it is the connection of the first caller");
}

#[tokio::test]
async fn each_runtime_has_a_connection_that_ends_with_it() {
    let Some(server) = RedisServer::start() else { return };
    let store = store(&server).await;
    store.put(vec![entry("k", None)]).await.unwrap();
    let slots = || store.inner.network.first().runtimes();
    assert_eq!(slots(), 1);
    for round in 0..3 {
        let (there, seen) = (store.clone(), store.clone());
        let ask = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let value = there.get(&["k".to_owned()]).await.unwrap();
                if round == 1 {
                    // It ends while it connects.
                    there.inner.network.first().discard(0);
                    assert!(there.ping().now_or_never().is_none());
                }
                (value, seen.inner.network.first().runtimes())
            })
        };
        let (value, meanwhile) = tokio::task::spawn_blocking(ask).await.unwrap();
        assert_eq!((value, meanwhile), (vec![Some("0.9312".into())], 2));
        assert_eq!(slots(), 1, "what has ended is forgotten");
    }
    assert_eq!(store.get(&["k".to_owned()]).await.unwrap(), [Some("0.9312".into())]);
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

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = RedisServer::start_cluster_node(dir.path()) else { return };
    assert_eq!(server.command("CLUSTER ADDSLOTSRANGE 0 16383"), "+OK");
    while !server.command("SET probe 1").starts_with("+OK") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = format!("redis+cluster://127.0.0.1:{}", server.port());
    let store = RedisStore::connect(&url, RedisOptions::default()).await.unwrap();
    assert_eq!(store.location(), format!("{url}/0"));
    check_online_store(&store, tokio::time::sleep).await;
}

#[tokio::test]
async fn slots_that_move_to_another_server_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let start = || RedisServer::start_cluster_node(dir.path());
    let (Some(one), Some(two)) = (start(), start()) else { return };
    assert_eq!(one.command("CLUSTER ADDSLOTSRANGE 0 8191"), "+OK");
    assert_eq!(two.command("CLUSTER ADDSLOTSRANGE 8192 16383"), "+OK");
    assert_eq!(one.command(&format!("CLUSTER MEET {}", two.cluster_place())), "+OK");
    // Slots 0 and 12182.
    while !one.command("SET {06S}probe 1").starts_with("+OK")
        || !two.command("SET foo 1").starts_with("+OK")
        || !one.command("GET foo").contains(&two.port().to_string())
        || !two.command("GET {06S}probe").contains(&one.port().to_string())
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = format!("redis+cluster://127.0.0.1:{}", one.port());
    let store = RedisStore::connect(&url, RedisOptions::default()).await.unwrap();
    check_online_store(&store, tokio::time::sleep).await;

    assert_eq!(one.command("DEL {06S}probe"), ":1");
    let new_owner = two.command("EVAL \"return {ok=redis.call('CLUSTER','MYID')}\" 0");
    let new_owner = new_owner.trim_start_matches('+');
    for server in [&two, &one] {
        assert_eq!(server.command(&format!("CLUSTER SETSLOT 0 NODE {new_owner}")), "+OK");
    }
    store.put(vec![entry("{06S}moved", None)]).await.unwrap();
    assert_eq!(two.command("EXISTS {06S}moved"), ":1");
    assert_eq!(store.get(&["{06S}moved".to_owned()]).await.unwrap(), [Some("0.9312".into())]);
}

#[tokio::test]
async fn the_master_is_found_through_a_sentinel_and_again_after_a_failover() {
    let Some(master) = RedisServer::start() else { return };
    let replica_of = format!("127.0.0.1 {}", master.port());
    let replica = RedisServer::start_with(&["--replicaof", &replica_of]).unwrap();
    let config = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "sentinel monitor cache 127.0.0.1 {} 1\nsentinel down-after-milliseconds cache 300\n\
         sentinel failover-timeout cache 1000\n",
        master.port()
    );
    std::fs::write(config.path(), text).unwrap();
    let sentinel = RedisServer::start_sentinel(config.path()).unwrap();
    let url = format!("redis+sentinel://127.0.0.1:{}/cache/0", sentinel.port());
    let store = RedisStore::connect(&url, RedisOptions::default()).await.unwrap();
    check_online_store(&store, tokio::time::sleep).await;
    while !replica.command("GET replace").starts_with("$3") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(master);
    let found = async {
        loop {
            if let Ok(found) = store.get(&["replace".to_owned()]).await
                && store.put(vec![entry("after", None)]).await.is_ok()
            {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(60), found).await.unwrap();
    assert_eq!(found, [Some("new".into())]);
}

#[tokio::test]
async fn connections_are_encrypted_and_certificates_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &file("key.pem"), "-out", &file("cert.pem")])
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        return;
    }
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let Some(server) = RedisServer::start_tls(&cert, &key) else { return };
    let url = format!("rediss://localhost:{}/0", server.tls_port());
    let trusting = format!("{url}?ca={cert}&cert={cert}&key={key}");
    let store = RedisStore::connect(&trusting, RedisOptions::default()).await.unwrap();
    store.put(vec![entry("k", None)]).await.unwrap();
    assert_eq!(store.get(&["k".to_owned()]).await.unwrap(), [Some("0.9312".into())]);
    let doubting = RedisStore::connect(&url, RedisOptions::default()).await.unwrap();
    let error = doubting.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn rights_are_those_of_the_user() {
    let Some(server) = RedisServer::start() else { return };
    let made = server.command("ACL SETUSER reader on >hunter2 ~* +@read +ping");
    assert_eq!(made, "+OK");
    let url = format!("redis://reader:hunter2@127.0.0.1:{}/0", server.port());
    let store = RedisStore::connect(&url, RedisOptions::default()).await.unwrap();
    assert_eq!(store.get(&["k".to_owned()]).await.unwrap(), [None]);
    let error = store.put(vec![entry("k", None)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
}
