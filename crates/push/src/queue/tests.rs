use std::collections::BTreeSet;

use arrow::array::{ArrayRef, Int64Array};
use icecore_testkit::Random;

use super::*;

fn events(value: i64) -> Bytes {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![value]));
    to_bytes(&arrow::array::RecordBatch::try_from_iter([("n", column)]).unwrap()).unwrap()
}

fn new(key: Option<&str>, value: i64) -> NewBatch {
    NewBatch {
        key: key.map(str::to_owned),
        to: Target::Offline,
        at: Timestamp::from_micros(value),
        rows: 1,
        events: events(value),
        content: events(value),
    }
}

fn small() -> Limits {
    Limits { segment_bytes: 1500, segments_kept: 2, ..Limits::default() }
}

fn values(queue: &Queue) -> Vec<i64> {
    queue.pending().iter().map(|batch| batch.at.micros()).collect()
}

#[tokio::test]
async fn what_was_accepted_is_there_after_any_restart_and_leaves_when_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(7);
    let (mut expected, mut committed, mut name) = (Vec::new(), 0, None);
    for round in 0..40 {
        let queue = Queue::open(dir.path(), small()).unwrap();
        assert_eq!(*name.get_or_insert_with(|| queue.name()), queue.name());
        assert_eq!(values(&queue), expected[committed..], "round {round}");
        for _ in 0..random.below(6) {
            let value = expected.len() as i64;
            let accepted = queue.append(new(None, value)).await.unwrap();
            assert_eq!(accepted, Accepted { position: value as u64, is_repeated: false });
            expected.push(value);
        }
        if random.below(3) == 0 {
            committed += random.below((expected.len() - committed + 1) as u64) as usize;
            queue.committed(committed as u64).unwrap();
        }
        let batch = queue.pending().first().map(|batch| batch.events().unwrap());
        assert!(batch.is_none_or(|batch| batch.num_rows() == 1));
        assert_eq!(values(&queue), expected[committed..]);
        assert!(files(dir.path()).unwrap().len() < 40);
    }
    assert!(expected.len() > 60 && committed > 10);
}

#[tokio::test]
async fn what_the_online_store_lacks_is_kept_after_its_commit_and_any_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(11);
    let (mut targets, mut committed) = (Vec::<Target>::new(), 0_u64);
    let mut online = BTreeSet::<u64>::new();
    let positions = |batches: Vec<Arc<Batch>>| -> BTreeSet<u64> {
        batches.iter().map(|batch| batch.position).collect()
    };
    for round in 0..60 {
        let queue = Queue::open(dir.path(), small()).unwrap();
        let behind = positions(queue.behind());
        let lacks = |at: &u64| targets[*at as usize].is_online() && !online.contains(at);
        let lacking: BTreeSet<u64> = (0..targets.len() as u64).filter(lacks).collect();
        // What the store has may be written to it once more, nothing else.
        assert!(lacking.is_subset(&behind), "round {round}: {lacking:?} {behind:?}");
        assert!(behind.iter().all(|at| targets[*at as usize].is_online()), "round {round}");
        online.retain(|at| !behind.contains(at));
        for _ in 0..random.below(6) {
            let all = [Target::Online, Target::Offline, Target::OnlineAndOffline];
            let to = all[random.below(3) as usize];
            let value = targets.len() as i64;
            queue.append(NewBatch { to, ..new(None, value) }).await.unwrap();
            targets.push(to);
        }
        for at in positions(queue.behind()) {
            if random.below(3) == 0 {
                queue.written(at);
                online.insert(at);
            }
        }
        if random.below(3) == 0 {
            committed += random.below(targets.len() as u64 - committed + 1);
            queue.committed(committed).unwrap();
        }
        if random.below(2) == 0 {
            queue.settle().unwrap();
        }
        let expected: BTreeSet<u64> = (committed..targets.len() as u64).collect();
        assert_eq!(positions(queue.pending()), expected, "round {round}");
        let kept = queue.pending().into_iter().chain(queue.behind());
        let kept: HashMap<u64, u64> =
            kept.map(|batch| (batch.position, batch.events.len() as u64)).collect();
        assert_eq!(queue.bytes_kept(), kept.values().sum::<u64>(), "round {round}");
    }
    assert!(targets.len() > 90 && committed > 10 && online.len() > 10);
    let queue = Queue::open(dir.path(), small()).unwrap();
    queue.behind().iter().for_each(|batch| queue.written(batch.position));
    queue.committed(targets.len() as u64).unwrap();
    assert!(queue.bytes_kept() == 0 && files(dir.path()).unwrap().len() <= 2);
    drop(queue);
    assert!(Queue::open(dir.path(), small()).unwrap().behind().is_empty());
}

