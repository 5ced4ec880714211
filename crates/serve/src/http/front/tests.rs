use std::time::Duration;

use icecore_testkit::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http::tests::{Lake, Server, embedded, options, waiting_lake};
use crate::{Role, ServeOptions, TokenGrant};

/// Requests of all kinds: for here, for the library, and such as look like two.
const REQUESTS: [&str; 12] = [
    "GET /churn-score/u42 HTTP/1.1\r\nhost: here\r\n\r\n",
    "GET /churn-score/u1 HTTP/1.1\r\nHost: here\r\nConnection: Keep-Alive\r\n\r\n",
    "GET /v1/scores/churn/u%34%32?x=y HTTP/1.1\r\nhost: here\r\nx-request-id: 7\r\n\r\n",
    "GET /churn-score/%ff HTTP/1.1\r\nhost: here\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n",
    "GET /nothing/u42 HTTP/1.1\r\nhost: here\r\n\r\n",
    "HEAD /churn-score/u42 HTTP/1.1\r\nhost: here\r\n\r\n",
    "POST /churn-score/u42 HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\n\r\nhi",
    "GET /churn-score/u42 HTTP/1.1\r\nhost: here\r\ncontent-length: 43\r\n\r\n\
     GET /churn-score/u1 HTTP/1.1\r\nhost: here\r\n\r\n",
    "GET /churn-score/u42 HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n\
     2b\r\nGET /churn-score/u1 HTTP/1.1\r\nhost: here\r\n\r\n\r\n0\r\n\r\n",
    "GET /churn-score/u42 HTTP/1.1\r\nhost: here\r\nte: trailers\r\n\r\n",
    "\r\nGET /churn-score/u42 HTTP/1.1\r\nhost: here\r\n\r\n",
];

