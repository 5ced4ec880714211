//! Files that were swept away.

use std::time::Duration;

use icecore_catalog::{CleanOptions, ExpireOptions, TagMove, Timer};
use icecore_core::{CommitOptions, ErrorKind, SnapshotCatalog, Span, Timestamp, WriteMode};

use crate::lake::{Answer, named, play, stream};

fn everything() -> ExpireOptions {
    let future = Timestamp::parse("2030-01-01").unwrap();
    ExpireOptions::default().with_older_than(Some(future)).with_retain_last(Some(1))
}

const ANY_AGE: Span = Span::from_micros(0);

#[test]
fn r13_an_expiry_deletes_no_file_that_another_ref_or_snapshot_needs() {
    play(async |lake| {
        lake.commit(WriteMode::Append, &[(1, 1), (2, 2)]).await;
        let tagged = lake.pin("latest").await;
        lake.catalog.tag(&tagged, &named("v1"), TagMove::Refuse).await.unwrap();
        // The tag's file of partition 2 is also the head's; that of partition 1 is not.
        lake.commit(WriteMode::OverwritePartitions, &[(3, 1)]).await;
        lake.commit(WriteMode::Append, &[(4, 1)]).await;
        lake.catalog.branch(&lake.pin("latest").await, &named("audit")).await.unwrap();
        lake.commit(WriteMode::Overwrite, &[(5, 1)]).await;
        lake.commit(WriteMode::Append, &[(6, 2)]).await;
        let expired = lake.catalog.expire(&lake.table, everything()).await.unwrap();
        assert!(!expired.expired.is_empty());
        let clean = CleanOptions::default().with_older_than(ANY_AGE);
        lake.catalog.clean(&lake.table, clean).await.unwrap();
        assert_eq!(lake.rows(&lake.pin("v1").await).await, [1, 2]);
        assert_eq!(lake.rows(&lake.pin("audit").await).await, [2, 3, 4]);
        assert_eq!(lake.rows_now().await, [5, 6]);
        lake.check().await;
    });
}

#[test]
fn r14_a_clean_leaves_files_that_are_on_their_way() {
    play(async |lake| {
        lake.commit(WriteMode::Append, &[(1, 1)]).await;
        lake.time.sleep(Duration::from_secs(100_000)).await;
        // All files of this commit are there, and nothing names them for another minute.
        let writer = lake.process(&[Answer::Late; 30]);
        let table = lake.table.clone();
        let commit = tokio::spawn(async move {
            let options = CommitOptions::default();
            writer.commit(&table, stream(&[(2, 1)]), options).await
        });
        lake.time.sleep(Duration::from_millis(1)).await;
        let clean = CleanOptions::default().with_older_than(Span::from_micros(3_600_000_000));
        let cleaned = lake.catalog.clean(&lake.table, clean).await.unwrap();
        assert!(cleaned.kept_files > 0);
        match commit.await.unwrap() {
            Ok(done) => assert!(done.changed),
            Err(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}"),
        }
        lake.time.sleep(Duration::from_secs(3_600)).await;
        assert_eq!(lake.rows_now().await, [1, 2]);
        lake.check().await;
    });
}

#[test]
fn r15_a_tag_keeps_what_an_incremental_reader_has_read_up_to() {
    play(async |lake| {
        lake.commit(WriteMode::Append, &[(1, 1)]).await;
        let read_to = lake.pin("latest").await;
        lake.catalog.tag(&read_to, &named("reader"), TagMove::Refuse).await.unwrap();
        let lost = lake.commit(WriteMode::Append, &[(2, 1)]).await.pinned;
        lake.commit(WriteMode::Append, &[(3, 1)]).await;
        lake.catalog.expire(&lake.table, everything()).await.unwrap();
        assert_eq!(lake.rows(&lake.pin("reader").await).await, [1]);
        assert_eq!(lake.rows(&read_to).await, [1]);
        // Without a tag it is gone, and is said to be.
        let schema = lake.catalog.schema(&lost).await.unwrap_err();
        assert_eq!(schema.kind(), ErrorKind::NotFound);
        assert!(schema.to_string().contains("expired"), "{schema}");
    });
}
