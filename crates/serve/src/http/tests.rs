use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;
use icecore_core::{
    ApplySummary, Date, ErrorKind, Model, OnlineChange, OnlineEntry, OnlineStore, ScanPage,
};
use icecore_online::{CacheOptions, CachedStore, EmbeddedStore, RedisOptions, RedisStore};
use icecore_testkit::RedisServer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::lake::tests::{catalog, clock, commit, route};
use crate::{
    LakeLookup, LakeOptions, LakeScore, ModelSource, ScoreLookup, ScoreRoute, ServeOptions,
};

/// A lakehouse that behaves in one way.
#[derive(Debug)]
pub(super) enum Lake {
    Empty,
    Has(f64),
    Fails,
    Hangs,
    /// Knows the scores of this job, and fails for the others.
    HasOnly(&'static str),
    /// Says that a request came, and answers when it is told to.
    Waits {
        came: Arc<Notify>,
        go_on: Arc<Notify>,
    },
}

#[async_trait]
impl ScoreLookup for Lake {
    fn latency_path(&self) -> &str {
        "iceberg"
    }

    async fn lookup(&self, route: &ScoreRoute, _: &str) -> Result<Option<LakeScore>> {
        let score = |probability| LakeScore {
            probability,
            model_version: Some("7".to_owned()),
            score_date: Date::parse("2026-01-31").unwrap(),
        };
        match self {
            Self::Empty => Ok(None),
            Self::Has(probability) => Ok(Some(score(*probability))),
            Self::HasOnly(scoring) if route.scoring == *scoring => Ok(Some(score(0.5))),
            Self::HasOnly(_) => Err(Error::not_found("the table has no column `prediction`")),
            Self::Fails => Err(Error::unavailable("the warehouse is gone")),
            Self::Hangs => std::future::pending().await,
            Self::Waits { came, go_on } => {
                came.notify_one();
                go_on.notified().await;
                Ok(None)
            }
        }
    }
}

/// A cache that fails, or never answers.
#[derive(Debug)]
struct Broken {
    hangs: bool,
}

#[async_trait]
impl OnlineStore for Broken {
    fn location(&self) -> &str {
        "broken:"
    }
    async fn put(&self, _: Vec<OnlineEntry>) -> Result<u64> {
        Err(Error::unavailable("broken"))
    }
    async fn get(&self, _: &[String]) -> Result<Vec<Option<Bytes>>> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Err(Error::unavailable("broken"))
    }
    async fn delete(&self, _: &[String]) -> Result<u64> {
        Err(Error::unavailable("broken"))
    }
    async fn apply(&self, _: Vec<OnlineChange>) -> Result<ApplySummary> {
        Err(Error::unavailable("broken"))
    }
    async fn rows(&self, _: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.get(&[]).await
    }
    async fn scan(&self, _: &[u8], _: Option<Bytes>) -> Result<ScanPage> {
        Err(Error::unavailable("broken"))
    }
    async fn ping(&self) -> Result<()> {
        Err(Error::unavailable("broken"))
    }
}

pub(super) type Cache = Option<Arc<dyn OnlineStore>>;

pub(super) fn options() -> ServeOptions {
    // Busy machines take longer than the real deadline for the cache, which is not what is tested.
    let cache_deadline = Duration::from_secs(2);
    ServeOptions { routes: vec![route()], cache_deadline, ..ServeOptions::default() }
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) stop: Arc<Notify>,
    pub(super) task: JoinHandle<Result<()>>,
}

impl Server {
    pub(super) async fn start(store: Cache, lake: impl ScoreLookup, options: ServeOptions) -> Self {
        Self::of(ScoreService::new(store, Arc::new(lake), clock(), options).unwrap()).await
    }

    /// With a cache in front of the store that has the score of `u42` in memory.
    pub(super) async fn with_memory(
        store: Cache,
        lake: impl ScoreLookup,
        options: ServeOptions,
    ) -> Self {
        let max_age = Duration::from_secs(3600);
        let kept = CacheOptions { max_age, ..CacheOptions::default() };
        let cached = CachedStore::new(store.unwrap(), &kept);
        assert!(cached.get(&["churn:u42".to_owned()]).await.unwrap()[0].is_some());
        let store: Cache = Some(Arc::new(cached.clone()));
        let service = ScoreService::new(store, Arc::new(lake), clock(), options).unwrap();
        Self::of(service.with_memory(cached)).await
    }

