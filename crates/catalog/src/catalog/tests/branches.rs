//! Commits to branches, and what becomes of them.

use super::*;
use crate::refs::{RefInfo, Retention};

fn to(branch: &str) -> CommitOptions {
    CommitOptions::default().with_branch(named(branch))
}

async fn info(lake: &Lake, name: &str) -> RefInfo {
    let refs = lake.catalog.refs(&lake.table).await.unwrap();
    refs.into_iter().find(|found| found.name.as_str() == name).unwrap()
}

/// A table with one row and a branch `audit` at it.
async fn branched() -> (Lake, PinnedTable) {
    let lake = Lake::new().await;
    let start = lake.append(&[(1, 1)]).await;
    lake.catalog.branch(&start, &named("audit")).await.unwrap();
    (lake, start)
}

#[tokio::test]
async fn a_commit_to_a_branch_is_not_seen_on_main() {
    let (lake, start) = branched().await;
    let staged = lake.try_commit(to("audit"), &[(2, 1)]).await.unwrap();
    assert_eq!(lake.rows_now().await, [(1, 1)]);
    assert_eq!(lake.pin("audit").await.unwrap(), staged.pinned);
    assert_eq!(lake.rows(&staged.pinned).await, [(1, 1), (2, 1)]);
    let overwrite = CommitOptions::new(WriteMode::OverwritePartitions).with_branch(named("audit"));
    lake.try_commit(overwrite, &[(3, 1)]).await.unwrap();
    assert_eq!(lake.rows(&lake.pin("audit").await.unwrap()).await, [(3, 1)]);
    assert_eq!(lake.pin("latest").await.unwrap(), start);
    let log = lake.catalog.history(&lake.table).await.unwrap();
    assert_eq!(log.iter().map(|s| s.on_main).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(log[2].parent, Some(staged.pinned.snapshot));
    assert_eq!(log[2].count("total-records"), 1);
}

#[tokio::test]
async fn an_unknown_branch_is_an_error_unless_it_may_begin() {
    let (lake, start) = branched().await;
    let error = lake.try_commit(to("audti"), &[(2, 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.help().unwrap().contains("table branch ns.events audti"), "{error:?}");
    let before = lake.files_on_disk().len();
    lake.catalog.tag(&start, &named("v1"), TagMove::Refuse).await.unwrap();
    let error = lake.try_commit(to("v1"), &[(2, 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(lake.files_on_disk().len(), before + 1, "the tag's metadata and nothing else");
    let new = lake.try_commit(to("new").with_new_branch(), &[(2, 1)]).await.unwrap();
    assert_eq!(lake.rows(&new.pinned).await, [(1, 1), (2, 1)]);
    // The name of a job counts on the branch that it was done on.
    let job = |branch: &str| to(branch).with_job_id("load");
    assert!(lake.try_commit(job("new"), &[(3, 1)]).await.unwrap().changed);
    assert!(!lake.try_commit(job("new"), &[(3, 1)]).await.unwrap().changed);
    assert!(lake.try_commit(job("audit"), &[(3, 1)]).await.unwrap().changed);
}

#[tokio::test]
async fn a_branch_of_an_empty_table_begins_with_nothing() {
    let lake = Lake::new().await;
    let staged = lake.try_commit(to("audit").with_new_branch(), &[(1, 1)]).await.unwrap();
    assert_eq!(lake.pin("latest").await.unwrap().snapshot, PinnedTable::EMPTY);
    let published = lake.catalog.publish(&lake.table, &named("audit")).await.unwrap();
    assert_eq!(published, staged.pinned);
    assert_eq!(lake.rows_now().await, [(1, 1)]);
}

#[tokio::test]
async fn what_was_written_and_audited_is_published() {
    let (lake, _) = branched().await;
    lake.try_commit(to("audit"), &[(2, 1)]).await.unwrap();
    let tip = lake.try_commit(to("audit"), &[(3, 1)]).await.unwrap().pinned;
    assert_eq!(lake.catalog.publish(&lake.table, &named("audit")).await.unwrap(), tip);
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 1), (3, 1)]);
    // Again: nothing is left to do.
    let files = lake.files_on_disk();
    assert_eq!(lake.catalog.publish(&lake.table, &named("audit")).await.unwrap(), tip);
    assert_eq!(lake.files_on_disk(), files);
    let error = lake.catalog.publish(&lake.table, &RefName::main()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = lake.catalog.publish(&lake.table, &named("nope")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_branch_that_main_left_behind_is_taken_over_snapshot_by_snapshot() {
    let (lake, _) = branched().await;
    let options = to("audit").with_job_id("load-2");
    let first = lake.try_commit(options.clone(), &[(2, 1)]).await.unwrap().pinned;
    let second = lake.try_commit(to("audit"), &[(3, 1)]).await.unwrap().pinned;
    lake.append(&[(9, 9)]).await;
    let error = lake.catalog.publish(&lake.table, &named("audit")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let help = format!("cherry-pick ns.events {}", first.snapshot);
    assert!(error.help().unwrap().contains(&help), "{error:?}");
    assert!(error.notes()[0].contains("1 snapshot(s)"), "{error:?}");
    for pinned in [&first, &second] {
        let main = RefName::main();
        let pick = || lake.catalog.cherry_pick(&lake.table, pinned.snapshot, &main);
        let done = pick().await.unwrap();
        assert_eq!((done.added_rows, done.changed), (1, true));
        let error = pick().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 1), (3, 1), (9, 9)]);
    let log = lake.catalog.history(&lake.table).await.unwrap();
    assert_eq!(log[4].summary["source-snapshot-id"], first.snapshot.to_string());
    assert_eq!(log[4].operation, "append");
    assert_eq!(log[5].count("total-records"), 4);
    // The piece of work that made the rows is done on `main` too.
    let again = options.with_branch(RefName::main());
    assert!(!lake.try_commit(again, &[(2, 1)]).await.unwrap().changed);
}

#[tokio::test]
async fn a_snapshot_of_the_head_is_picked_as_it_is_and_others_only_if_they_append() {
    let (lake, _) = branched().await;
    let overwrite = CommitOptions::new(WriteMode::Overwrite).with_branch(named("audit"));
    let replaced = lake.try_commit(overwrite, &[(2, 1)]).await.unwrap().pinned;
    let main = RefName::main();
    let done = lake.catalog.cherry_pick(&lake.table, replaced.snapshot, &main).await.unwrap();
    assert_eq!(done.pinned, replaced);
    assert_eq!(lake.rows_now().await, [(2, 1)]);
    let overwrite = CommitOptions::new(WriteMode::Overwrite).with_branch(named("audit"));
    let replaced = lake.try_commit(overwrite, &[(3, 1)]).await.unwrap().pinned;
    lake.append(&[(4, 1)]).await;
    let error = lake.catalog.cherry_pick(&lake.table, replaced.snapshot, &main).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let unknown = lake.catalog.cherry_pick(&lake.table, SnapshotId::new(7), &main).await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn rows_that_another_tool_staged_are_published_once() {
    let (lake, _) = branched().await;
    let staged = to("audit").with_summary("wap.id", "batch-1");
    let first = lake.try_commit(staged, &[(2, 1)]).await.unwrap().pinned;
    lake.append(&[(9, 9)]).await;
    let main = RefName::main();
    lake.catalog.cherry_pick(&lake.table, first.snapshot, &main).await.unwrap();
    let log = lake.catalog.history(&lake.table).await.unwrap();
    assert_eq!(log[3].summary["published-wap-id"], "batch-1");
    let twin = to("audit").with_summary("wap.id", "batch-1");
    let twin = lake.try_commit(twin, &[(2, 1)]).await.unwrap().pinned;
    let error = lake.catalog.cherry_pick(&lake.table, twin.snapshot, &main).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_branch_moves_along_and_never_back() {
    let (lake, _) = branched().await;
    let tip = lake.append(&[(2, 1)]).await;
    let (audit, main) = (named("audit"), RefName::main());
    let moved = lake.catalog.fast_forward(&lake.table, &audit, &main).await.unwrap();
    assert_eq!((moved, lake.pin("audit").await.unwrap()), (tip.clone(), tip.clone()));
    let staged = lake.try_commit(to("audit"), &[(3, 1)]).await.unwrap().pinned;
    let error = lake.catalog.fast_forward(&lake.table, &audit, &main).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(lake.pin("audit").await.unwrap(), staged);
    lake.catalog.tag(&tip, &named("v1"), TagMove::Refuse).await.unwrap();
    let error = lake.catalog.fast_forward(&lake.table, &named("v1"), &audit).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let to_tag = lake.catalog.fast_forward(&lake.table, &main, &named("v1")).await.unwrap();
    assert_eq!(to_tag, tip);
}

#[tokio::test]
async fn how_long_a_branch_is_kept_outlives_commits_and_rollbacks() {
    let (lake, start) = branched().await;
    let keep = Retention::default().with_min_snapshots_to_keep(3).with_max_snapshot_age_ms(1000);
    let short = Retention::default().with_max_ref_age_ms(60_000);
    lake.catalog.set_retention(&lake.table, &RefName::main(), keep).await.unwrap();
    lake.catalog.set_retention(&lake.table, &named("audit"), short).await.unwrap();
    lake.append(&[(2, 1)]).await;
    lake.try_commit(to("audit"), &[(2, 1)]).await.unwrap();
    let policy = RollbackPolicy::AncestorsOnly;
    lake.catalog.rollback(&lake.table, start.snapshot, policy).await.unwrap();
    let cut = lake.append(&[(3, 1)]).await;
    assert_eq!(info(&lake, "main").await.retention, keep);
    assert_eq!(info(&lake, "audit").await.retention, short);
    let tag = named("v1");
    lake.catalog.tag_with(&cut, &tag, TagMove::Refuse, short).await.unwrap();
    assert_eq!(info(&lake, "v1").await.retention, short);
    for (name, retention) in [
        (RefName::main(), short),
        (tag.clone(), keep),
        (named("audit"), Retention::default().with_min_snapshots_to_keep(0)),
    ] {
        let error = lake.catalog.set_retention(&lake.table, &name, retention).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let unknown = lake.catalog.set_retention(&lake.table, &named("nope"), short).await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_branch_is_set_back_and_main_stays() {
    let (lake, start) = branched().await;
    let main = lake.append(&[(2, 1)]).await;
    let audit = named("audit");
    let ahead = lake.try_commit(to("audit"), &[(3, 1)]).await.unwrap().pinned;
    let back = async |branch: &RefName, to: SnapshotId, policy| {
        let check = lake.catalog.check_rollback(&lake.table, branch, to, policy).await;
        let done = lake.catalog.rollback_branch(&lake.table, branch, to, policy).await;
        // A dry run says what the real one does.
        assert_eq!(check.as_ref().err().map(Error::kind), done.as_ref().err().map(Error::kind));
        done
    };
    let only = RollbackPolicy::AncestorsOnly;
    let error = back(&audit, main.snapshot, only).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("history of `audit`"), "{error}");
    back(&audit, start.snapshot, only).await.unwrap();
    assert_eq!(lake.pin("audit").await.unwrap().snapshot, start.snapshot);
    assert_eq!(lake.pin("latest").await.unwrap(), main);
    back(&audit, ahead.snapshot, RollbackPolicy::Force).await.unwrap();
    assert_eq!(lake.pin("audit").await.unwrap().snapshot, ahead.snapshot);
    lake.catalog.tag(&main, &named("v1"), TagMove::Refuse).await.unwrap();
    let of_tag = back(&named("v1"), start.snapshot, only).await.unwrap_err();
    assert_eq!(of_tag.kind(), ErrorKind::InvalidInput);
    let unknown = back(&named("nope"), start.snapshot, only).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_branch_has_a_past_of_its_own() {
    let (lake, start) = branched().await;
    lake.clock.set("2026-02-01");
    let staged = lake.try_commit(to("audit"), &[(2, 1)]).await.unwrap().pinned;
    lake.clock.set("2026-03-01");
    lake.append(&[(3, 1)]).await;
    lake.try_commit(to("audit"), &[(4, 1)]).await.unwrap();
    assert_eq!(lake.pin("audit@2026-02-15").await.unwrap(), staged);
    assert_eq!(lake.pin("audit@2026-01-15").await.unwrap(), start);
    assert_eq!(lake.pin("2026-02-15").await.unwrap(), start);
    assert_eq!(lake.pin("audit@2025-01-01").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(lake.pin("nope@2026-02-15").await.unwrap_err().kind(), ErrorKind::NotFound);
}
