//! A service under load while what it stands on fails: no request fails, no answer is wrong, memory
//! does not grow. C164-C166
//!
//! `ICECORE_SOAK_MINUTES=30 cargo test --release -p icecore-tests --test it soak` is the long version.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use icecore_testkit::RedisServer;
use serde_json::json as document;

use crate::binary::json;
use crate::service::Service;

const USERS: usize = 500;
const FEATURES: &str = "
[[entity]]
name = 'user'
join_keys = [{ name = 'user_id', type = 'long' }]
[[feature_view]]
name = 'account'
entities = ['user']
source = 'ml.account'
columns = ['balance', 'tier']
[[feature_service]]
name = 'account_v1'
features = ['account:balance', 'account:tier']
";

fn balance(user: usize) -> f64 {
    user as f64 * 0.25 + 1.0
}

fn project(online: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    std::fs::create_dir(dir.path().join("features")).unwrap();
    write("features/account.toml", FEATURES.to_owned());
    write(
        "icecore.toml",
        format!(
            "[online]\nurl = '{online}'\ncache_ttl = '100ms'\n[serve.log]\nsample = 0.01\nflush = '5s'\n"
        ),
    );
    let rows = (0..USERS)
        .map(|user| format!("{user},2026-07-01T00:00:00Z,{},t{}\n", balance(user), user % 7));
    let header = "user_id,event_timestamp,balance,tier\n".to_owned();
    write("rows.csv", std::iter::once(header).chain(rows).collect());
    let rows = dir.path().join("rows.csv");
    json(dir.path(), &["ingest", "ml.account", rows.to_str().unwrap()]);
    dir
}

/// Asks for some users, and whether the answer came from the tables. A wrong answer ends the test.
fn ask(service: &Service, at: usize) -> bool {
    let users: Vec<usize> = (0..5).map(|step| (at * 31 + step * 97) % USERS).collect();
    let asked = document!({ "feature_service": "account_v1", "entities": { "user_id": users } });
    let (status, answer) = service.post("/get-online-features", "", &asked.to_string());
    assert_eq!(status, 200, "{answer}");
    let column = |at: usize| answer["results"][at]["values"].clone();
    let balances: Vec<f64> = users.iter().map(|user| balance(*user)).collect();
    let tiers: Vec<String> = users.iter().map(|user| format!("t{}", user % 7)).collect();
    assert_eq!((column(1), column(2)), (document!(balances), document!(tiers)), "{answer}");
    answer["metadata"]["source"] == "lakehouse"
}

fn fill(project: &Path) {
    json(project, &["online", "materialize", "--all", "--take-over"]);
}

/// One after the other: Redis hangs, loses everything, is gone and comes back empty.
fn fail_in_turn(project: &Path, redis: &mut RedisServer, round: usize, pause: Duration) {
    match round % 3 {
        0 => {
            redis.pause();
            std::thread::sleep(pause);
            redis.resume();
        }
        1 => {
            assert!(redis.command("FLUSHALL").contains("OK"));
            std::thread::sleep(pause);
            fill(project);
        }
        _ => {
            redis.stop();
            std::thread::sleep(pause);
            redis.restart();
            std::thread::sleep(pause);
            fill(project);
        }
    }
    std::thread::sleep(pause);
}

#[test]
fn nothing_fails_and_nothing_grows_while_redis_comes_and_goes() {
    let minutes: Option<u64> =
        std::env::var("ICECORE_SOAK_MINUTES").ok().map(|n| n.parse().unwrap());
    let Some(mut redis) = RedisServer::start() else { return };
    let dir = project(&redis.url());
    fill(dir.path());
    let service = Service::start(dir.path(), &[]);
    let whole = minutes.map_or(Duration::from_secs(12), |n| Duration::from_secs(n * 60));
    let (is_over, asked, from_tables) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let memory = std::thread::scope(|scope| {
        let _over = Over(&is_over);
        for seed in 0..3 {
            let (service, asked, from_tables, is_over) = (&service, &asked, &from_tables, &is_over);
            scope.spawn(move || {
                let _over = Over(is_over);
                for at in (seed..).step_by(3) {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    from_tables.fetch_add(usize::from(ask(service, at)), Ordering::Relaxed);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let began = Instant::now();
        let mut memory = Vec::new();
        for round in 0.. {
            if began.elapsed() > whole || is_over.load(Ordering::Relaxed) {
                break;
            }
            fail_in_turn(dir.path(), &mut redis, round, Duration::from_millis(500));
            memory.push(service.memory_kib());
        }
        memory
    });
    let (asked, from_tables) = (asked.into_inner(), from_tables.into_inner());
    assert!(asked > 100 && from_tables > 0 && from_tables < asked, "{from_tables} of {asked}");
    // What is found again is found again: the last answers are Redis's.
    assert!(std::iter::repeat_with(|| ask(&service, 1)).take(1_000).any(|lake| !lake));
    if minutes.is_some() {
        let warm = memory[memory.len() / 5];
        let last = *memory.last().unwrap();
        assert!(last < warm + warm / 10 + 16_384, "from {warm} to {last} KiB: {memory:?}");
        std::io::Write::write_all(
            &mut std::io::stderr(),
            format!(
                "{asked} requests, {from_tables} from the tables, memory {warm} to {last} KiB\n"
            )
            .as_bytes(),
        )
        .unwrap();
    }
    service.stop();
}

/// Says that it is over, also where a thread ends in a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
