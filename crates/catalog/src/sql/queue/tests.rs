use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_do_not_hold_up_the_living() {
    let root = tempfile::tempdir().unwrap();
    let queue = FileQueue::beside(root.path().join("q"));
    let place = queue.wait("t").await.unwrap();
    let directory = root.path().join("q").join(format!("{:016x}", super::super::hash("t")));
    // Processes that died in the queue: their files are there, their locks are not.
    for number in [2, 3] {
        fs::write(directory.join(number.to_string()), "").unwrap();
    }
    assert!(queue.has_any("t"));
    drop(place);
    let place = queue.wait("t").await.unwrap();
    let mut left = numbers(&directory).unwrap();
    left.sort_unstable();
    assert_eq!(left.len(), 1, "{left:?}");
    drop(place);
    assert!(!queue.has_any("t"));
    assert_eq!(numbers(&directory).unwrap(), [0; 0]);
}

#[test]
fn a_queue_that_nobody_ever_joined_is_empty() {
    let root = tempfile::tempdir().unwrap();
    assert!(!FileQueue::beside(root.path().join("none")).has_any("t"));
}