#[tokio::test]
async fn a_batch_that_is_stuck_keeps_no_file_of_what_comes_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = events(0).len() as u64;
    let limits = Limits { bytes_max: 3 * bytes, ..small() };
    let mut queue = Queue::open(dir.path(), limits.clone()).unwrap();
    queue.append(NewBatch { to: Target::Online, ..new(Some("stuck"), 7) }).await.unwrap();
    for round in 0..60 {
        queue.append(new(None, round)).await.unwrap();
        queue.committed(queue.committed_end().max(1) + 1).unwrap();
        // A process that ends loses nothing of it, whatever is on the disk by then.
        if round % 7 == 0 {
            drop(queue);
            queue = Queue::open(dir.path(), limits.clone()).unwrap();
        }
        let behind: Vec<(u64, i64)> =
            queue.behind().iter().map(|batch| (batch.position, batch.at.micros())).collect();
        assert_eq!((behind, queue.bytes_kept()), (vec![(0, 7)], bytes), "round {round}");
        assert!(files(dir.path()).unwrap().len() <= limits.segments_kept + 1, "round {round}");
    }
    assert_eq!(queue.behind()[0].events().unwrap().num_rows(), 1);
    let carried = dir.path().join("behind.batches");
    assert!(carried.try_exists().unwrap());
    queue.written(0);
    queue.settle().unwrap();
    assert!(!carried.try_exists().unwrap() && queue.bytes_kept() == 0);
    drop(queue);
    assert!(Queue::open(dir.path(), limits).unwrap().behind().is_empty());
}

#[tokio::test]
async fn a_queue_from_before_it_kept_anything_for_the_store_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let state = r#"{"queue":"q","committed":1,"attempt":2}"#;
    std::fs::write(dir.path().join("state.json"), state).unwrap();
    let queue = Queue::open(dir.path(), small()).unwrap();
    assert_eq!((queue.name(), queue.attempt()), ("q".to_owned(), Some(2)));
    queue.append(NewBatch { to: Target::Online, ..new(None, 1) }).await.unwrap();
    queue.committed(2).unwrap();
    drop(queue);
    let queue = Queue::open(dir.path(), small()).unwrap();
    assert_eq!((queue.behind().len(), queue.pending().len()), (1, 0));
}

#[tokio::test]
async fn a_torn_end_loses_nothing_that_was_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path(), Limits::default()).unwrap();
    for value in 0..3 {
        queue.append(new(None, value)).await.unwrap();
    }
    drop(queue);
    let file = files(dir.path()).unwrap().remove(0);
    let whole = std::fs::read(&file).unwrap();
    // A fourth group, half of which arrived.
    let mut torn = whole.clone();
    torn.extend_from_slice(&whole[segment::FILE_HEADER..segment::FILE_HEADER + 50]);
    std::fs::write(&file, torn).unwrap();
    assert_eq!(values(&Queue::open(dir.path(), Limits::default()).unwrap()), [0, 1, 2]);
    let mut torn = whole.clone();
    torn.extend_from_slice(&[0; 100]);
    std::fs::write(&file, torn).unwrap();
    let queue = Queue::open(dir.path(), Limits::default()).unwrap();
    assert_eq!(values(&queue), [0, 1, 2]);
    assert_eq!(queue.append(new(None, 3)).await.unwrap().position, 3);
}

#[tokio::test]
async fn a_key_stands_for_one_batch_also_when_two_come_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(dir.path(), Limits::default()).unwrap();
    let both = futures::future::join_all((0..50).map(|_| queue.append(new(Some("k"), 1)))).await;
    let positions: Vec<u64> = both.iter().map(|a| a.as_ref().unwrap().position).collect();
    assert_eq!(positions, [0; 50]);
    assert_eq!(both.iter().filter(|a| !a.as_ref().unwrap().is_repeated).count(), 1);
    assert_eq!(queue.append(new(Some("k"), 2)).await.unwrap_err().kind(), ErrorKind::Conflict);
    queue.committed(1).unwrap();
    drop(queue);
    let queue = Queue::open(dir.path(), Limits::default()).unwrap();
    assert!(queue.append(new(Some("k"), 1)).await.unwrap().is_repeated);
    assert!(queue.pending().is_empty());
}

#[tokio::test]
async fn a_full_queue_refuses_until_something_is_committed_and_others_are_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { bytes_max: events(0).len() as u64 * 2, ..Limits::default() };
    let queue = Queue::open(dir.path(), limits).unwrap();
    queue.append(new(None, 0)).await.unwrap();
    queue.append(new(None, 1)).await.unwrap();
    assert_eq!(queue.append(new(None, 2)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    queue.committed(1).unwrap();
    assert_eq!(queue.append(new(None, 2)).await.unwrap().position, 2);
    let other = Queue::open(dir.path(), Limits::default()).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Unavailable);
    drop(queue);
    assert_eq!(values(&Queue::open(dir.path(), Limits::default()).unwrap()), [1, 2]);
}
