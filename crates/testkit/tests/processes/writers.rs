//! Many processes write to one table at once.

use icecore_testkit::PostgresServer;

use crate::lake::{Lake, Row, finish, scratch, setting};

const WRITERS: i32 = 32;

/// What the rows of a writer are when all of its commits are stored.
fn rows_of(writer: i32, commits: i64) -> Vec<Row> {
    let mut rows = Vec::new();
    for number in 0..commits {
        if number % 10 == 8 {
            continue;
        }
        let id = |number: i64| (i64::from(writer) * 1_000_000 + number, writer);
        match number % 10 {
            6 => rows = vec![id(number)],
            9 => rows.retain(|row| *row != id(number - 2)),
            _ => rows.push(id(number)),
        }
    }
    rows
}

fn check(lake: &Lake, ordinary: u64) {
    let commits = i64::try_from(setting("ICECORE_TEST_COMMITS", ordinary)).unwrap();
    let workers: Vec<_> = (0..WRITERS).map(|writer| lake.spawn("mix", writer, commits)).collect();
    let waiting: Vec<_> =
        workers.into_iter().map(|worker| std::thread::spawn(move || finish(worker))).collect();
    let mut times = Vec::new();
    let mut acknowledged = Vec::new();
    for worker in waiting {
        let (said, stderr) = worker.join().unwrap();
        let lines: Vec<&str> = said.lines().collect();
        for line in &lines {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["ok", number, snapshot] => acknowledged
                    .push((number.parse::<i64>().unwrap(), snapshot.parse::<i64>().unwrap())),
                ["took", time] => times.push(time.parse::<u64>().unwrap()),
                _ => panic!("{line}\n{stderr}"),
            }
        }
    }
    // Each was acknowledged.
    let all = usize::try_from(i64::from(WRITERS) * commits).unwrap();
    assert_eq!(acknowledged.len(), all);
    // Each is there, exactly once, on one line.
    let mut expected: Vec<Row> = (0..WRITERS).flat_map(|writer| rows_of(writer, commits)).collect();
    expected.sort_unstable();
    assert_eq!(lake.rows(), expected);
    lake.check_line();
    let log = lake.history();
    let mut made: Vec<i64> = log.iter().map(|snapshot| snapshot.id.get()).collect();
    let mut told: Vec<i64> = acknowledged
        .iter()
        .filter(|(number, _)| number % 10 != 8)
        .map(|(_, snapshot)| *snapshot)
        .collect();
    made.sort_unstable();
    told.sort_unstable();
    assert_eq!(made, told);
    let tags = lake.look(async |catalog, table| catalog.refs(table).await.unwrap().len() - 1);
    assert_eq!(tags, acknowledged.len() - told.len());
    times.sort_unstable();
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    eprintln!("{all} commits: the median writer took {median} ms, the slowest {slowest} ms");
    assert!(slowest <= 3 * median, "{times:?}");
}

#[test]
fn every_commit_of_32_writers_on_sqlite_is_stored_once() {
    check(&Lake::new(), 50);
}

#[test]
fn every_commit_of_32_writers_on_postgres_is_stored_once() {
    let Some(server) = PostgresServer::start() else { return };
    check(&Lake::at(scratch(), server.database()), 10);
}
