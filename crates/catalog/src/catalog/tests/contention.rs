//! Many writers at once.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_append_of_eight_writers_is_lost() {
    let lake = Lake::new().await;
    // Half of them are other processes.
    let mut writers = Vec::new();
    for number in 0..8 {
        let catalog = if number % 2 == 0 { lake.catalog.clone() } else { lake.reopened().await };
        let table = lake.table.clone();
        writers.push(tokio::spawn(async move {
            for round in 0..5 {
                let row = (number * 100 + round, 1);
                let options = CommitOptions::default();
                catalog.commit(&table, stream(&[row]), options).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut expected: Vec<Row> =
        (0..8).flat_map(|n| (0..5).map(move |round| (n * 100 + round, 1))).collect();
    expected.sort_unstable();
    assert_eq!(lake.rows_now().await, expected);
    let log = lake.catalog.history(&lake.table).await.unwrap();
    assert_eq!(log.len(), 40);
    // One line of history: each has the one before it as its parent, and its own attempt.
    assert!(log.windows(2).all(|pair| pair[1].parent == Some(pair[0].id)));
    let attempts: std::collections::BTreeSet<&String> =
        log.iter().map(|snapshot| &snapshot.summary["icecore.attempt-id"]).collect();
    assert_eq!(attempts.len(), 40);
    assert_eq!(log[39].count("total-records"), 40);
    // Those who came late took their manifests and metadata away.
    let manifest_lists = lake.files_on_disk().iter().filter(|path| path.contains("/snap-")).count();
    let metadata = lake.files_on_disk().iter().filter(|p| p.ends_with(".metadata.json")).count();
    assert_eq!((manifest_lists, metadata), (40, 41));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refs_and_rows_do_not_lose_each_other() {
    let lake = Lake::new().await;
    let first = lake.append(&[(0, 1)]).await;
    let tags = async {
        for number in 0..6 {
            let name = named(&format!("v{number}.0"));
            lake.catalog.tag(&first, &name, TagMove::Refuse).await.unwrap();
        }
    };
    let other = lake.reopened().await;
    let rows = async {
        for number in 1..7 {
            let options = CommitOptions::default();
            other.commit(&lake.table, stream(&[(number, 1)]), options).await.unwrap();
        }
    };
    tokio::join!(tags, rows);
    assert_eq!(lake.rows_now().await.len(), 7);
    assert_eq!(lake.catalog.refs(&lake.table).await.unwrap().len(), 7);
}
