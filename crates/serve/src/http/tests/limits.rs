//! Limits of requests, connections and bodies, and how the service stops.

use super::*;

#[tokio::test]
async fn more_requests_than_the_limit_are_turned_away() {
    let (lake, came, go_on) = waiting_lake();
    let options = ServeOptions {
        max_in_flight: 1,
        lake_deadline: Duration::from_secs(60),
        request_timeout: Duration::from_secs(60),
        ..options()
    };
    let server = Server::start(None, lake, options).await;
    let (address, head) = (server.address, "GET /churn-score/u1 HTTP/1.1\r\n".to_owned());
    let first = tokio::spawn(send(address, head));
    came.notified().await;
    let reply = server.get("/churn-score/u2").await;
    assert_eq!(reply.code, 503, "{reply:?}");
    assert!(reply.head.contains("retry-after: 1"), "{reply:?}");
    assert_eq!(reply.json()["error"]["code"], "IC0413");
    assert_eq!(server.get("/healthz").await.code, 200, "a busy service is alive");
    go_on.notify_one();
    assert_eq!(first.await.unwrap().code, 200);
    go_on.notify_one();
    assert_eq!(server.get("/churn-score/u2").await.code, 200, "there is room again");
}

#[tokio::test]
async fn a_request_is_cut_off_at_its_limit() {
    let options = ServeOptions {
        lake_deadline: Duration::from_secs(60),
        request_timeout: Duration::from_millis(50),
        ..options()
    };
    let server = Server::start(None, Lake::Hangs, options).await;
    assert_eq!(server.get("/churn-score/u42").await.code, 504);
}

/// No models, and perhaps one that `/invocations` would ask.
#[derive(Debug, Default)]
struct Nothing(Option<&'static str>);

#[async_trait]
impl ModelSource for Nothing {
    async fn resolve(&self, name: &str, _: Option<&str>) -> Result<String> {
        Err(Error::not_found(format!("there is no model `{name}`")))
    }
    async fn load(&self, name: &str, _: &str) -> Result<Arc<dyn Model>> {
        Err(Error::not_found(format!("there is no model `{name}`")))
    }
    fn default_model(&self) -> Option<&str> {
        self.0
    }
}

#[tokio::test]
async fn a_service_is_ready_for_inference_if_its_model_is_there_and_it_can_look_things_up() {
    let down = || -> Cache { Some(Arc::new(Broken { hangs: false })) };
    for (store, lake, model, code) in [
        (None, Lake::Empty, None, 200),
        (down(), Lake::Empty, None, 200),
        (down(), Lake::Fails, None, 503),
        (None, Lake::Empty, Some("not_trained_yet"), 503),
    ] {
        let service = ScoreService::new(store, Arc::new(lake), clock(), options()).unwrap();
        let server = Server::of(service.with_models(Arc::new(Nothing(model)))).await;
        assert_eq!(server.get("/v2/health/ready").await.code, code, "{model:?}");
        assert_eq!(server.get("/v2/health/live").await.code, 200);
    }
}

/// A body of which some never comes is no reason to turn others away, whichever of the two limits
/// is over first.
#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_and_takes_no_place() {
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(60));
    for (idle_timeout, request_timeout) in [(short, long), (long, short)] {
        let options = ServeOptions { idle_timeout, request_timeout, max_in_flight: 1, ..options() };
        let service = ScoreService::new(None, Arc::new(Lake::Empty), clock(), options).unwrap();
        let server = Server::of(service.with_models(Arc::new(Nothing(None)))).await;
        let head = "POST /v2/models/m/infer HTTP/1.1\r\nhost: here\r\ncontent-length: 9\r\n";
        let mut stuck = TcpStream::connect(server.address).await.unwrap();
        stuck.write_all(format!("{head}\r\n{{\"a\"").as_bytes()).await.unwrap();
        let mut other = TcpStream::connect(server.address).await.unwrap();
        let whole = format!("{head}connection: close\r\n\r\n{{\"a\": 13}}");
        other.write_all(whole.as_bytes()).await.unwrap();
        let (mut given_up, mut answered) = (String::new(), String::new());
        other.read_to_string(&mut answered).await.unwrap();
        assert!(answered.starts_with("HTTP/1.1 404 "), "{answered}");
        // The connection is closed, too, or this would not end.
        let read = timeout(long, stuck.read_to_string(&mut given_up)).await;
        read.expect("an end").unwrap();
        assert!(given_up.starts_with("HTTP/1.1 408 "), "{given_up}");
        assert!(given_up.contains("\r\nconnection: close\r\n"), "{given_up}");
    }
}

