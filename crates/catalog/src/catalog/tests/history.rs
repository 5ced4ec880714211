//! Pins, and the log of snapshots.

use super::*;

#[tokio::test]
async fn a_pin_reads_the_same_rows_for_ever() {
    let lake = Lake::new().await;
    let empty = lake.pin("latest").await.unwrap();
    assert_eq!(empty.snapshot, PinnedTable::EMPTY);
    let one = lake.append(&[(1, 1)]).await;
    let two = lake.append(&[(2, 2)]).await;
    let three = lake.commit(WriteMode::Overwrite, &[(3, 3)]).await.pinned;
    // C15: every write makes a snapshot of its own.
    let ids: std::collections::BTreeSet<SnapshotId> =
        [&one, &two, &three].map(|pinned| pinned.snapshot).into();
    assert_eq!(ids.len(), 3);
    for catalog in [lake.catalog.clone(), lake.reopened().await] {
        assert_eq!(rows_of(&catalog, &empty).await, []);
        assert_eq!(rows_of(&catalog, &one).await, [(1, 1)]);
        assert_eq!(rows_of(&catalog, &two).await, [(1, 1), (2, 2)]);
        assert_eq!(rows_of(&catalog, &three).await, [(3, 3)]);
    }
    assert_eq!(lake.pin(&two.snapshot.to_string()).await.unwrap(), two);
    assert_eq!(lake.pin("main").await.unwrap(), three);
}

#[tokio::test]
async fn as_of_means_the_last_commit_that_is_not_after_it() {
    let lake = Lake::new().await;
    lake.clock.set("2026-01-05T10:00:00Z");
    let one = lake.append(&[(1, 1)]).await;
    lake.clock.set("2026-01-06T10:00:00.250Z");
    let two = lake.append(&[(2, 1)]).await;
    // C18: "closest to but not after", at millisecond resolution.
    for (moment, expected) in [
        ("2026-01-05T10:00:00Z", &one),
        ("2026-01-06", &one),
        ("2026-01-06T10:00:00.249999Z", &one),
        ("2026-01-06T10:00:00.250Z", &two),
        ("2026-01-06T12:00:00.250+02:00", &two),
        ("2030-01-01", &two),
    ] {
        assert_eq!(lake.pin(moment).await.unwrap(), *expected, "{moment}");
    }
    // C132
    let error = lake.pin("2026-01-05T09:59:59.999Z").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        error.notes(),
        [format!("its first snapshot, {}, was committed at 2026-01-05T10:00:00Z", one.snapshot)]
    );
    assert_eq!(error.help(), Some("ask for 2026-01-05T10:00:00Z or later"));
}

#[tokio::test]
async fn as_of_follows_main_after_a_rollback() {
    let lake = Lake::new().await;
    lake.clock.set("2026-02-01");
    let one = lake.append(&[(1, 1)]).await;
    lake.clock.set("2026-02-02");
    lake.append(&[(2, 1)]).await;
    lake.clock.set("2026-02-03");
    lake.catalog.rollback(&lake.table, one.snapshot, RollbackPolicy::AncestorsOnly).await.unwrap();
    assert_eq!(lake.pin("2026-02-02T12:00:00Z").await.unwrap(), one);
}

#[tokio::test]
async fn the_log_is_in_order_and_names_parents_and_refs() {
    let lake = Lake::new().await;
    assert_eq!(lake.catalog.history(&lake.table).await.unwrap(), []);
    let mut pins = Vec::new();
    for number in 0..12 {
        lake.clock.advance_ms(1);
        pins.push(lake.append(&[(number, 1)]).await);
    }
    let catalog = lake.reopened().await;
    catalog.tag(&pins[3], &named("v1"), TagMove::Refuse).await.unwrap();
    catalog.branch(&pins[3], &named("side")).await.unwrap();
    let log = catalog.history(&lake.table).await.unwrap();
    // C127, C128
    let ids: Vec<SnapshotId> = log.iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(ids, pins.iter().map(|pinned| pinned.snapshot).collect::<Vec<_>>());
    let parents: Vec<Option<SnapshotId>> = log.iter().map(|snapshot| snapshot.parent).collect();
    assert_eq!(parents[0], None);
    assert!(parents[1..].iter().zip(&ids).all(|(parent, id)| *parent == Some(*id)));
    assert!(log.iter().all(|snapshot| snapshot.on_main && snapshot.operation == "append"));
    assert_eq!(log[3].refs, [named("side"), named("v1")]);
    assert_eq!(log[11].refs, [RefName::main()]);
    assert_eq!(log[11].committed_at, Timestamp::from_micros(at("2026-01-01").micros() + 12_000));
    // C93
    assert_eq!((log[5].count("added-records"), log[5].count("total-records")), (1, 6));
}

