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
        to: Target::OnlineAndOffline,
        at: Timestamp::from_micros(value),
        rows: 1,
        events: events(value),
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
