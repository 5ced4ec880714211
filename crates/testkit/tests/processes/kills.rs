//! Processes that are killed at any moment.

use std::time::Duration;

use icecore_catalog::CleanOptions;
use icecore_core::Span;
use icecore_testkit::Random;

use crate::lake::{Lake, Row, files, finish, setting};

const COMMITS: i64 = 20;

/// What a worker said that it stored.
fn stored(said: &str) -> Vec<i64> {
    let ok = said.lines().filter_map(|line| line.strip_prefix("ok "));
    ok.filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect()
}

/// Kills a worker after a while, and returns what it said.
fn killed(lake: &Lake, work: &str, writer: i32, after: Duration) -> String {
    let mut child = lake.spawn(work, writer, COMMITS);
    drop(child.stdin.take());
    std::thread::sleep(after);
    child.kill().unwrap();
    finish(child).0
}

/// The rows are those that were there, those that were reported, and at most one more, whose
/// report the kill may have cut off.
#[track_caller]
fn check_rows(before: &[Row], writer: i32, said: &str, after: &[Row]) {
    let reported = stored(said);
    let mut expected = before.to_vec();
    let id = |number: i64| (i64::from(writer) * 1_000_000 + number, writer);
    expected.extend(reported.iter().map(|number| id(*number)));
    expected.sort_unstable();
    if after != expected {
        let next = reported.last().map_or(0, |last| last + 1);
        expected.push(id(next));
        expected.sort_unstable();
    }
    assert_eq!(after, expected, "{said}");
}

/// Nothing but what the table needs is left.
#[track_caller]
pub(crate) fn check_clean(lake: &Lake) {
    let now = |options: CleanOptions| {
        lake.look(async |catalog, table| catalog.clean(table, options).await.unwrap())
    };
    now(CleanOptions::default().with_older_than(Span::from_micros(0)));
    let left =
        now(CleanOptions::default().with_older_than(Span::from_micros(0)).with_dry_run(true));
    assert!(left.orphans.is_empty(), "{left:?}");
    let temporary: Vec<String> =
        files(&lake.warehouse()).into_iter().filter(|file| file.ends_with(".tmp")).collect();
    assert!(temporary.is_empty(), "{temporary:?}");
    lake.check();
}

#[test]
fn a_hundred_kills_lose_nothing_that_was_reported() {
    let lake = Lake::new();
    let mut random = Random::new(21);
    let mut before = Vec::new();
    for kill in 0..i32::try_from(setting("ICECORE_TEST_KILLS", 100)).unwrap() {
        let after = Duration::from_millis(random.below(250));
        // Every fourth looks after the table while another writes.
        if kill % 4 == 3 {
            let writer = lake.spawn("append", kill, 3);
            let writer = std::thread::spawn(move || finish(writer));
            killed(&lake, "maintain", kill, after);
            let (said, stderr) = writer.join().unwrap();
            assert_eq!(stored(&said), [0, 1, 2], "{said}{stderr}");
            let rows = lake.rows();
            check_rows(&before, kill, &said, &rows);
            before = rows;
            continue;
        }
        let said = killed(&lake, "append", kill, after);
        let rows = lake.rows();
        check_rows(&before, kill, &said, &rows);
        before = rows;
        if kill % 20 == 0 {
            lake.check();
        }
    }
    check_clean(&lake);
    assert_eq!(lake.rows(), before);
}
