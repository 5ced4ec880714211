//! Tags, branches and rollbacks.

use super::*;
use crate::MetadataTable;
use crate::RefKind;
use crate::refs::Retention;

async fn property(lake: &Lake, name: &str) -> Option<String> {
    lake.catalog.describe(&lake.table).await.unwrap().properties.get(name).cloned()
}

#[tokio::test]
async fn a_tag_names_a_snapshot_and_is_mirrored_in_properties() {
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1), (2, 1)]).await;
    lake.append(&[(3, 1)]).await;
    lake.clock.set("2026-04-01T12:00:00Z");
    let tag = named("v3.2");
    lake.catalog.tag(&one, &tag, TagMove::Refuse).await.unwrap();
    assert_eq!(lake.pin("v3.2").await.unwrap(), one);
    // C94, C139, D3: the ref protects, the properties are for those who look there.
    for (field, expected) in [
        ("snapshot_id", one.snapshot.to_string()),
        ("created_at", "2026-04-01T12:00:00Z".to_owned()),
        ("row_count", "2".to_owned()),
    ] {
        let name = format!("training-dataset.v3.2.{field}");
        assert_eq!(property(&lake, &name).await, Some(expected), "{name}");
    }
    let refs = lake.catalog.refs(&lake.table).await.unwrap();
    let names: Vec<(&str, RefKind)> =
        refs.iter().map(|found| (found.name.as_str(), found.kind)).collect();
    assert_eq!(names, [("main", RefKind::Branch), ("v3.2", RefKind::Tag)]);
    lake.catalog.drop_ref(&lake.table, &tag).await.unwrap();
    assert_eq!(lake.pin("v3.2").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(property(&lake, "training-dataset.v3.2.snapshot_id").await, None);
    let error = lake.catalog.drop_ref(&lake.table, &tag).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_tag_moves_only_by_force() {
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1)]).await;
    let two = lake.append(&[(2, 1)]).await;
    let tag = named("v1");
    lake.catalog.tag(&one, &tag, TagMove::Refuse).await.unwrap();
    lake.catalog.tag(&one, &tag, TagMove::Refuse).await.unwrap();
    // C140
    let error = lake.catalog.tag(&two, &tag, TagMove::Refuse).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(lake.pin("v1").await.unwrap(), one);
    lake.catalog.tag(&two, &tag, TagMove::Force).await.unwrap();
    assert_eq!(lake.pin("v1").await.unwrap(), two);
    assert_eq!(
        property(&lake, "training-dataset.v1.snapshot_id").await,
        Some(two.snapshot.to_string())
    );
    let branch = named("side");
    lake.catalog.branch(&one, &branch).await.unwrap();
    lake.catalog.branch(&one, &branch).await.unwrap();
    for result in [
        lake.catalog.tag(&one, &branch, TagMove::Force).await,
        lake.catalog.tag(&one, &RefName::main(), TagMove::Force).await,
        lake.catalog.branch(&two, &branch).await,
        lake.catalog.branch(&one, &tag).await,
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
    let error = lake.catalog.drop_ref(&lake.table, &RefName::main()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn nothing_can_be_named_before_the_first_commit() {
    let lake = Lake::new().await;
    let empty = lake.pin("latest").await.unwrap();
    let error = lake.catalog.tag(&empty, &named("v0"), TagMove::Refuse).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_rollback_keeps_what_it_leaves() {
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1)]).await;
    let two = lake.append(&[(2, 1)]).await;
    lake.clock.set("2026-04-02");
    let policy = RollbackPolicy::AncestorsOnly;
    let back = lake.catalog.rollback(&lake.table, one.snapshot, policy).await.unwrap();
    assert_eq!(back, one);
    assert_eq!(lake.rows_now().await, [(1, 1)]);
    // C135: nothing is lost, and the log says what happened and when.
    assert_eq!(lake.rows(&two).await, [(1, 1), (2, 1)]);
    let log = lake.catalog.history(&lake.table).await.unwrap();
    assert_eq!([log[0].on_main, log[1].on_main], [true, false]);
    let history = lake.catalog.metadata_table(&lake.table, MetadataTable::History).await.unwrap();
    assert_eq!(history.num_rows(), 3);
    use arrow::array::AsArray;
    let moments = history.column(0).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(moments.value(2), at("2026-04-02").micros());
    // C136
    let error = lake.catalog.rollback(&lake.table, two.snapshot, policy).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = lake.catalog.rollback(&lake.table, SnapshotId::new(5), policy).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    lake.catalog.rollback(&lake.table, two.snapshot, RollbackPolicy::Force).await.unwrap();
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 1)]);
    let three = lake.append(&[(3, 1)]).await;
    assert_eq!(lake.rows(&three).await, [(1, 1), (2, 1), (3, 1)]);
}

#[tokio::test]
async fn refs_are_a_table_with_what_is_kept_of_them() {
    use crate::MetadataTable;
    use crate::refs::Retention;
    use arrow::array::AsArray;
    let lake = Lake::new().await;
    let pinned = lake.append(&[(1, 1)]).await;
    let kept = Retention::default().with_min_snapshots_to_keep(3).with_max_ref_age_ms(99);
    lake.catalog.branch_with(&pinned, &named("audit"), kept).await.unwrap();
    let refs = lake.catalog.metadata_table_at(&pinned, MetadataTable::Refs).await.unwrap();
    assert_eq!(
        refs.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(),
        ["audit", "main"]
    );
    let ages = refs.column_by_name("max_reference_age_in_ms").unwrap();
    assert_eq!(ages.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(99), None]);
    let counts = refs.column_by_name("min_snapshots_to_keep").unwrap();
    let counts = counts.as_primitive::<arrow::datatypes::Int32Type>();
    assert_eq!(counts.iter().collect::<Vec<_>>(), [Some(3), None]);
}

// What is checked comes to what the change would come to, and nothing is different afterwards.
#[tokio::test]
async fn checks_of_names_say_what_changes_would_and_change_nothing() {
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1)]).await;
    let two = lake.append(&[(2, 2)]).await;
    let (catalog, table) = (&lake.catalog, &lake.table);
    let (old, new, keep) = (named("old"), named("new"), Retention::default());
    catalog.tag(&one, &old, TagMove::Refuse).await.unwrap();
    let before = catalog.describe(table).await.unwrap().metadata_location;

    catalog.check_tag(&one, &new, TagMove::Refuse, keep).await.unwrap();
    catalog.check_tag(&two, &old, TagMove::Force, keep).await.unwrap();
    let error = catalog.check_tag(&two, &old, TagMove::Refuse, keep).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    catalog.check_branch(&one, &new, keep).await.unwrap();
    assert!(catalog.check_branch(&one, &old, keep).await.is_err());
    catalog.check_drop_ref(table, &old).await.unwrap();
    assert_eq!(catalog.check_drop_ref(table, &new).await.unwrap_err().kind(), ErrorKind::NotFound);

    let free = TableName::parse("ns.free").unwrap();
    catalog.check_rename_table(table, &free).await.unwrap();
    assert!(catalog.check_rename_table(&free, table).await.is_err());
    catalog.check_register_table(&free, &before).await.unwrap();
    for (name, location) in [(table, before.clone()), (&free, format!("{before}.gone"))] {
        assert!(catalog.check_register_table(name, &location).await.is_err());
    }
    let error = catalog.check_rename_table(table, table).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(catalog.describe(table).await.unwrap().metadata_location, before);
    assert_eq!(catalog.tables().await.unwrap(), std::slice::from_ref(table));
}
