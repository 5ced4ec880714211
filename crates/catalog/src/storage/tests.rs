use std::path::Path;

use bytes::Bytes;

use super::*;

fn io_in(root: &Path) -> FileIO {
    let warehouse = Warehouse::at(&format!("file://{}", root.display()));
    Files::open(&warehouse, &StorageOptions::default()).unwrap().io()
}

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
    let path = format!("file://{}/a/b/file.bin", root.path().display());
    let io = io_in(root.path());
    let mut writer = io.new_output(&path).unwrap().writer().await.unwrap();
    writer.write(Bytes::from_static(b"first ")).await.unwrap();
    assert!(!io.exists(&path).await.unwrap());
    writer.write(Bytes::from_static(b"second")).await.unwrap();
    assert!(!io.exists(&path).await.unwrap());
    writer.close().await.unwrap();
    assert_eq!(io.new_input(&path).unwrap().read().await.unwrap(), "first second");
    assert_eq!(names(&root.path().join("a/b")), ["file.bin"]);
    assert!(writer.write(Bytes::from_static(b"more")).await.is_err());
    assert!(writer.close().await.is_err());
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let io = io_in(root.path());
    let output = io.new_output(format!("{}/file", root.path().display())).unwrap();
    let mut writer = output.writer().await.unwrap();
    writer.write(vec![7; 20 << 20].into()).await.unwrap();
    assert_eq!(names(root.path()).len(), 1);
    drop(writer);
    // An upload is given up in the background.
    tokio::task::yield_now().await;
    assert_eq!(names(root.path()), Vec::<String>::new());
}

#[tokio::test]
async fn ranges_and_sizes_are_those_of_the_file() {
    let root = tempfile::tempdir().unwrap();
    let path = format!("file:{}/a b%20=é:1/f", root.path().display());
    let io = io_in(root.path());
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
    let error = Warehouse::open("ftp://bucket/x").await.unwrap_err();
    assert_eq!(error.kind(), icecore_core::ErrorKind::Unsupported);
}

fn roots(locations: &[&str]) -> Roots {
    let roots = Roots::default();
    locations.iter().for_each(|location| roots.add(location).unwrap());
    roots
}

#[test]
fn keys_begin_with_where_a_file_is() {
    for (location, key) in [
        ("/a/b", "file/a/b"),
        ("file:/a/b", "file/a/b"),
        ("file:///a/b c", "file/a/b c"),
        ("s3://lake/t/1.parquet", "s3/lake/t/1.parquet"),
        ("s3a://lake/t/1.parquet", "s3/lake/t/1.parquet"),
        ("S3://lake/a=%20/", "s3/lake/a=%20"),
        ("gs://lake/t", "gs/lake/t"),
        ("abfss://c@acc.dfs.core.windows.net/t", "az/c@acc.dfs.core.windows.net/t"),
        ("memory:///wh/t", "memory/wh/t"),
    ] {
        assert_eq!(key_of(location).unwrap().as_ref(), key, "{location}");
        let there_and_back = location::location_of(&key_of(location).unwrap());
        assert_eq!(key_of(&there_and_back).unwrap().as_ref(), key, "{there_and_back}");
    }
}

#[test]
fn files_outside_of_the_roots_are_refused() {
    let roots = roots(&["file:///wh", "s3://lake/wh"]);
    for inside in ["file:///wh/t/1", "/wh/t", "file:/wh/../wh2/x/../../wh/t", "s3a://lake/wh/t/1"] {
        assert_eq!(roots.key(inside).is_ok(), !inside.contains(".."), "{inside}");
    }
    for outside in [
        "file:///etc/passwd",
        "file:///wh/../etc/passwd",
        "file:///wh2/t",
        "file:///",
        "wh/t",
        "",
        "s3://lake/wh2/t",
        "s3://lake/wh/../x",
        "s3://other/wh/t",
        "s3://",
        "s3:///wh",
        "http://169.254.169.254/latest/meta-data",
        "gs://lake/wh/t",
        "javascript:alert(1)",
        "file://../wh/t",
        "s3://lake/wh//t",
        "s3://lake/wh/./t",
        "file:///wh/\0",
    ] {
        let error = roots.key(outside).unwrap_err();
        assert_eq!(error.kind(), icecore_core::ErrorKind::Denied, "{outside}");
    }
    let error = roots.key("file:///etc/passwd").unwrap_err();
    assert_eq!(error.to_string(), "`file:///etc/passwd` is outside of the table's files");
    assert_eq!(error.notes(), ["they are below `file:///wh`, `s3://lake/wh`"]);
    for wide in ["file:///", "/", "s3://", "file:///a/../.."] {
        assert!(Roots::at(wide).is_err(), "{wide}");
    }
}