/// The code and the body of the next reply.
async fn reply(stream: &mut TcpStream, is_head: bool) -> (u16, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole reply"));
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.split_once("content-length: ").expect(&head).1;
    let length: usize = length.split_once("\r\n").unwrap().0.parse().unwrap();
    assert!(head.contains("\r\ndate: "), "{head}");
    let mut body = vec![0; if is_head { 0 } else { length }];
    stream.read_exact(&mut body).await.unwrap();
    (code, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn a_conversation_is_answered_in_order_however_it_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let store = embedded(&dir, "0.9312").await;
    converse_with(&Server::start(store.clone(), Lake::Has(0.5), options()).await).await;
    converse_with(&Server::with_memory(store, Lake::Has(0.5), options()).await).await;
}

async fn converse_with(server: &Server) {
    let is_head = |request: &str| request.starts_with("HEAD");
    let has_body = |request: &str| ["length: ", "chunked"].iter().any(|it| request.contains(it));
    let mut expected = Vec::new();
    for request in REQUESTS {
        // With this header the library answers.
        let request = request.replace("HTTP/1.1\r\n", "HTTP/1.1\r\nte: trailers\r\n");
        let request = match request.matches("te: trailers").count() {
            1 => request,
            // What is in a body stays as it is.
            _ => request.rsplit_once("te: trailers\r\n").map(|(a, b)| [a, b].concat()).unwrap(),
        };
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        expected.push(reply(&mut stream, is_head(&request)).await);
    }
    let codes: Vec<u16> = expected.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [200, 200, 200, 400, 200, 404, 200, 405, 200, 200, 200, 200]);
    let mut random = Random::new(11);
    for _ in 0..60 {
        let len = 1 + random.below(8);
        // Mostly those that are answered here, so that conversations stay here for a while.
        let mut asked: Vec<usize> = (0..len)
            .map(|_| {
                let kinds = if random.below(4) == 0 { REQUESTS.len() as u64 } else { 4 };
                random.below(kinds) as usize
            })
            .collect();
        // The library ends connections with a body that nobody has read and that is not at its end.
        if let Some(at) = asked.iter().position(|at| REQUESTS[*at].contains("chunked")) {
            asked.truncate(at + 1);
        }
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut waiting = Vec::new();
        for at in &asked {
            let request = REQUESTS[*at].as_bytes();
            if has_body(REQUESTS[*at]) {
                waiting.extend_from_slice(request);
                continue;
            }
            for byte in request {
                waiting.push(*byte);
                if random.below(30) == 0 {
                    stream.write_all(&std::mem::take(&mut waiting)).await.unwrap();
                    for _ in 0..random.below(20) {
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
        stream.write_all(&waiting).await.unwrap();
        for at in &asked {
            let found = reply(&mut stream, is_head(REQUESTS[*at])).await;
            assert_eq!(found, expected[*at], "{:?} of {asked:?}", REQUESTS[*at]);
        }
        // Nothing but what was asked is answered.
        stream.shutdown().await.unwrap();
        let mut more = String::new();
        stream.read_to_string(&mut more).await.unwrap();
        assert_eq!(more, "");
    }
}

/// Whether a connection is closed before this is over.
async fn is_closed(stream: &mut TcpStream, within: Duration) -> bool {
    let mut more = [0];
    matches!(timeout(within, stream.read(&mut more)).await, Ok(Ok(0) | Err(_)))
}

/// Before anything was said, after an answer here, after one of the library, and in the middle of
/// heads for either.
#[tokio::test]
async fn who_is_silent_for_too_long_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = embedded(&dir, "0.9312").await;
    let short = ServeOptions { idle_timeout: Duration::from_millis(300), ..options() };
    let server = Server::start(store, Lake::Has(0.5), short).await;
    let starts = ["", REQUESTS[0], REQUESTS[4], "GET /churn-score/u4", "POST /push HTTP/1.1\r\nh"];
    for (at, start) in starts.into_iter().enumerate() {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        if start.ends_with("\r\n\r\n") {
            assert_eq!(reply(&mut stream, false).await.0, 200);
        }
        assert!(!is_closed(&mut stream, Duration::from_millis(50)).await, "{at}");
        assert!(is_closed(&mut stream, Duration::from_secs(20)).await, "{at}");
    }
    // Whoever says something now and then stays.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for request in [0, 0, 4, 4, 0] {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(REQUESTS[request].as_bytes()).await.unwrap();
        assert_eq!(reply(&mut stream, false).await.0, 200);
    }
}

#[tokio::test]
async fn more_connections_than_may_be_wait_for_one_to_close() {
    let dir = tempfile::tempdir().unwrap();
    let store = embedded(&dir, "0.9312").await;
    let few = ServeOptions { connections_max: 2, ..options() };
    let server = Server::start(store, Lake::Has(0.5), few).await;
    // One stays here, one goes to the library: both count until they are closed.
    let mut open = Vec::new();
    for request in [0, 4] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(REQUESTS[request].as_bytes()).await.unwrap();
        assert_eq!(reply(&mut stream, false).await.0, 200);
        open.push(stream);
    }
    let mut came = Vec::new();
    for mut left in open {
        let mut waiting = TcpStream::connect(server.address).await.unwrap();
        waiting.write_all(REQUESTS[0].as_bytes()).await.unwrap();
        let mut answer = Box::pin(reply(&mut waiting, false));
        assert!(timeout(Duration::from_millis(100), &mut answer).await.is_err());
        left.write_all(REQUESTS[0].as_bytes()).await.unwrap();
        assert_eq!(reply(&mut left, false).await.0, 200);
        drop(left);
        assert_eq!(answer.await.0, 200);
        came.push(waiting);
    }
}

/// The lines of the head and the body of the reply to a request that ends its connection.
async fn whole_reply(server: &Server, request: &str) -> (Vec<String>, String) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let is_of_now = |line: &str| line.starts_with("date: ") || line.starts_with("x-request-id: ");
    let mut lines: Vec<String> =
        head.to_lowercase().lines().filter(|line| !is_of_now(line)).map(str::to_owned).collect();
    lines.sort();
    (lines, body.to_owned())
}

#[tokio::test]
async fn what_is_in_memory_is_answered_as_the_library_answers() {
    let dir = tempfile::tempdir().unwrap();
    let store = embedded(&dir, "0.9312").await;
    let mut few = TokenGrant::new("few");
    few.requests_per_second = Some(1);
    let mut features = TokenGrant::new("features");
    features.roles = vec![Role::Features];
    let tokens = vec![TokenGrant::new("all"), few, features];
    let guarded = ServeOptions { tokens, ..options() };
    let busy = ServeOptions { max_in_flight: 0, ..options() };
    let mut codes = Vec::new();
    for (options, token) in [
        (options(), ""),
        (busy, ""),
        (guarded.clone(), ""),
        (guarded.clone(), "authorization: Bearer wrong\r\n"),
        (guarded.clone(), "Authorization: bearer all\r\nauthorization: Bearer wrong\r\n"),
        (guarded.clone(), "authorization: Bearer features\r\n"),
        (guarded, "authorization: Bearer few\r\n"),
    ] {
        for key in ["u42", "u%34%32", "u42?a=b"] {
            let server = Server::with_memory(store.clone(), Lake::Has(0.5), options.clone()).await;
            let ask = |more: &str| {
                format!(
                    "GET /churn-score/{key} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\
                     {token}{more}\r\n"
                )
            };
            let here = whole_reply(&server, &ask("")).await;
            let there = Server::with_memory(store.clone(), Lake::Has(0.5), options.clone()).await;
            let there = whole_reply(&there, &ask("te: trailers\r\n")).await;
            assert_eq!(here, there, "{}", ask(""));
            if key == "u42" {
                codes.push(
                    here.0
                        .iter()
                        .find_map(|line| line.strip_prefix("http/1.1 ")?.get(..3)?.parse().ok()),
                );
                let again = whole_reply(&server, &ask("")).await;
                assert_eq!(again == here, !token.ends_with("few\r\n"), "a rate holds here, too");
            }
        }
    }
    let expected: [u16; 7] = [200, 503, 401, 401, 200, 403, 200];
    assert_eq!(codes, expected.map(Some));
}

