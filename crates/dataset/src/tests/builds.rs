//! Builds on a catalog, from definitions to rows to learn from.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use icecore_catalog::RollbackPolicy;
use icecore_core::{
    Error, ErrorKind, Knowledge, PinnedTable, ScanOptions, SnapshotCatalog, SnapshotSelector,
    TableName, TimeRange, Timestamp, WriteMode,
};
use icecore_features::Definitions;

use super::lake::{ACCOUNT, ACTIVITY, CHURN, Lake, OUTCOMES, account, activity, outcomes};
use crate::{
    BuildOptions, BuiltDataset, InputRole, LoadOptions, Lock, Verification, build, load, plan,
    verify,
};

async fn built(lake: &Lake, text: &str) -> BuiltDataset {
    let spec = lake.spec(text);
    build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await.unwrap()
}

async fn refused(lake: &Lake, text: &str) -> Error {
    let spec = lake.spec(text);
    build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await.unwrap_err()
}

async fn verified(lake: &Lake, lock: &Lock) -> Verification {
    verify(&lake.engine, lock, Some(&lake.definitions)).await.unwrap()
}

async fn rows(lake: &Lake, pin: &PinnedTable) -> RecordBatch {
    let scan = lake.engine.catalog().scan(pin, ScanOptions::default()).await.unwrap();
    scan.concat().await.unwrap()
}

/// User and day, transactions, balance: the rows of the materialized table.
async fn seen(lake: &Lake, pin: &PinnedTable) -> Vec<(String, Option<i64>, Option<f64>)> {
    let rows = rows(lake, pin).await;
    let users = rows.column_by_name("user_token").unwrap().as_string::<i32>().clone();
    let moments = icecore_pit::moment_micros(rows.column_by_name("event_timestamp").unwrap());
    let moments = moments.unwrap();
    let counts = rows.column_by_name("txn_count_30d").unwrap().as_primitive::<Int64Type>();
    let balances = rows.column_by_name("balance").unwrap().as_primitive::<Float64Type>();
    let row = |row: usize| {
        let day = Timestamp::from_micros(moments.value(row)).date();
        let count = counts.is_valid(row).then(|| counts.value(row));
        let balance = balances.is_valid(row).then(|| balances.value(row));
        (format!("{} {day}", users.value(row)), count, balance)
    };
    (0..rows.num_rows()).map(row).collect()
}