    async fn of(service: ScoreService) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let shutdown = async move { stopped.notified().await };
        Self { address, stop, task: tokio::spawn(serve(service, listener, shutdown)) }
    }

    async fn send(&self, method: &str, path: &str, headers: &str) -> Reply {
        send(self.address, format!("{method} {path} HTTP/1.1\r\n{headers}")).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "").await
    }
}

async fn send(address: SocketAddr, head: String) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{head}host: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").expect("a whole reply");
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { code, head: head.to_lowercase(), body: body.to_owned() }
}

struct Reply {
    code: u16,
    head: String,
    body: String,
}

impl Reply {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.head, self.body)
    }
}

pub(super) async fn embedded(dir: &tempfile::TempDir, value: &str) -> Cache {
    let store = EmbeddedStore::open(dir.path(), clock()).await.unwrap();
    let value = value.to_owned().into();
    store.put(vec![OnlineEntry { key: "churn:u42".into(), value, ttl: None }]).await.unwrap();
    Some(Arc::new(store))
}

// C87 C88 C166
#[tokio::test]
async fn a_cached_score_is_answered_from_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(embedded(&dir, "0.9312").await, Lake::Fails, options()).await;
    for path in ["/churn-score/u42", "/v1/scores/churn/u42", "/churn-score/u%34%32?x=y"] {
        let reply = server.get(path).await;
        assert_eq!(reply.code, 200, "{reply:?}");
        let expected = json!({
            "user_token": "u42",
            "churn_probability": 0.9312,
            "source": "cache",
            "latency_path": "embedded",
        });
        assert_eq!(reply.json(), expected);
        assert!(reply.head.contains("content-type: application/json"), "{reply:?}");
    }
}

// C88 C164
#[tokio::test]
async fn redis_answers_and_when_it_is_down_or_hangs_the_lakehouse_does() {
    let Some(mut redis) = RedisServer::start() else { return };
    let store = RedisStore::connect(&redis.url(), RedisOptions::default()).await.unwrap();
    let value = "0.9312".into();
    store.put(vec![OnlineEntry { key: "churn:u42".into(), value, ttl: None }]).await.unwrap();
    let options = ServeOptions { cache_deadline: Duration::from_millis(300), ..options() };
    let server = Server::start(Some(Arc::new(store)), Lake::Has(0.25), options).await;
    let source = async || server.get("/churn-score/u42").await.json()["source"].clone();
    let reply = server.get("/churn-score/u42").await.json();
    assert_eq!((&reply["source"], &reply["latency_path"]), (&json!("cache"), &json!("redis")));
    redis.pause();
    assert_eq!(source().await, "lakehouse");
    redis.resume();
    redis.stop();
    assert_eq!(source().await, "lakehouse");
    assert_eq!(server.get("/readyz").await.json()["status"], "degraded");
    redis.restart();
    assert_eq!(redis.command("SET churn:u42 0.5"), "+OK");
    assert_eq!(source().await, "cache");
    let metrics = server.get("/metrics").await.body;
    for reason in ["cache_timeout", "cache_unavailable"] {
        assert!(metrics.contains(reason), "{reason}: {metrics}");
    }
}

// C164
#[tokio::test]
async fn what_is_in_memory_is_answered_while_the_store_is_down_and_does_not_hide_that_it_is_back() {
    let Some(mut redis) = RedisServer::start() else { return };
    let store = RedisStore::connect(&redis.url(), RedisOptions::default()).await.unwrap();
    assert_eq!(redis.command("SET churn:u42 0.9312"), "+OK");
    let server = Server::with_memory(Some(Arc::new(store)), Lake::Has(0.25), options()).await;
    let source =
        async |key| server.get(&format!("/churn-score/{key}")).await.json()["source"].clone();
    redis.stop();
    for _ in 0..6 {
        assert_eq!(source("u1").await, "lakehouse");
        assert_eq!(source("u42").await, "cache");
    }
    redis.restart();
    assert_eq!(redis.command("SET churn:u1 0.5"), "+OK");
    let deadline = Instant::now() + Duration::from_secs(60);
    while source("u1").await != "cache" {
        assert_eq!(source("u42").await, "cache");
        assert!(Instant::now() < deadline, "nobody has tried the store again");
    }
}

