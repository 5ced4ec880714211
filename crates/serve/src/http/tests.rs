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
    BreakerOptions, LakeLookup, LakeOptions, LakeScore, ModelSource, ScoreLookup, ScoreRoute,
    ServeOptions,
};

mod limits;
mod scores;

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
pub(super) struct Broken {
    pub(super) hangs: bool,
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

    pub(super) async fn of(service: ScoreService) -> Self {
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

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "").await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Reply {
        let body = body.to_string();
        let head = format!("POST {path} HTTP/1.1\r\ncontent-length: {}\r\n", body.len());
        exchange(self.address, head, &body).await
    }
}

async fn send(address: SocketAddr, head: String) -> Reply {
    exchange(address, head, "").await
}

async fn exchange(address: SocketAddr, head: String, body: &str) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{head}host: localhost\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").expect("a whole reply");
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { code, head: head.to_lowercase(), body: body.to_owned() }
}

pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
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

pub(super) fn waiting_lake() -> (Lake, Arc<Notify>, Arc<Notify>) {
    let (came, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    (Lake::Waits { came: Arc::clone(&came), go_on: Arc::clone(&go_on) }, came, go_on)
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
