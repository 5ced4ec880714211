//! Where the answer to a request for a score comes from.

use super::*;

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
