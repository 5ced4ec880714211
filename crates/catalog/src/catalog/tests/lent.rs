//! Credentials that a REST catalog lends, which end.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use iceberg::TableCreation;
use iceberg::spec::TableMetadataBuilder;
use serde_json::{Value, json};

use super::*;

const METADATA: &str = "s3://lake/wh/ns/events/metadata/1.metadata.json";

/// What a server says of the table `ns.events`, which it lends these credentials for.
fn document(credentials: &Value) -> String {
    let creation = TableCreation::builder()
        .name("events".to_owned())
        .location("s3://lake/wh/ns/events".to_owned())
        .schema(schema::to_iceberg(&columns()).unwrap())
        .build();
    let built = TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap();
    json!({
        "metadata-location": METADATA,
        "metadata": built.metadata,
        "storage-credentials": credentials,
    })
    .to_string()
}

/// Answers a request, and returns what it was: for the `state` of the table, whether it is the
/// `same` still, or only `where` it is.
fn answer(mut stream: &TcpStream, document: &str) -> Option<&'static str> {
    let lines = BufReader::new(stream).lines().map_while(std::result::Result::ok);
    let lines: Vec<String> =
        lines.map(|line| line.to_ascii_lowercase()).take_while(|line| !line.is_empty()).collect();
    let has = |header: &str| lines.iter().any(|line| line.starts_with(header));
    let (asked, status, body) = match lines.first().unwrap() {
        path if path.contains("/v1/config") => (None, "200 OK", "{}"),
        path if path.contains("?snapshots=refs") => (Some("where"), "200 OK", document),
        _ if has("if-none-match: \"1\"") => (Some("same"), "304 Not Modified", ""),
        _ => (Some("state"), "200 OK", document),
    };
    // Whoever asks for a state asks for credentials, and nobody else does.
    let asks = has("x-iceberg-access-delegation: vended-credentials");
    assert_eq!(asks, matches!(asked, Some("state" | "same")), "{lines:?}");
    let head = format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\nContent-Length: {}", body.len());
    let _ = write!(stream, "{head}\r\nConnection: close\r\n\r\n{body}");
    asked
}

/// A server of one table, and what it is asked.
fn serve(credentials: &Value) -> (String, Receiver<&'static str>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let document = document(credentials);
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if let Some(asked) = answer(&stream.unwrap(), &document) {
                let _ = told.send(asked);
            }
        }
    });
    (uri, heard)
}

async fn open(uri: &str, clock: &Arc<HandClock>) -> IcebergCatalog {
    IcebergCatalog::open(CatalogOptions::new(uri, "").with_clock(clock.clone())).await.unwrap()
}

/// Looks at the table each time that so many minutes passed, and at what the server was asked then.
async fn check(credentials: Value, steps: &[(i64, &str)]) {
    let (uri, heard) = serve(&credentials);
    let clock = Arc::new(HandClock(Mutex::new(at("2026-01-01"))));
    let catalog = open(&uri, &clock).await;
    let table = TableName::parse("ns.events").unwrap();
    for (minutes, asked) in steps {
        clock.advance_ms(minutes * 60_000);
        assert_eq!(catalog.describe(&table).await.unwrap().metadata_location, METADATA);
        let found = heard.recv().unwrap();
        assert_eq!(found, *asked, "{credentials} after {minutes} minutes");
    }
    assert_eq!(heard.try_iter().count(), 0);
}

#[tokio::test]
async fn credentials_are_asked_for_again_before_they_end() {
    check(json!([]), &[(0, "state"), (10_000, "same"), (10_000, "same")]).await;
    // `s3` is no place, and means what the table has there.
    let config = json!({"s3.access-key-id": "a", "s3.secret-access-key": "b"});
    let lent = json!([{"prefix": "s3", "config": config}]);
    let steps = [(0, "state"), (1, "same"), (3, "same"), (2, "state"), (1, "same")];
    check(lent, &steps).await;
    // They say how long they last.
    let end = at("2026-01-01T01:00:00Z").millis().to_string();
    let config = json!({"s3.access-key-id": "a", "s3.session-token-expires-at-ms": end});
    let lent = json!([{"prefix": "s3://lake/wh/ns/events", "config": config}]);
    check(lent, &[(0, "state"), (54, "same"), (2, "state"), (1, "same"), (2, "state")]).await;
}

#[tokio::test]
async fn where_a_table_is_can_be_asked_without_its_state_and_credentials() {
    let (uri, heard) = serve(&json!([]));
    let clock = Arc::new(HandClock(Mutex::new(at("2026-01-01"))));
    let catalog = open(&uri, &clock).await;
    let table = TableName::parse("ns.events").unwrap();
    let found = catalog.tables_now().pointer(&table).await.unwrap();
    assert_eq!((found.as_deref(), heard.recv().unwrap()), (Some(METADATA), "where"));
}