// C116: at 2024-01-15 the count is 3. That of 2024-02-14, 15, lies in the future, and so does that
// of the day when the training ran. C118: no observation is lost.
#[tokio::test(flavor = "multi_thread")]
async fn each_observation_sees_what_was_known_at_its_time() {
    let lake = Lake::filled().await;
    let built = built(&lake, CHURN).await;
    let expected = [
        ("u1 2024-01-15", Some(3), Some(100.0)),
        // The correction of the balance became known on 2024-02-01.
        ("u1 2024-02-20", Some(15), Some(90.0)),
        // An event of the very moment counts; a balance that is known later does not.
        ("u2 2024-01-20", Some(7), None),
        // Older than the ttl of 90 days.
        ("u3 2024-02-01", None, None),
        ("u9 2024-02-20", None, None),
    ];
    let expected = expected.map(|(user, count, balance)| (user.to_owned(), count, balance));
    assert_eq!(seen(&lake, &built.snapshot).await, expected, "in the order of key and moment");

    let columns: Vec<String> = rows(&lake, &built.snapshot)
        .await
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    let expected =
        ["user_token", "event_timestamp", "churned", "txn_count_30d", "amount", "balance"];
    assert_eq!(columns, expected);
    assert_eq!((built.rows, built.lock.rows, built.changed), (5, 5, true));
    let leaks = &built.lock.leak_check;
    assert_eq!((leaks.rows, leaks.violations), (5, 0));
    assert_eq!((leaks.views[0].name.as_str(), leaks.views[0].joined), ("activity", 3));
    assert_eq!(leaks.views[0].newest_before_moment_us, Some(0));
    assert_eq!(leaks.views[0].oldest_before_moment_us, Some(6 * 86_400_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn building_again_changes_nothing() {
    let lake = Lake::filled().await;
    let first = built(&lake, CHURN).await;
    let text = std::fs::read(&first.lockfile).unwrap();
    let again = built(&lake, CHURN).await;
    assert!(first.changed && !again.changed);
    assert_eq!(first.lock, again.lock);
    assert_eq!(std::fs::read(&first.lockfile).unwrap(), text);
    assert_eq!(first.lockfile, lake.path("training/churn.lock.toml"));
    let history = lake.engine.catalog().history(&first.table).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(Lock::read(&first.lockfile).unwrap(), first.lock);

    // Without the lock, the same rows are written once more, and have the same hash.
    std::fs::remove_file(&first.lockfile).unwrap();
    let anew = built(&lake, CHURN).await;
    assert_eq!(anew.content_hash, first.content_hash);
    assert_eq!(anew.lock.columns, first.lock.columns);
    assert_ne!(anew.lock.tag, first.lock.tag, "the tag of the first state stays where it is");
    assert!(verified(&lake, &first.lock).await.equal());
    assert!(verified(&lake, &anew.lock).await.equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_was_read_is_pinned_and_tagged() {
    let lake = Lake::filled().await;
    let built = built(&lake, CHURN).await;
    let inputs: Vec<(InputRole, &str)> =
        built.lock.plan.inputs.iter().map(|input| (input.role, input.pin.table.as_str())).collect();
    assert_eq!(
        inputs,
        [
            (InputRole::Spine, "labels.outcomes"),
            (InputRole::Features, "ml_features.account"),
            (InputRole::Features, "ml_features.activity"),
        ]
    );
    let tag = built.lock.tag.clone();
    assert_eq!(tag.as_str(), format!("dataset-churn-{}", &built.content_hash[..12]));
    let catalog = lake.engine.catalog();
    for pin in built.lock.plan.pins().iter().chain([&built.snapshot]) {
        let tagged = catalog.pin(&pin.table, &SnapshotSelector::Ref(tag.clone())).await.unwrap();
        assert_eq!(tagged, *pin); // C134
    }
}

// D4: neither the order of rows nor the files that they lie in matter.
#[tokio::test(flavor = "multi_thread")]
async fn another_layout_of_the_sources_gives_the_same_content() {
    let (lake, other) = (Lake::filled().await, Lake::new().await);
    let reversed = |batch: RecordBatch| -> Vec<RecordBatch> {
        (0..batch.num_rows()).rev().map(|row| batch.slice(row, 1)).collect()
    };
    for (table, batch) in [
        ("labels.outcomes", outcomes(&OUTCOMES)),
        ("ml_features.activity", activity(&ACTIVITY)),
        ("ml_features.account", account(&ACCOUNT)),
    ] {
        for part in reversed(batch) {
            other.write(table, part, WriteMode::Append).await;
        }
    }
    let (one, two) = (built(&lake, CHURN).await, built(&other, CHURN).await);
    assert_eq!(one.content_hash, two.content_hash);
    assert_eq!(one.lock.columns, two.lock.columns);
    assert_eq!(one.lock.leak_check, two.lock.leak_check);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_from_the_future_change_nothing() {
    let lake = Lake::filled().await;
    let before = built(&lake, CHURN).await;
    let future = [("u1", "2024-02-20T00:00:00.000001Z", -1, -1.0), ("u3", "2024-02-02", -1, -1.0)];
    lake.write("ml_features.activity", activity(&future), WriteMode::Append).await;
    let late = [("u2", "2023-12-01", "2024-01-21", -1.0)];
    lake.write("ml_features.account", account(&late), WriteMode::Append).await;
    let after = built(&lake, CHURN).await;
    assert_eq!(after.content_hash, before.content_hash);
    assert_ne!(after.lock.plan.inputs, before.lock.plan.inputs);

    let known = [("u3", "2024-01-31", 5, 5.0)];
    lake.write("ml_features.activity", activity(&known), WriteMode::Append).await;
    assert_ne!(built(&lake, CHURN).await.content_hash, before.content_hash);
}

// C63: the rows of a lock are there, whatever happened to the tables since.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_verifies_after_its_sources_moved_on() {
    let lake = Lake::filled().await;
    let first = built(&lake, CHURN).await;
    let known = [("u3", "2024-01-31", 5, 5.0)];
    lake.write("ml_features.activity", activity(&known), WriteMode::Append).await;
    lake.write("labels.outcomes", outcomes(&OUTCOMES[..2]), WriteMode::Overwrite).await;
    let second = built(&lake, CHURN).await;
    assert_eq!((first.rows, second.rows), (5, 2));
    let old = first.lock.plan.pins().into_iter().find(|pin| pin.table.table() == "activity");
    let old = old.unwrap();
    let catalog = lake.engine.catalog();
    catalog.rollback(&old.table, old.snapshot, RollbackPolicy::AncestorsOnly).await.unwrap();
    for lock in [&first.lock, &second.lock] {
        let found = verified(&lake, lock).await;
        assert!(found.equal(), "{:?}", found.differences);
        assert!(found.changed_definitions.is_empty());
    }
    assert_eq!(seen(&lake, &first.snapshot).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn verifying_names_what_differs() {
    let lake = Lake::filled().await;
    let built = built(&lake, CHURN).await;
    let stored = lake.write("ml_features.activity", activity(&ACTIVITY[..1]), WriteMode::Overwrite);
    let stored = stored.await;

    let mut tampered = built.lock.clone();
    tampered.plan.inputs[2].pin = stored;
    let found = verified(&lake, &tampered).await;
    assert_eq!(
        found.differences[..2],
        ["column `txn_count_30d` has other values", "column `amount` has other values"]
    );
    // Two rows differ; which one is named depends on the hashes of their keys.
    let row = found.differences[2].strip_prefix("the row (user_token = ").unwrap();
    assert!(row.contains("`txn_count_30d` is"), "{row}");
    assert_eq!(found.stored, found.locked);

    let mut tampered = built.lock.clone();
    tampered.rows = 6;
    let found = verified(&lake, &tampered).await;
    assert_eq!(found.differences[0], "the inputs give 5 rows, and the lock has 6");

    let mut tampered = built.lock.clone();
    tampered.plan.spine.sql.push_str(" WHERE churned");
    let found = verified(&lake, &tampered).await;
    assert_eq!(
        found.differences[0],
        "the spine's query in the lock is not the one that was hashed"
    );

    let mut changed = lake.definitions.clone();
    changed.views[0].ttl = None;
    let found = verify(&lake.engine, &built.lock, Some(&changed)).await.unwrap();
    assert!(found.equal());
    assert_eq!(found.changed_definitions, ["activity"]);
}

// C23, C55, C56, C57, C100: the matrix comes from the pinned rows.
#[tokio::test(flavor = "multi_thread")]
async fn loading_gives_features_labels_and_ids() {
    let lake = Lake::filled().await;
    let built = built(&lake, CHURN).await;
    let loaded = load(&lake.engine, &built.lock, LoadOptions::default()).await.unwrap();
    assert_eq!((loaded.set.rows(), loaded.unlabelled), (4, 1));
    let features = loaded.set.features();
    let names: Vec<&str> =
        features.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["txn_count_30d", "amount", "balance"]);
    let churned: f64 = loaded.set.labels().iter().flatten().sum();
    assert!((churned - 2.0).abs() < f64::EPSILON);
    assert_eq!(loaded.set.provenance()[0], built.snapshot);
    assert_eq!(loaded.set.provenance()[1..], built.lock.plan.pins());
    assert_eq!(loaded.first_moment, Some(Timestamp::parse("2024-01-15").unwrap()));
    let mut ids: Vec<u64> = loaded.set.row_ids().values().to_vec();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "key and moment make the id");

    let range = TimeRange {
        from: Some(Timestamp::parse("2024-01-20").unwrap()),
        to: Some(Timestamp::parse("2024-02-20").unwrap()),
    };
    let part = load(&lake.engine, &built.lock, LoadOptions::default().with_range(range)).await;
    let part = part.unwrap();
    assert_eq!((part.set.rows(), part.unlabelled), (2, 0));
    assert_eq!(part.last_moment, Some(Timestamp::parse("2024-02-01").unwrap()));
}

// C5, C28: later builds do not change what a lock loads, and another state is loaded by name.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_loads_its_own_state_and_others_by_selector() {
    let lake = Lake::filled().await;
    let first = built(&lake, CHURN).await;
    lake.write("labels.outcomes", outcomes(&OUTCOMES[..2]), WriteMode::Overwrite).await;
    let second = built(&lake, CHURN).await;
    let count = async |lock: &Lock, options: LoadOptions| {
        load(&lake.engine, lock, options).await.unwrap().set.rows()
    };
    assert_eq!(count(&first.lock, LoadOptions::default()).await, 4);
    assert_eq!(count(&second.lock, LoadOptions::default()).await, 2);
    let by_tag = SnapshotSelector::Ref(first.lock.tag.clone());
    assert_eq!(count(&second.lock, LoadOptions::default().with_at(by_tag)).await, 4);
    let latest = LoadOptions::default().with_at(SnapshotSelector::Latest);
    assert_eq!(count(&first.lock, latest).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn features_may_be_added_removed_and_renamed() {
    let lake = Lake::filled().await;
    let first = built(&lake, CHURN).await;
    let full =
        CHURN.replace("\"account:balance\"", "\"account:*\"") + "full_feature_names = true\n";
    let full = built(&lake, &full).await;
    let names = full.lock.plan.features();
    assert_eq!(
        names,
        ["activity__txn_count_30d", "activity__amount", "account__balance", "account__tier"]
    );
    for lock in [&first.lock, &full.lock] {
        let found = verified(&lake, lock).await;
        assert!(found.equal(), "{:?}", found.differences);
    }
    let loaded = load(&lake.engine, &full.lock, LoadOptions::default()).await.unwrap();
    let features = loaded.set.features().schema();
    let tier = features.field_with_name("account__tier").unwrap();
    assert_eq!(*tier.data_type(), DataType::Utf8, "categories are features, too");
    let old = SnapshotSelector::Id(first.snapshot.snapshot);
    let error = load(&lake.engine, &full.lock, LoadOptions::default().with_at(old)).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_may_be_read_at_another_state() {
    let lake = Lake::filled().await;
    let first = built(&lake, CHURN).await;
    lake.write("labels.outcomes", outcomes(&OUTCOMES[..1]), WriteMode::Overwrite).await;
    lake.write("ml_features.activity", activity(&ACTIVITY[..1]), WriteMode::Overwrite).await;
    let spec = lake.spec(CHURN);
    let at: Vec<(TableName, SnapshotSelector)> = first
        .lock
        .plan
        .pins()
        .into_iter()
        .map(|pin| (pin.table, SnapshotSelector::Id(pin.snapshot)))
        .collect();
    let same = plan(&lake.engine, &lake.definitions, &spec, &at).await.unwrap();
    assert_eq!(same, first.lock.plan);
    let latest = plan(&lake.engine, &lake.definitions, &spec, &[]).await.unwrap();
    assert_ne!(latest, same);
    let unread = vec![(TableName::parse("labels.outcome").unwrap(), SnapshotSelector::Latest)];
    let error = plan(&lake.engine, &lake.definitions, &spec, &unread).await.unwrap_err();
    assert_eq!(error.to_string(), "the dataset does not read `labels.outcome`");
    assert_eq!(error.help(), Some("did you mean `labels.outcomes`?"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_named_where_it_stands() {
    let lake = Lake::filled().await;
    let error = refused(&lake, &CHURN.replace("account:balance", "account:balnce")).await;
    assert_eq!(error.to_string(), "feature view `account` has no feature `balnce`");
    assert_eq!(error.help(), Some("did you mean `balance`?"));
    assert_eq!(error.location().map(|at| (at.line, at.column)), Some((5, 27)));
    let error = refused(&lake, &CHURN.replace("label = \"churned\"", "label = \"churn\"")).await;
    assert_eq!(error.to_string(), "the spine has no column `churn`, the label");
    assert_eq!(error.help(), Some("did you mean `churned`?"));
    let error = refused(&lake, &CHURN.replace("labels.outcomes", "labels.outcome")).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = refused(&lake, &CHURN.replace("SELECT user_token", "SELECT user_token AS u")).await;
    assert_eq!(
        error.to_string(),
        "the spine has no column `user_token`, by which feature view `activity` is joined"
    );
    let created = format!("knowledge = \"created\"\n{CHURN}");
    let error = refused(&lake, &created).await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!lake.path("training/churn.lock.toml").try_exists().unwrap());

    let renamed = CHURN.replace("SELECT user_token", "SELECT user_token AS u")
        + "[keys]\nuser_token = \"u\"\n";
    assert_eq!(built(&lake, &renamed).await.lock.plan.keys, ["u"]);
}

// C117, D22: the clock that decides is part of the definition and of the lock.
#[tokio::test(flavor = "multi_thread")]
async fn the_clock_that_decides_is_locked() {
    let lake = Lake::filled().await;
    let default = built(&lake, CHURN).await;
    let clocks = |built: &BuiltDataset| -> Vec<Knowledge> {
        built.lock.plan.views.iter().map(|view| view.knowledge).collect()
    };
    assert_eq!(clocks(&default), [Knowledge::Event, Knowledge::Created]);

    let event = built(&lake, &format!("knowledge = \"event\"\n{CHURN}")).await;
    assert_eq!(clocks(&event), [Knowledge::Event; 2]);
    // The correction of the balance of u1 and the late balance of u2 leak into the past.
    let balances: Vec<_> =
        seen(&lake, &event.snapshot).await.into_iter().map(|row| row.2).collect();
    assert_eq!(balances, [Some(90.0), Some(90.0), Some(55.0), None, None]);

    // All of it was committed just now, long after every observation.
    let states = built(&lake, &format!("knowledge = \"snapshot\"\n{CHURN}")).await;
    assert_eq!(clocks(&states), [Knowledge::Snapshot; 2]);
    let seen = seen(&lake, &states.snapshot).await;
    assert!(seen.iter().all(|(_, count, balance)| count.is_none() && balance.is_none()));
    for lock in [&default.lock, &event.lock, &states.lock] {
        assert!(verified(&lake, lock).await.equal());
    }
}

// What requests bring in production are columns of the spine here; what is computed from them is
// the same expression over the same values.
#[tokio::test(flavor = "multi_thread")]
async fn features_that_look_at_a_request_take_it_from_the_spine() {
    let mut lake = Lake::filled().await;
    let views = super::lake::FEATURES.replacen(
        "columns = [\"balance\", \"tier\"]",
        r#"columns = ["balance", "tier"]
        request = [{ name = "asked", type = "double" }]
        [[feature_view.derived]]
        name = "is_covered"
        expression = "coalesce(share, 9) <= 1"
        [[feature_view.derived]]
        name = "share"
        expression = "asked / balance""#,
        1,
    );
    lake.definitions = Definitions::parse("features/all.toml", &views).unwrap();
    let asked = CHURN.replacen("churned FROM", "churned, 45.0 AS asked FROM", 1).replacen(
        "account:balance",
        "account:is_covered",
        1,
    );
    let built = built(&lake, &asked).await;
    let rows = rows(&lake, &built.snapshot).await;
    let names: Vec<String> = rows.schema().fields().iter().map(|f| f.name().clone()).collect();
    let expected = [
        "user_token",
        "event_timestamp",
        "churned",
        "asked",
        "txn_count_30d",
        "amount",
        "is_covered",
    ];
    assert_eq!(names, expected, "the balance is only looked at");
    // 45 of 100, of 90, and three times of nothing.
    let covered: Vec<bool> =
        rows.column(6).as_boolean().iter().map(Option::unwrap_or_default).collect();
    assert_eq!(covered, [true, true, false, false, false]);
    assert!(verified(&lake, &built.lock).await.equal());

    // The lock alone says everything.
    let text = built.lock.to_toml().unwrap();
    assert_eq!(Lock::parse("churn.lock.toml", &text).unwrap(), built.lock);

    let missing = refused(&lake, &asked.replace("asked FROM", "other FROM")).await;
    assert_eq!(missing.to_string(), "the request has no column `asked`");
    assert!(missing.notes().iter().any(|note| note.contains("from the spine")), "{missing:?}");
    // What is only looked at is no column of the set.
    let helper = refused(&lake, &(asked.clone() + "where = \"balance > 5\"\n")).await;
    assert_eq!(helper.help(), Some("add `account:balance` to `features`"), "{helper:?}");
    assert!(helper.notes().iter().all(|note| !note.contains("__")), "{helper:?}");
    assert_eq!(helper.location().map(|at| at.line), Some(asked.lines().count() + 1), "{helper:?}");
    let label = asked.replace("label = \"churned\"", "label = \"asked\"");
    let error = refused(&lake, &label).await.to_string();
    assert_eq!(error, "feature view `account` would take the label `asked` as a request's");
}

// Entities to score, to group, or to look at are sets as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_without_a_label_is_built_verified_and_not_learned_from() {
    let lake = Lake::filled().await;
    let text = CHURN.replace("label = \"churned\"\n", "").replace(", churned FROM", " FROM");
    let split = format!("{text}[split]\nby = \"key\"\n");
    let set = built(&lake, &split).await;
    assert_eq!((set.rows, &set.lock.plan.label), (5, &None));
    assert_eq!(Lock::read(&set.lockfile).unwrap(), set.lock);
    assert!(verified(&lake, &set.lock).await.equal());
    let names = set.lock.columns.iter().map(|column| column.name.as_str());
    let expected = ["user_token", "event_timestamp", "txn_count_30d", "amount", "balance", "split"];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    let error = load(&lake.engine, &set.lock, LoadOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "dataset `churn` has no label to learn");
}
