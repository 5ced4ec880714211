//! Which credentials a request goes with.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use object_store::ObjectStoreExt;

use super::*;
use crate::storage::BucketOptions;

const NOTHING: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Reads a request to S3 to its end, and returns who signed it: the name in `Credential=NAME/…`.
fn signer(stream: &TcpStream) -> std::io::Result<String> {
    let mut reader = BufReader::new(stream);
    let (mut name, mut length) = ("nobody".to_owned(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((_, credential)) = line.split_once("Credential=") {
            name = credential.split('/').next().unwrap().to_owned();
        }
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    Ok(name)
}

/// A router to a server that has no object, and who signed each request that came there.
fn router() -> (Router, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = told.send(signer(&stream).unwrap());
            let _ = stream.write_all(NOTHING);
        }
    });
    let options = BucketOptions {
        endpoint: Some(endpoint),
        region: Some("us-east-1".to_owned()),
        access_key_id: Some("own".to_owned()),
        secret_access_key: Some("secret".to_owned()),
        allow_http: true,
        ..BucketOptions::default()
    };
    (Router::new(Buckets::new(options)), heard)
}

fn key(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn lend(router: &Router, place: &str, name: &str) {
    let properties = [
        ("s3.access-key-id", name),
        ("s3.secret-access-key", "secret"),
        ("s3.session-token", "token"),
    ];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    router.lend(&key(place), properties.into());
}

#[tokio::test]
async fn the_narrowest_place_that_credentials_were_lent_for_counts() {
    let (router, heard) = router();
    let check = async |file: &str, wanted: &str| {
        let error = router.get(&key(file)).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
        assert_eq!(heard.recv().unwrap(), wanted, "{file}");
    };
    check("s3/lake/wh/one/1", "own").await;
    lend(&router, "s3/lake/wh/one", "one");
    lend(&router, "s3/lake/wh/two", "two");
    lend(&router, "s3/lake/wh/two/deep", "deep");
    check("s3/lake/wh/one/1", "one").await;
    check("s3/lake/wh/two/data/1", "two").await;
    check("s3/lake/wh/two/deep/1", "deep").await;
    // Neither a neighbour whose name begins the same, nor another bucket.
    check("s3/lake/wh/one1/1", "own").await;
    check("s3/other/wh/one/1", "own").await;
    lend(&router, "s3/lake/wh/one", "later");
    check("s3/lake/wh/one/1", "later").await;
    check("s3/lake/wh/two/1", "two").await;
    lend(&router, "s3/lake", "all");
    check("s3/lake/wh/one1/1", "all").await;
    check("s3/lake/wh/one/1", "later").await;
    // What is not lent again for a table ends; other tables have nothing to do with it.
    router.take_back(&key("s3/lake/wh/two"), &[key("s3/lake/wh/two")]);
    check("s3/lake/wh/two/deep/1", "two").await;
    check("s3/lake/wh/one/1", "later").await;
    router.take_back(&key("s3/lake/wh/on"), &[key("s3/lake")]);
    check("s3/lake/wh/one/1", "later").await;
    router.take_back(&key("s3/lake/wh/one"), &[key("s3/lake")]);
    check("s3/lake/wh/one/1", "all").await;
}

#[tokio::test]
async fn files_of_two_tables_are_deleted_with_the_credentials_of_each() {
    let (router, heard) = router();
    lend(&router, "s3/lake/one", "one");
    lend(&router, "s3/lake/two", "two");
    let keys = ["s3/lake/one/1", "s3/lake/two/1", "s3/lake/one/2"].map(|text| Ok(key(text)));
    let deleted: Vec<Result<Path>> =
        router.delete_stream(stream::iter(keys).boxed()).collect().await;
    // The server has nothing to delete from, either.
    assert!(deleted.iter().all(Result::is_err), "{deleted:?}");
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["one", "two"]);
}