#[tokio::test]
async fn commit_times_never_run_backwards() {
    let lake = Lake::new().await;
    lake.clock.set("2026-03-02");
    lake.append(&[(1, 1)]).await;
    lake.clock.set("2026-03-01");
    lake.append(&[(2, 1)]).await;
    lake.catalog
        .set_properties(&lake.table, [("a".into(), "b".into())].into(), vec![])
        .await
        .unwrap();
    lake.append(&[(3, 1)]).await;
    let times: Vec<Timestamp> =
        lake.catalog.history(&lake.table).await.unwrap().iter().map(|s| s.committed_at).collect();
    assert_eq!(times, [at("2026-03-02"); 3]);
}

#[tokio::test]
async fn what_does_not_exist_is_named_with_what_is_near() {
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1)]).await;
    lake.catalog.tag(&one, &named("v1.0"), TagMove::Refuse).await.unwrap();
    // C129, C130
    assert_eq!(lake.pin("v1.0").await.unwrap(), one);
    let error = lake.pin("v1.1").await.unwrap_err();
    assert_eq!((error.kind(), error.help()), (ErrorKind::NotFound, Some("did you mean `v1.0`?")));
    assert_eq!(error.notes(), ["tags and branches: main, v1.0"]);
    // C131
    let mistyped = SnapshotId::new(one.snapshot.get() ^ 1);
    let error = lake.pin(&mistyped.to_string()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), format!("table `ns.events` has no snapshot `{mistyped}`"));
    assert_eq!(error.help(), Some(format!("did you mean `{}`?", one.snapshot).as_str()));
    let unknown = |name: &str| TableName::parse(name).unwrap();
    let pin = async |name: &str| {
        lake.catalog.pin(&unknown(name), &SnapshotSelector::Latest).await.unwrap_err()
    };
    assert_eq!(pin("ns.event").await.help(), Some("did you mean `ns.events`?"));
    assert_eq!(pin("elsewhere.events").await.help(), Some("did you mean `ns.events`?"));
    assert_eq!(pin("x.y").await.kind(), ErrorKind::NotFound);
}

/// What an expiry does to the metadata.
async fn expire(lake: &Lake, snapshot: SnapshotId) {
    let plan = |_: &Table| {
        Ok(Plan::Apply {
            requirements: vec![],
            updates: vec![TableUpdate::RemoveSnapshots { snapshot_ids: vec![snapshot.get()] }],
        })
    };
    lake.catalog.edit(&lake.table, plan).await.unwrap();
}

#[tokio::test]
async fn a_pin_of_an_expired_snapshot_says_so() {
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1)]).await;
    let two = lake.append(&[(2, 1)]).await;
    lake.append(&[(3, 1)]).await;
    lake.clock.set("2026-05-05T05:05:05Z");
    expire(&lake, one.snapshot).await;
    lake.clock.set("2026-06-06");
    lake.append(&[(4, 1)]).await;
    // C133
    let error = lake.catalog.scan(&one, ScanOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let id = one.snapshot;
    assert_eq!(
        error.to_string(),
        format!("snapshot `{id}` of table `ns.events` was expired at 2026-05-05T05:05:05Z")
    );
    assert_eq!(
        lake.pin(&one.snapshot.to_string()).await.unwrap_err().to_string(),
        error.to_string()
    );
    assert_eq!(lake.rows(&two).await, [(1, 1), (2, 1)]);
    let error = lake.pin("2025-12-31").await.unwrap_err();
    assert!(error.notes().contains(&"older snapshots were expired".to_owned()), "{error:?}");
}

#[tokio::test]
async fn a_pin_is_of_one_table_and_not_of_its_name() {
    let lake = Lake::new().await;
    let old = lake.append(&[(1, 1)]).await;
    lake.catalog.drop_table(&lake.table).await.unwrap();
    let error = lake.pin("latest").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let new = NewTable::new(columns()).with_partition_by(["day"]);
    assert!(lake.catalog.ensure_table(&lake.table, &new).await.unwrap());
    lake.append(&[(2, 1)]).await;
    let error = lake.catalog.scan(&old, ScanOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.notes()[0].contains("dropped and created again"), "{error:?}");
    assert_eq!(lake.rows_now().await, [(2, 1)]);
}