/// Here, and where the library answers.
#[tokio::test]
async fn who_takes_no_answers_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let short = ServeOptions { send_timeout: Duration::from_millis(300), ..options() };
    let store = embedded(&dir, "0.9312").await;
    let server = Server::with_memory(store, Lake::Has(0.5), short).await;
    for path in ["/churn-score/u42", "/metrics"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n");
        let socket = TcpSocket::new_v4().unwrap();
        // The less fits between the two, the sooner one waits for the other.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        let many = request.repeat(100);
        let ask = async { while stream.write_all(many.as_bytes()).await.is_ok() {} };
        assert!(timeout(Duration::from_secs(60), ask).await.is_ok(), "{path}");
    }
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_who_has_stopped_reading() {
    let dir = tempfile::tempdir().unwrap();
    let options = ServeOptions {
        send_timeout: Duration::from_millis(500),
        drain_timeout: Duration::from_secs(600),
        ..options()
    };
    let store = embedded(&dir, "0.9312").await;
    let server = Server::with_memory(store, Lake::Has(0.5), options).await;
    let mut asking = Vec::new();
    for path in ["/churn-score/u42", "/metrics"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n").repeat(100);
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.address).await.unwrap();
        // Until the server takes no more, because its answers are not taken.
        let many = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
        let _ = timeout(Duration::from_millis(300), many).await;
        asking.push(stream);
    }
    server.stop.notify_one();
    let ended = timeout(Duration::from_secs(60), server.task).await;
    ended.expect("it waits for nobody").unwrap().unwrap();
    drop(asking);
}

// Of two members of one name nobody knows which one is meant.
#[tokio::test]
async fn a_member_that_is_sent_twice_is_refused_by_the_routes_of_models() {
    let service = ScoreService::new(None, Arc::new(Lake::Empty), clock(), options()).unwrap();
    let server = Server::of(service.with_models(Arc::new(Nothing(None)))).await;
    for (path, body) in [
        ("/invocations", r#"{"dataframe_records": [{"a": 1, "a": 2}]}"#),
        ("/invocations", r#"{"inputs": [[1]], "inputs": [[2]]}"#),
        ("/v2/models/m/infer", r#"{"inputs": [{"name": "a", "name": "b"}]}"#),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 400 "), "{path} {reply}");
        assert!(reply.contains("is sent twice"), "{path} {reply}");
    }
}

#[tokio::test]
async fn options_that_let_no_client_in_are_refused() {
    for (options, name) in [
        (ServeOptions { idle_timeout: Duration::ZERO, ..options() }, "idle_timeout"),
        (ServeOptions { send_timeout: Duration::ZERO, ..options() }, "send_timeout"),
        (ServeOptions { connections_max: 0, ..options() }, "connections_max"),
        (
            ServeOptions {
                breaker: BreakerOptions { failures: 0, ..BreakerOptions::default() },
                ..options()
            },
            "breaker",
        ),
    ] {
        let error = ScoreService::new(None, Arc::new(Lake::Empty), clock(), options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(name) && error.help().is_some(), "{error}");
    }
}

#[tokio::test]
async fn a_shutdown_lets_requests_end_and_takes_no_new_ones() {
    let (lake, came, go_on) = waiting_lake();
    let options = ServeOptions {
        lake_deadline: Duration::from_secs(60),
        request_timeout: Duration::from_secs(60),
        ..options()
    };
    let server = Server::start(None, lake, options).await;
    let head = "GET /churn-score/u1 HTTP/1.1\r\n".to_owned();
    let request = tokio::spawn(send(server.address, head));
    came.notified().await;
    server.stop.notify_one();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.task.is_finished(), "it waits for the request");
    go_on.notify_one();
    let reply = request.await.unwrap();
    assert_eq!((reply.code, &reply.json()["source"]), (200, &json!("default")));
    server.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_shutdown_waits_no_longer_than_it_may() {
    let (lake, came, _go_on) = waiting_lake();
    let options = ServeOptions {
        lake_deadline: Duration::from_secs(60),
        request_timeout: Duration::from_secs(60),
        drain_timeout: Duration::from_millis(50),
        ..options()
    };
    let server = Server::start(None, lake, options).await;
    let head = "GET /churn-score/u1 HTTP/1.1\r\n".to_owned();
    let request = tokio::spawn(send(server.address, head));
    came.notified().await;
    server.stop.notify_one();
    server.task.await.unwrap().unwrap();
    request.abort();
}