// C89 C166
#[tokio::test]
async fn what_is_not_cached_is_answered_from_the_lakehouse() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(&dir).await;
    commit(&catalog, "2026-01-30", &[("u1", 0.1), ("u7", 0.5)]).await;
    commit(&catalog, "2026-01-31", &[("u1", 0.123_456), ("u2", 0.2)]).await;
    let lake = LakeLookup::new(catalog, clock(), LakeOptions::default());
    let lake_deadline = Duration::from_secs(20);
    let options = ServeOptions { lake_deadline, request_timeout: lake_deadline, ..options() };
    let server = Server::start(embedded(&dir, "0.9312").await, lake, options).await;
    let expected = json!({
        "user_token": "u1",
        "churn_probability": 0.123_456,
        "model_version": "7",
        "score_date": "2026-01-31",
        "source": "lakehouse",
        "latency_path": "iceberg",
    });
    assert_eq!(server.get("/churn-score/u1").await.json(), expected);
    // C90: a score of another day is no score of today.
    let expected = json!({
        "user_token": "u7",
        "churn_probability": 0.05,
        "source": "default",
        "latency_path": "no_score_found",
    });
    assert_eq!(server.get("/churn-score/u7").await.json(), expected);
    assert_eq!(server.get("/churn-score/u42").await.json()["source"], "cache");
}

// C164 C165 C166
#[tokio::test]
async fn every_failure_has_an_answer_and_a_reason() {
    let lakes: [(Lake, Option<&str>); 4] = [
        (Lake::Empty, None),
        (Lake::Has(f64::NAN), None),
        (Lake::Fails, Some("lakehouse_unavailable")),
        (Lake::Hangs, Some("lakehouse_timeout")),
    ];
    for (lake, reason) in lakes {
        let name = format!("{lake:?}");
        let options = ServeOptions {
            cache_deadline: Duration::from_millis(5),
            lake_deadline: Duration::from_millis(50),
            ..options()
        };
        let store = Broken { hangs: reason.is_some() };
        let server = Server::start(Some(Arc::new(store)), lake, options).await;
        let started = Instant::now();
        let reply = server.get("/churn-score/u42").await;
        assert!(started.elapsed() < Duration::from_secs(2), "{name}: {:?}", started.elapsed());
        let mut expected = json!({
            "user_token": "u42",
            "churn_probability": 0.05,
            "source": "default",
            "latency_path": "no_score_found",
        });
        if let Some(reason) = reason {
            expected["reason"] = json!(reason);
        }
        assert_eq!((reply.code, reply.json()), (200, expected), "{name}");
    }
}

// C164
#[tokio::test]
async fn a_table_that_cannot_be_read_is_no_reason_not_to_read_another() {
    let mut broken = route();
    (broken.scoring, broken.path) = ("broken".to_owned(), "/broken/{user_token}".to_owned());
    let options = ServeOptions { routes: vec![broken, route()], ..options() };
    let server = Server::start(None, Lake::HasOnly("churn"), options).await;
    let mut reasons = Vec::new();
    for _ in 0..8 {
        reasons.push(server.get("/broken/u1").await.json()["reason"].clone());
        assert_eq!(server.get("/churn-score/u1").await.json()["source"], "lakehouse");
    }
    assert_eq!(reasons[0], "lakehouse_unavailable");
    assert!(reasons.contains(&json!("lakehouse_circuit_open")), "{reasons:?}");
}

// D13
#[tokio::test]
async fn a_score_that_is_too_old_is_a_reason_and_not_an_answer() {
    for (max_age_days, source) in
        [(Some(0), "default"), (Some(1), "lakehouse"), (None, "lakehouse")]
    {
        let mut route = route();
        route.max_age_days = max_age_days;
        let options = ServeOptions { routes: vec![route], ..options() };
        let server = Server::start(None, Lake::Has(0.9), options).await;
        let reply = server.get("/churn-score/u42").await.json();
        assert_eq!(reply["source"], source, "{max_age_days:?}");
        assert_eq!(reply["score_date"], "2026-01-31");
        if source == "default" {
            assert_eq!(
                (&reply["reason"], &reply["churn_probability"]),
                (&json!("score_too_old"), &json!(0.05))
            );
        }
    }
}

