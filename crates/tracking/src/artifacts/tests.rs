use icecore_testkit::check_artifact_store;

use super::*;

#[tokio::test]
async fn the_store_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileArtifacts::open(dir.path().join("a/b")).unwrap();
    check_artifact_store(&store).await;
    let left: Vec<_> = fs::read_dir(dir.path().join("a/b").join(UNFINISHED)).unwrap().collect();
    assert!(left.is_empty(), "nothing unfinished stays: {left:?}");
    assert!(!dir.path().join("theirs").is_file(), "nothing was written outside");
}

#[tokio::test]
async fn files_lie_where_people_look_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileArtifacts::open(dir.path()).unwrap();
    store.put(&RunId::new("0a1b"), "plots/roc.svg", "<svg/>".into()).await.unwrap();
    let file = dir.path().join("0a1b/plots/roc.svg");
    assert_eq!(fs::read_to_string(file).unwrap(), "<svg/>");
}

#[tokio::test]
async fn an_unknown_file_is_answered_with_those_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileArtifacts::open(dir.path()).unwrap();
    let run = RunId::new("0a1b");
    store.put(&run, "model.json", "{}".into()).await.unwrap();
    let error = store.get(&run, "modle.json").await.unwrap_err();
    assert_eq!(error.notes(), ["its artifacts: model.json"]);
    assert_eq!(error.help(), Some("did you mean `model.json`?"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_a_file_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileArtifacts::open(dir.path()).unwrap();
    let run = RunId::new("0a1b");
    let contents = |round: u8| Bytes::from(vec![round; 1 << 20]);
    store.put(&run, "model", contents(0)).await.unwrap();
    let writer = {
        let (store, run) = (store.clone(), run.clone());
        tokio::spawn(async move {
            for round in 1..20 {
                store.put(&run, "model", contents(round)).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let seen = store.get(&run, "model").await.unwrap();
        assert_eq!(seen.len(), 1 << 20);
        assert!(seen.iter().all(|byte| *byte == seen[0]), "a mix of two writes");
    }
    writer.await.unwrap();
    assert_eq!(store.list(&run).await.unwrap(), ["model"]);
}
