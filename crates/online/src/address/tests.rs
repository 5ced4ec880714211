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
async fn tls_is_refused_with_a_reason() {
    let error = refusal("rediss://:hunter2@cache:6379/0").await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("rediss"), "{error}");
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
        "rediss://app:hunter2@host",
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
