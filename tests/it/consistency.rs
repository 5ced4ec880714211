//! Online and offline are the same, to the bit: after random events, pushes and deletions, random
//! materializations, a service that is killed, and a real Redis that is killed and emptied.
//!
//! `ICECORE_TEST_CONSISTENCY=ROUNDS` plays as many rounds of each world; ordinarily there are few.

use std::path::Path;

use icecore_testkit::{Random, RedisServer};
use serde_json::{Value, json as document};

use crate::binary::{json, run};
use crate::service::Service;

const FEATURES: &str = r#"
[[entity]]
name = "user"
[[feature_view]]
name = "latest"
entities = ["user"]
source = "raw.payments"
columns = ["amount", "kind"]
ttl = "30d"
[[feature_view]]
name = "windows"
entities = ["user"]
source = "raw.payments"
table = "ml.windows"
online = "tiles"
[[feature_view.aggregate]]
name = "n"
function = "count"
windows = ["1h", "7d", "30d"]
[[feature_view.aggregate]]
name = "total"
function = "sum"
column = "amount"
windows = ["30d"]
[[feature_view.aggregate]]
name = "kinds"
function = "count_distinct"
column = "kind"
where = "amount > 1"
windows = ["7d"]
[[feature_view.derived]]
name = "share"
expression = "n_1h / greatest(n_30d, 1)"
[[feature_service]]
name = "churn_v1"
features = ["latest:amount", "latest:kind"]
online = "vector"
[[push_source]]
name = "payments"
table = "raw.payments"
"#;

/// A project, what runs on it, and what is known to be in it.
struct World {
    dir: tempfile::TempDir,
    redis: Option<RedisServer>,
    service: Option<Service>,
    random: Random,
    /// Events that were accepted, less those that were deleted.
    rows: i64,
    next_id: i64,
    /// Microseconds of the present, from which events go back.
    now: i64,
}