#[tokio::test]
async fn a_score_is_rounded_as_the_cached_ones_are() {
    let mut route = route();
    route.round = Some(4);
    let options = ServeOptions { routes: vec![route], ..options() };
    let server = Server::start(None, Lake::Has(0.912_349_9), options).await;
    assert_eq!(server.get("/churn-score/u42").await.json()["churn_probability"], 0.9123);
}

#[tokio::test]
async fn garbage_in_the_cache_is_no_score() {
    for value in ["", "high", "NaN", "inf"] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(embedded(&dir, value).await, Lake::Has(0.5), options()).await;
        let reply = server.get("/churn-score/u42").await.json();
        assert_eq!(
            (&reply["source"], &reply["churn_probability"]),
            (&json!("lakehouse"), &json!(0.5))
        );
    }
}

#[tokio::test]
async fn bad_requests_are_told_what_to_do() {
    let server = Server::start(None, Lake::Empty, options()).await;
    let long = format!("/churn-score/{}", "x".repeat(513));
    let bad = [
        ("GET", "/churn-score/%zz", 400, "IC0400"),
        ("GET", "/churn-score/%FF", 400, "IC0400"),
        ("GET", "/churn-score/a%0Ab", 400, "IC0400"),
        ("GET", &long, 400, "IC0400"),
        ("GET", "/churn-score/", 404, "IC0404"),
        ("GET", "/v1/scores/none/u42", 404, "IC0404"),
        ("GET", "/", 404, "IC0404"),
        ("POST", "/churn-score/u42", 405, "IC0400"),
    ];
    for (method, path, code, name) in bad {
        let reply = server.send(method, path, "").await;
        assert_eq!(reply.code, code, "{method} {path}: {reply:?}");
        let error = &reply.json()["error"];
        assert_eq!(error["code"], name, "{method} {path}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()));
        if code == 404 {
            let routes = ["/churn-score/{user_token}", "/v1/scores/churn/{key}"];
            for route in routes {
                assert!(error["help"].as_str().unwrap().contains(route), "{reply:?}");
                assert!(error["routes"].as_array().unwrap().contains(&json!(route)));
            }
            // What is described is answered, and said to be.
            let described = server.send("GET", "/openapi.json", "").await.json();
            for path in described["paths"].as_object().unwrap().keys() {
                assert!(error["routes"].as_array().unwrap().contains(&json!(path)), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_guards_everything_but_health() {
    let options = ServeOptions { token: Some("s3cret".to_owned()), ..options() };
    assert!(!format!("{options:?}").contains("s3cret"));
    let server = Server::start(None, Lake::Empty, options).await;
    let wrong = [
        "",
        "authorization: Bearer \r\n",
        "authorization: Bearer s3cre\r\n",
        "authorization: Bearer s3cret1\r\n",
        "authorization: Basic s3cret\r\n",
        "authorization: s3cret\r\n",
    ];
    for headers in wrong {
        for path in ["/churn-score/u42", "/metrics", "/nothing"] {
            let reply = server.send("GET", path, headers).await;
            assert_eq!(reply.code, 401, "{headers:?} {path}");
            assert!(reply.head.contains("www-authenticate: bearer"), "{reply:?}");
            assert_eq!(reply.json()["error"]["code"], "IC0403");
        }
    }
    for headers in ["authorization: Bearer s3cret\r\n", "Authorization: bearer  s3cret\r\n"] {
        assert_eq!(server.send("GET", "/churn-score/u42", headers).await.code, 200);
        assert_eq!(server.send("GET", "/metrics", headers).await.code, 200);
    }
    assert_eq!(server.get("/healthz").await.code, 200);
    assert_eq!(server.get("/readyz").await.code, 200);
}

#[tokio::test]
async fn an_open_address_needs_a_token() {
    for (token, is_fine) in [(None, false), (Some("s3cret".to_owned()), true)] {
        let options = ServeOptions { token, ..options() };
        let service = ScoreService::new(None, Arc::new(Lake::Empty), clock(), options).unwrap();
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let served = serve(service, listener, async {}).await;
        match served {
            Ok(()) => assert!(is_fine),
            Err(error) => {
                assert!(!is_fine, "{error}");
                assert_eq!(error.kind(), ErrorKind::Denied);
                assert!(error.help().unwrap().contains("token"));
            }
        }
    }
    let options = ServeOptions { token: Some(" ".to_owned()), ..options() };
    assert!(ScoreService::new(None, Arc::new(Lake::Empty), clock(), options).is_err());
}

pub(super) fn waiting_lake() -> (Lake, Arc<Notify>, Arc<Notify>) {
    let (came, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    (Lake::Waits { came: Arc::clone(&came), go_on: Arc::clone(&go_on) }, came, go_on)
}

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

/// No models.
#[derive(Debug)]
struct Nothing;

#[async_trait]
impl ModelSource for Nothing {
    async fn resolve(&self, name: &str, _: Option<&str>) -> Result<String> {
        Err(Error::not_found(format!("there is no model `{name}`")))
    }
    async fn load(&self, name: &str, _: &str) -> Result<Arc<dyn Model>> {
        Err(Error::not_found(format!("there is no model `{name}`")))
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
        let server = Server::of(service.with_models(Arc::new(Nothing))).await;
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
    let short = ServeOptions { idle_timeout: Duration::from_millis(300), ..options() };
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
async fn options_that_let_no_client_in_are_refused() {
    for (options, name) in [
        (ServeOptions { idle_timeout: Duration::ZERO, ..options() }, "idle_timeout"),
        (ServeOptions { connections_max: 0, ..options() }, "connections_max"),
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

#[tokio::test]
async fn readiness_says_what_works() {
    let dir = tempfile::tempdir().unwrap();
    let cases: [(Cache, Lake, u16, Value); 4] = [
        (None, Lake::Empty, 200, json!({"status": "ready", "cache": "none", "lakehouse": "ok"})),
        (
            embedded(&dir, "1").await,
            Lake::Fails,
            200,
            json!({"status": "degraded", "cache": "ok", "lakehouse": "unavailable"}),
        ),
        (
            Some(Arc::new(Broken { hangs: false })),
            Lake::Empty,
            200,
            json!({"status": "degraded", "cache": "unavailable", "lakehouse": "ok"}),
        ),
        (
            Some(Arc::new(Broken { hangs: false })),
            Lake::Fails,
            503,
            json!({"status": "unavailable", "cache": "unavailable", "lakehouse": "unavailable"}),
        ),
    ];
    for (store, lake, code, body) in cases {
        let server = Server::start(store, lake, options()).await;
        let reply = server.get("/readyz").await;
        assert_eq!((reply.code, reply.json()), (code, body));
    }
}

// C167
#[tokio::test]
async fn latencies_are_exported_per_path_and_services_do_not_share_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(embedded(&dir, "0.9").await, Lake::Has(0.5), options()).await;
    let other = Server::start(None, Lake::Empty, options()).await;
    for path in ["/churn-score/u42", "/v1/scores/churn/u42", "/churn-score/u1", "/secret/u1"] {
        server.get(path).await;
    }
    other.get("/churn-score/u42").await;
    let metrics = server.get("/metrics").await;
    assert!(metrics.head.contains("text/plain; version=0.0.4"), "{metrics:?}");
    let route = "route=\"/churn-score/{user_token}\"";
    let expected = [
        format!("icecore_score_requests_total{{{route},source=\"cache\"}} 2"),
        format!("icecore_score_requests_total{{{route},source=\"lakehouse\"}} 1"),
        format!("icecore_score_duration_seconds_count{{{route},path=\"embedded\"}} 2"),
        format!("icecore_score_duration_seconds_count{{{route},path=\"iceberg\"}} 1"),
        format!("icecore_score_duration_seconds_bucket{{{route},path=\"iceberg\",le=\"5\"}} 1"),
        format!("icecore_http_request_duration_seconds_count{{{route},code=\"200\"}} 3"),
        "icecore_http_request_duration_seconds_count{route=\"none\",code=\"404\"} 1".to_owned(),
        format!("icecore_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
    ];
    for line in expected {
        assert!(metrics.body.contains(&line), "{line}\n{}", metrics.body);
    }
    let metrics = other.get("/metrics").await.body;
    assert!(metrics.contains("source=\"default\"} 1"), "{metrics}");
    assert!(metrics.contains("source=\"cache\"} 0"), "{metrics}");
}
