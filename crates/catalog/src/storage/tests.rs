use bytes::Bytes;

use super::*;

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_file_is_visible_only_when_it_is_whole() {
    let root = tempfile::tempdir().unwrap();
    let path = format!("file://{}/a/b/file.avro", root.path().display());
    let io = file_io();
    let mut writer = io.new_output(&path).unwrap().writer().await.unwrap();
    writer.write(Bytes::from_static(b"first ")).await.unwrap();
    assert!(!io.exists(&path).await.unwrap());
    writer.write(Bytes::from_static(b"second")).await.unwrap();
    assert!(!io.exists(&path).await.unwrap());
    writer.close().await.unwrap();
    assert_eq!(io.new_input(&path).unwrap().read().await.unwrap(), "first second");
    assert_eq!(names(&root.path().join("a/b")), ["file.avro"]);
    assert!(writer.write(Bytes::from_static(b"more")).await.is_err());
    assert!(writer.close().await.is_err());
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let io = file_io();
    let output = io.new_output(format!("{}/file", root.path().display())).unwrap();
    let mut writer = output.writer().await.unwrap();
    writer.write(Bytes::from_static(b"half")).await.unwrap();
    assert_eq!(names(root.path()).len(), 1);
    drop(writer);
    assert_eq!(names(root.path()), Vec::<String>::new());
}

#[tokio::test]
async fn ranges_and_sizes_are_those_of_the_file() {
    let root = tempfile::tempdir().unwrap();
    let path = format!("file:{}/a b%20=é:1/f", root.path().display());
    let io = file_io();
    io.new_output(&path).unwrap().write(Bytes::from_static(b"0123456789")).await.unwrap();
    let input = io.new_input(&path).unwrap();
    assert_eq!(input.metadata().await.unwrap().size, 10);
    let reader = input.reader().await.unwrap();
    assert_eq!(reader.read(3..6).await.unwrap(), "345");
    assert!(reader.read(20..30).await.is_err());
    io.delete(&path).await.unwrap();
    io.delete(&path).await.unwrap();
    assert!(!io.exists(&path).await.unwrap());
    assert!(input.read().await.is_err());
}

#[test]
fn paths_cannot_climb_and_other_schemes_are_refused() {
    for good in ["file:///a/b", "file:/a/b", "/a/b"] {
        assert_eq!(local_path(good).unwrap(), Path::new("/a/b"));
    }
    for bad in ["file:///a/../b", "a/b", "s3://bucket/a", "file:a", ""] {
        assert!(local_path(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_warehouse_is_a_directory_or_a_file_url() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("x/../wh/");
    let warehouse = Warehouse::open(path.to_str().unwrap()).await.unwrap();
    assert_eq!(warehouse.url(), format!("file://{}/wh", root.path().display()));
    assert!(root.path().join("wh").is_dir());
    let again = Warehouse::open(warehouse.url()).await.unwrap();
    assert_eq!(again.url(), warehouse.url());
    let error = Warehouse::open("s3://bucket/x").await.unwrap_err();
    assert_eq!(error.kind(), icecore_core::ErrorKind::Unsupported);
}