impl World {
    fn new(seed: u64, redis: Option<RedisServer>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url =
            redis.as_ref().map_or("embedded:online?access=shared".to_owned(), RedisServer::url);
        let settings =
            format!("[online]\nurl = '{url}'\ncache = '1MiB'\n[push]\ncommit_every = '100ms'\n");
        std::fs::write(dir.path().join("icecore.toml"), settings).unwrap();
        std::fs::create_dir(dir.path().join("features")).unwrap();
        std::fs::write(dir.path().join("features/f.toml"), FEATURES).unwrap();
        let random = Random::new(seed);
        let now = json_now(dir.path());
        let mut world = Self { dir, redis, service: None, random, rows: 0, next_id: 0, now };
        world.ingest();
        world.start();
        world
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn start(&mut self) {
        self.service = None;
        self.service = Some(Service::start(self.dir.path(), &[]));
    }

    /// The columns of some events.
    fn events(&mut self) -> Value {
        let count = self.random.below(8) + 1;
        let (mut users, mut times, mut amounts) = (Vec::new(), Vec::new(), Vec::new());
        let (mut kinds, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..count {
            self.next_id += 1;
            let back = [0, 3_600_000_000, 86_400_000_000, 7 * 86_400_000_000, 29 * 86_400_000_000];
            let back = back[self.random.below(back.len() as u64) as usize];
            let at = self.now - back - self.random.below(7_200_000_000) as i64;
            users.push(document!(format!("u{}", self.random.below(12))));
            times.push(document!(icecore_core::Timestamp::from_micros(at).to_string()));
            amounts.push(document!(self.random.normal() * 10.0));
            let kind = ["card", "cash", "ünïcode"].get(self.random.below(4) as usize).copied();
            kinds.push(document!(kind));
            ids.push(document!(self.next_id));
        }
        document!({
            "user": users, "event_timestamp": times, "amount": amounts, "kind": kinds, "id": ids,
        })
    }

    fn ingest(&mut self) {
        let events = self.events();
        let mut lines = String::new();
        let count = events["id"].as_array().unwrap().len();
        for row in 0..count {
            let fields = events.as_object().unwrap().iter();
            let one: serde_json::Map<String, Value> =
                fields.map(|(name, values)| (name.clone(), values[row].clone())).collect();
            lines.push_str(&format!("{}\n", Value::Object(one)));
        }
        let file = self.path().join("events.jsonl");
        std::fs::write(&file, lines).unwrap();
        json(self.path(), &["ingest", "raw.payments", file.to_str().unwrap()]);
        self.rows += count as i64;
    }

    /// Pushes events until they are accepted, as a client does, under one key.
    fn push(&mut self) {
        let events = self.events();
        let count = events["id"].as_array().unwrap().len() as i64;
        let body = document!({ "push_source_name": "payments", "df": events }).to_string();
        let key = format!("Idempotency-Key: k{}\r\n", self.next_id);
        let service = self.service.as_ref().unwrap();
        let push = || service.post("/push", &key, &body);
        let (status, answer) = push();
        assert_eq!(status, 200, "{answer}");
        if self.random.below(4) == 0 {
            assert_eq!(push().1["repeated"], true);
        }
        self.rows += count;
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0..5 => self.push(),
            5 | 6 => self.ingest(),
            7 => {
                let id = self.random.below(self.next_id as u64) + 1;
                let condition = format!("id = {id}");
                let deleted = json(
                    self.dir.path(),
                    &["table", "delete", "raw.payments", "--where", &condition, "--yes"],
                );
                self.rows -= deleted["removed"].as_i64().unwrap_or(0);
            }
            8 => self.materialize(),
            // Killed, and started again.
            9 => self.start(),
            _ => {
                let kind = self.random.below(2);
                let Some(redis) = &mut self.redis else { return };
                redis.restart();
                if kind == 0 {
                    self.push();
                }
            }
        }
    }

    /// A job that others may run at the same time, and that may be too late for what it found.
    fn materialize(&self) {
        let project = self.path().to_str().unwrap();
        run(&["--project", project, "online", "materialize", "latest", "windows"]);
    }

    /// Ends what runs, catches up, and compares everything.
    fn compare(&mut self, what: &str) {
        if let Some(service) = self.service.take() {
            service.stop();
        }
        let count = json(
            self.path(),
            &["sql", "SELECT count(*) AS n, count(DISTINCT id) AS d FROM raw.payments"],
        );
        assert_eq!(count[0]["n"], count[0]["d"], "{what}: an event is there twice");
        assert_eq!(count[0]["n"], self.rows, "{what}: an event was lost");
        // One that was killed counts as running for a while.
        json(self.path(), &["online", "materialize", "latest", "windows", "--take-over"]);
        for view in ["latest", "windows"] {
            let report = json(self.path(), &["online", "verify", view]);
            assert_eq!(report[0]["different"], 0, "{what}: {report}");
        }
        self.start();
        self.compare_vectors(what);
    }

    /// A service that is kept as one row for each entity says what its views say one by one.
    fn compare_vectors(&self, what: &str) {
        let service = self.service.as_ref().unwrap();
        for user in 0..13 {
            let ask = |mut asked: Value| {
                asked["entities"] = document!({ "user": [format!("u{user}")] });
                let (status, answer) = service.post("/get-online-features", "", &asked.to_string());
                assert_eq!(status, 200, "{what}: {answer}");
                answer["results"].clone()
            };
            let vector = ask(document!({ "feature_service": "churn_v1" }));
            // In another order it is not the service that is asked for.
            let rows = ask(document!({ "features": ["latest:kind", "latest:amount"] }));
            assert_eq!((&vector[1], &vector[2]), (&rows[2], &rows[1]), "{what}: u{user}");
        }
    }
}

/// The present, as the binary has it.
fn json_now(dir: &Path) -> i64 {
    let now = json(
        dir,
        &["sql", "SELECT CAST(arrow_cast(now(), 'Timestamp(Microsecond, None)') AS BIGINT) AS t"],
    );
    now[0]["t"].as_i64().unwrap()
}

fn rounds(ordinary: usize) -> usize {
    let asked = std::env::var("ICECORE_TEST_CONSISTENCY").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(ordinary)
}

fn play(seed: u64, redis: Option<RedisServer>) {
    let mut world = World::new(seed, redis);
    for round in 0..rounds(2) {
        for _ in 0..8 {
            world.step();
        }
        world.compare(&format!("seed {seed}, round {round}"));
    }
}

// C161 C163 C164
#[test]
fn after_catching_up_a_redis_that_was_killed_and_emptied_has_what_the_tables_have() {
    let Some(redis) = RedisServer::start() else { return };
    play(1, Some(redis));
}

#[test]
fn after_catching_up_the_embedded_store_has_what_the_tables_have() {
    play(2, None);
}

#[test]
fn a_window_has_an_event_that_was_pushed_a_moment_ago() {
    let mut world = World::new(3, None);
    json(world.path(), &["online", "materialize", "latest", "windows"]);
    let asked = document!({
        "features": ["windows:n_1h", "windows:total_30d", "windows:share"],
        "entities": {"user": ["fresh"]},
    });
    let ask = |world: &World| {
        let service = world.service.as_ref().unwrap();
        let (status, answer) = service.post("/get-online-features", "", &asked.to_string());
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["metadata"]["source"], Value::Null, "{answer}");
        let values: Vec<Value> = answer["results"].as_array().unwrap()[1..]
            .iter()
            .map(|column| document!([column["values"][0], column["statuses"][0]]))
            .collect();
        values
    };
    assert_eq!(ask(&world)[0], document!([null, "NOT_FOUND"]));
    for number in 1..4 {
        let at = icecore_core::Timestamp::from_micros(world.now - 60_000_000 * number).to_string();
        let body = document!({ "push_source_name": "payments", "df": {
            "user": ["fresh"], "event_timestamp": [at], "amount": [0.5], "kind": ["card"], "id": [1000 + number],
        }});
        let (status, answer) = world.service.as_ref().unwrap().post("/push", "", &body.to_string());
        assert_eq!((status, &answer["online"]), (200, &document!("written")), "{answer}");
        let total = 0.5 * number as f64;
        let expected = [
            document!([number, "PRESENT"]),
            document!([total, "PRESENT"]),
            document!([1.0, "PRESENT"]),
        ];
        assert_eq!(ask(&world), expected);
        world.rows += 1;
    }
    // In the table, and from there: the same.
    world.compare("at the end");
    assert_eq!(ask(&world)[0], document!([3, "PRESENT"]));
    let found = json(world.path(), &["online", "get", "windows:n_1h", "--entity", "user=fresh"]);
    assert_eq!(found[1]["value"], 3);
}