#[tokio::test]
async fn a_symbolic_link_does_not_lead_out() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    std::fs::create_dir_all(path("wh/t")).unwrap();
    std::fs::write(path("secret"), "s").unwrap();
    std::os::unix::fs::symlink(root.path(), path("wh/t/up")).unwrap();
    std::os::unix::fs::symlink(path("secret"), path("wh/t/file")).unwrap();
    std::os::unix::fs::symlink(path("nothing"), path("wh/t/dangling")).unwrap();
    std::os::unix::fs::symlink("/", path("wh/t/top")).unwrap();
    let io = io_in(&path("wh"));
    for name in ["up/secret", "up/new", "file", "dangling", "top/etc/hostname", "top/new"] {
        let location = path("wh/t").join(name).display().to_string();
        let read = io.new_input(&location).unwrap().read().await.unwrap_err();
        assert!(format!("{read:?}").contains("outside of the table's files"), "{name}: {read:?}");
        let write = io.new_output(&location).unwrap().write(Bytes::from_static(b"x")).await;
        assert!(write.is_err(), "{name}");
    }
    assert_eq!(std::fs::read_to_string(path("secret")).unwrap(), "s");
    // A warehouse may itself be behind a link.
    std::os::unix::fs::symlink(path("wh"), path("alias")).unwrap();
    let io = io_in(&path("alias"));
    let file = path("alias/t/new/deep").display().to_string();
    io.new_output(&file).unwrap().write(Bytes::from_static(b"x")).await.unwrap();
    assert!(io.exists(&file).await.unwrap());
}

#[tokio::test]
async fn files_are_limited_before_they_are_read() {
    let root = tempfile::tempdir().unwrap();
    let mut options = StorageOptions::default();
    options.limits.metadata_bytes = 10;
    options.limits.manifest_bytes = 10;
    let warehouse = Warehouse::at(&format!("file://{}", root.path().display()));
    let io = Files::open(&warehouse, &options).unwrap().io();
    for name in ["v1.metadata.json", "m.avro"] {
        let path = format!("{}/{name}", root.path().display());
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = io.new_input(&path).unwrap().read().await.unwrap_err();
        let shown = format!("{error:?}");
        assert!(shown.contains("is larger than 10 bytes") && shown.contains(name), "{shown}");
    }
}

#[tokio::test]
async fn a_file_does_not_take_the_place_of_another() {
    let root = tempfile::tempdir().unwrap();
    let io = io_in(root.path());
    let path = |name: &str| format!("{}/t/{name}", root.path().display());
    let put = async |name: &str, bytes: &'static [u8]| {
        io.new_output(path(name)).unwrap().write(Bytes::from_static(bytes)).await
    };
    put("a", b"one").await.unwrap();
    // The same file once more: the answer to the first request was lost.
    put("a", b"one").await.unwrap();
    assert!(put("a", b"two").await.is_err());
    assert!(put("a", b"one and more").await.is_err());
    assert_eq!(std::fs::read_to_string(path("a")).unwrap(), "one");
    put("version-hint.text", b"1").await.unwrap();
    put("version-hint.text", b"2").await.unwrap();
    assert_eq!(std::fs::read_to_string(path("version-hint.text")).unwrap(), "2");
    assert_eq!(names(&root.path().join("t")), ["a", "version-hint.text"]);
}

#[tokio::test]
async fn large_files_are_written_in_parts() {
    let root = tempfile::tempdir().unwrap();
    let io = io_in(root.path());
    let path = format!("{}/t/large", root.path().display());
    let mut writer = io.new_output(&path).unwrap().writer().await.unwrap();
    let piece: Bytes = (0..3 << 20).map(|at| (at % 251) as u8).collect();
    for _ in 0..7 {
        writer.write(piece.clone()).await.unwrap();
    }
    assert!(!io.exists(&path).await.unwrap());
    writer.close().await.unwrap();
    let found = io.new_input(&path).unwrap().read().await.unwrap();
    assert_eq!(found, piece.repeat(7));
    assert_eq!(names(&root.path().join("t")), ["large"]);
}

proptest::proptest! {
    #[test]
    fn a_plain_path_has_the_key_that_any_path_would_have(path in "(/[a-c.=_%é +-]{0,4}){1,4}") {
        use crate::storage::location::key_of;
        let long_way = object_store::path::Path::from_absolute_path(&path).ok();
        if let (Ok(key), Some(long_way)) = (key_of(&path), long_way) {
            let wanted = format!("file/{long_way}");
            proptest::prop_assert_eq!(key.as_ref(), wanted.trim_end_matches('/'));
        }
    }
}
