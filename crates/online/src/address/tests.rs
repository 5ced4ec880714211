use icecore_core::{ErrorKind, SystemClock};

use super::*;

async fn refusal(address: &str) -> Error {
    let dir = tempfile::tempdir().unwrap();
    open(address, dir.path(), Arc::new(SystemClock)).await.unwrap_err()
}

#[tokio::test]
async fn a_path_starts_at_the_base_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open("embedded:a/b", dir.path(), Arc::new(SystemClock)).await.unwrap();
    store.ping().await.unwrap();
    assert_eq!(store.location(), format!("embedded:{}", dir.path().join("a/b").display()));
    assert!(dir.path().join("a/b/online.redb").is_file());
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused_with_what_there_is() {
    let error = refusal("embeded:online").await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.help(), Some("did you mean `embedded`?"));
    for address in ["", "embedded:", "embedded:x?acess=shared", "memcached://host"] {
        assert_eq!(refusal(address).await.kind(), ErrorKind::InvalidInput, "{address}");
    }
}

#[tokio::test]
async fn addresses_of_every_kind_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    for (address, location) in [
        ("rediss://:hunter2@cache:6380/2", "rediss://cache:6380/2"),
        ("redis://[::1]/0", "redis://[::1]:6379/0"),
        ("redis+cluster://a:1,b", "redis+cluster://a:1,b:6379/0"),
        ("redis+sentinel://u:hunter2@a,b:3/main/4", "redis+sentinel://a:26379,b:3/main/4"),
    ] {
        let store = open(address, dir.path(), Arc::new(SystemClock)).await.unwrap();
        assert_eq!(store.location(), location);
    }
    for address in [
        "redis+sentinel://a:1",
        "redis+ring://a",
        "redis://a,b",
        "redis://a?ca=x",
        "rediss://a?color=blue",
        "rediss://a?cert=/dev/null",
    ] {
        assert_eq!(refusal(address).await.kind(), ErrorKind::InvalidInput, "{address}");
    }
    assert_eq!(refusal("rediss://a?ca=/nowhere.pem").await.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_password_is_in_no_message_and_no_location() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock);
    let url = "redis://app:hunter2@127.0.0.1:1/3";
    let store = open(url, dir.path(), clock).await.unwrap();
    assert_eq!(store.location(), "redis://127.0.0.1:1/3");
    let mut texts = vec![format!("{store:?}")];
    let failed = store.ping().await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    texts.push(format!("{failed:?} {failed}"));
    let mistakes = [
        "redis://:hunter2@/0",
        "redis://app:hunter2@host:port",
        "redis://app:hunter2@host/notadb",
        "redis://:hunter2",
        "rediss://app:hunter2@host?x=y",
        "redis+ring://app:hunter2@host",
        "hunter2",
        "Redis//:hunter2@host",
    ];
    for mistake in mistakes {
        let error = refusal(mistake).await;
        texts.push(format!("{error:?} {error}"));
    }
    for text in texts {
        assert!(!text.contains("hunter2"), "{text}");
    }
}