#[tokio::test]
async fn what_is_in_memory_is_not_asked_for_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = embedded(&dir, "0.9312").await;
    let server = Server::with_memory(store.clone(), Lake::Fails, options()).await;
    store.unwrap().delete(&["churn:u42".to_owned()]).await.unwrap();
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n");
    for _ in 0..3 {
        let (_, body) = whole_reply(&server, &ask("/churn-score/u42")).await;
        assert!(body.contains("\"source\":\"cache\",\"latency_path\":\"embedded\""), "{body}");
    }
    let (_, metrics) = whole_reply(&server, &ask("/metrics")).await;
    let route = "route=\"/churn-score/{user_token}\"";
    for line in [
        format!("icecore_score_requests_total{{{route},source=\"cache\"}} 3"),
        format!("icecore_score_duration_seconds_count{{{route},path=\"embedded\"}} 3"),
        format!("icecore_http_request_duration_seconds_count{{{route},code=\"200\"}} 3"),
    ] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_what_is_too_long_for_here_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(embedded(&dir, "0.9312").await, Lake::Has(0.5), options()).await;
    let long = format!(
        "GET /churn-score/u42 HTTP/1.1\r\nhost: here\r\nx: {}\r\n\r\n",
        "long".repeat(5_000)
    );
    let many =
        format!("GET /churn-score/u42 HTTP/1.1\r\nhost: here\r\n{}\r\n", "x: y\r\n".repeat(60));
    for (request, code) in [
        (long.as_str(), 200),
        (many.as_str(), 200),
        ("GET /churn-score/u42 HTTP/1.0\r\n\r\n", 200),
        ("GET /churn-score/u42 HTTP/1.1\r\nhost : here\r\n\r\n", 400),
        ("GET /churn-score/u42 HTTP/1.1\r\nhost: he\0re\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(reply(&mut stream, false).await.0, code, "{request:.99}");
    }
}

#[tokio::test]
async fn a_shutdown_closes_what_is_idle_and_answers_what_was_asked() {
    let (lake, came, go_on) = waiting_lake();
    let options = ServeOptions {
        lake_deadline: Duration::from_secs(60),
        request_timeout: Duration::from_secs(60),
        ..options()
    };
    let server = Server::start(None, lake, options).await;
    let connect = async || TcpStream::connect(server.address).await.unwrap();
    let mut idle = connect().await;
    idle.write_all(b"GET /churn-score/u9 HTTP/1.1\r\n\r\n").await.unwrap();
    came.notified().await;
    go_on.notify_one();
    assert_eq!(reply(&mut idle, false).await.0, 200);
    let mut fresh = connect().await;
    let mut busy = Vec::new();
    // One is answered here and one by the library.
    for method in ["GET", "HEAD"] {
        let mut stream = connect().await;
        let request = format!("{method} /churn-score/u1 HTTP/1.1\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        came.notified().await;
        busy.push((method, stream));
    }
    server.stop.notify_one();
    for stream in [&mut idle, &mut fresh] {
        let end = timeout(Duration::from_secs(30), stream.read_u8()).await.unwrap();
        assert!(end.is_err(), "an idle connection is closed");
    }
    assert!(!server.task.is_finished(), "it waits for the requests");
    go_on.notify_one();
    go_on.notify_one();
    for (method, mut stream) in busy {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let answer = answer.to_lowercase();
        assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
        assert!(method == "HEAD" || answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    server.task.await.unwrap().unwrap();
}
