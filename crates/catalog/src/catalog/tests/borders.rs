//! Files that are not what they should be: damaged ones, hostile ones, ones that are too large.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

/// The path of a table's current metadata.
async fn metadata_path(lake: &Lake) -> PathBuf {
    let described = lake.catalog.describe(&lake.table).await.unwrap();
    PathBuf::from(described.metadata_location.strip_prefix("file://").unwrap())
}

/// What another process says about a table whose metadata was changed like this.
async fn after(change: impl Fn(&mut Value)) -> Error {
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    let path = metadata_path(&lake).await;
    let mut metadata: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut metadata);
    std::fs::write(&path, metadata.to_string()).unwrap();
    let catalog = lake.reopened().await;
    let read = async {
        let pinned = catalog.pin(&lake.table, &SnapshotSelector::Latest).await?;
        catalog.scan(&pinned, ScanOptions::default()).await?.concat().await
    };
    read.await.unwrap_err()
}

#[tokio::test]
async fn metadata_cannot_lead_out_of_the_tables_roots() {
    for (place, is_named) in [
        ("file:///etc/passwd", true),
        ("file:///etc/../x", true),
        ("http://169.254.169.254/a", true),
    ] {
        let error =
            after(|metadata| metadata["snapshots"][0]["manifest-list"] = json!(place)).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        assert_eq!(error.to_string().contains(place), is_named, "{error}");
    }
    for location in ["/", "file:///", "ftp://host/x", "relative"] {
        let error = after(|metadata| metadata["location"] = json!(location)).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{location}: {error:?}");
    }
}

#[tokio::test]
async fn damaged_metadata_is_named() {
    let lake = Lake::new().await;
    let whole = std::fs::read(metadata_path(&lake).await).unwrap();
    let path = metadata_path(&lake).await;
    let gzip_bomb = {
        use std::io::Write;
        let fast = flate2::Compression::fast();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), fast);
        let zeros = vec![b' '; 1 << 20];
        (0..3).for_each(|_| encoder.write_all(&zeros).unwrap());
        encoder.finish().unwrap()
    };
    let damaged = [
        (Vec::new(), ErrorKind::DataCorrupt),
        (whole[..whole.len() / 2].to_vec(), ErrorKind::DataCorrupt),
        (b"{}".to_vec(), ErrorKind::DataCorrupt),
        (vec![0xff; 100], ErrorKind::DataCorrupt),
        ([&[0x1f, 0x8b][..], &whole].concat(), ErrorKind::DataCorrupt),
        ("[".repeat(100_000).into_bytes(), ErrorKind::DataCorrupt),
        (gzip_bomb, ErrorKind::LimitExceeded),
    ];
    for (bytes, kind) in damaged {
        std::fs::write(&path, &bytes).unwrap();
        let mut options = options(&lake.root, &lake.clock);
        options.storage.limits.inflated_bytes = 1 << 20;
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let error = catalog.describe(&lake.table).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn damaged_manifests_are_named() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    let files = lake.files_on_disk();
    let avro: Vec<&String> = files.iter().filter(|path| path.ends_with(".avro")).collect();
    assert_eq!(avro.len(), 2);
    for path in avro {
        let whole = std::fs::read(path).unwrap();
        // Cut short anywhere, and with each of many bytes turned around.
        let cuts = (0..whole.len()).step_by(97).map(|at| whole[..at].to_vec());
        let flips = (0..whole.len()).step_by(61).map(|at| {
            let mut bytes = whole.clone();
            bytes[at] = !bytes[at];
            bytes
        });
        for bytes in cuts.chain(flips) {
            std::fs::write(path, &bytes).unwrap();
            let catalog = lake.reopened().await;
            let head = catalog.tables_now().load(&lake.table).await.unwrap();
            let snapshot = head.metadata().current_snapshot().unwrap();
            let read = async {
                let list = crate::storage::load_list(&head, snapshot).await?;
                for manifest in &list {
                    crate::storage::load_manifest(&head, manifest).await?;
                }
                Ok::<_, Error>(())
            };
            if let Err(error) = read.await {
                assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::DataCorrupt
                            | ErrorKind::LimitExceeded
                            | ErrorKind::Denied
                            | ErrorKind::Unsupported
                    ),
                    "{error:?}"
                );
            }
        }
        std::fs::write(path, &whole).unwrap();
    }
    assert_eq!(lake.rows_now().await, [(1, 1)]);
}

#[tokio::test]
async fn a_footer_that_claims_to_be_huge_is_refused() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    let path = lake.files_on_disk().into_iter().find(|path| path.ends_with(".parquet")).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let tail = bytes.len() - 8;
    bytes[tail..tail + 4].copy_from_slice(&(100_u32 << 20).to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let pinned = lake.pin("latest").await.unwrap();
    let read = async { lake.catalog.scan(&pinned, ScanOptions::default()).await?.concat().await };
    let error = read.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error:?}");
    assert!(error.to_string().contains("footer"), "{error}");
}

#[tokio::test]
async fn metadata_is_kept_and_named_as_the_tables_properties_say() {
    let lake = Lake::new().await;
    let set = [
        ("write.metadata.previous-versions-max", "2"),
        ("write.metadata.delete-after-commit.enabled", "true"),
        ("icecore.version-hint.enabled", "true"),
        ("write.metadata.compression-codec", "gzip"),
    ];
    let set = set.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    lake.catalog.set_properties(&lake.table, set, vec![]).await.unwrap();
    for number in 0..5 {
        lake.append(&[(number, 1)]).await;
    }
    let files = lake.files_on_disk();
    let metadata: Vec<&String> = files.iter().filter(|p| p.ends_with(".metadata.json")).collect();
    assert_eq!(metadata.len(), 3, "{metadata:?}");
    let current = metadata_path(&lake).await;
    let name = current.file_name().unwrap().to_str().unwrap();
    let hint = std::fs::read_to_string(current.with_file_name("version-hint.text")).unwrap();
    assert_eq!(format!("{hint}.gz.metadata.json"), name);
    assert_eq!(lake.reopened().await.history(&lake.table).await.unwrap().len(), 5);
}
