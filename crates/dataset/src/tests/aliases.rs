//! Views that a set joins under other names, by other columns and other rules.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use icecore_core::Knowledge;
use icecore_features::Definitions;

use super::lake::{FEATURES, Lake};
use crate::{
    Asked, BuildOptions, BuiltDataset, HandOff, LoadOptions, Lock, Retrieval, build, load, plan,
    retrieve, stream, verify,
};

/// Each row has a peer beside its user: of u1 it is u2, of all others u1.
const PEERS: &str = r#"
name = "churn"
spine = """
SELECT user_token, CASE WHEN user_token = 'u1' THEN 'u2' ELSE 'u1' END AS peer,
  observed_at AS event_timestamp, churned
FROM labels.outcomes
"""
label = "churned"
features = [
  "activity:txn_count_30d", "of_peer:txn_count_30d", "recent:txn_count_30d",
  "account:balance", "booked:balance",
]
full_feature_names = true

[view.of_peer]
of = "activity"
keys = { user_token = "peer" }

[view.recent]
of = "activity"
ttl = "1d"

[view.booked]
of = "account"
knowledge = "event"
"#;

async fn built(lake: &Lake, text: &str) -> BuiltDataset {
    let spec = lake.spec(text);
    build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await.unwrap()
}

async fn rows(lake: &Lake, set: &BuiltDataset) -> RecordBatch {
    let rows = stream(&lake.engine, &set.lock, HandOff::default()).await.unwrap();
    rows.concat().await.unwrap()
}

fn counts(rows: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    rows.column_by_name(column).unwrap().as_primitive::<Int64Type>().iter().collect()
}

fn balances(rows: &RecordBatch, column: &str) -> Vec<Option<f64>> {
    rows.column_by_name(column).unwrap().as_primitive::<Float64Type>().iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_joined_as_often_as_a_set_names_it() {
    let mut lake = Lake::filled().await;
    let set = built(&lake, PEERS).await;
    let seen = rows(&lake, &set).await;
    // u1 in January and in February, u2, u3, u9.
    let own = [Some(3), Some(15), Some(7), None, None];
    assert_eq!(counts(&seen, "activity__txn_count_30d"), own);
    let of_peer = [None, Some(8), Some(3), Some(3), Some(15)];
    assert_eq!(counts(&seen, "of_peer__txn_count_30d"), of_peer);
    assert_eq!(counts(&seen, "recent__txn_count_30d"), [None, None, Some(7), None, None]);
    let known = [Some(100.0), Some(90.0), None, None, None];
    assert_eq!(balances(&seen, "account__balance"), known);
    let booked = [Some(90.0), Some(90.0), Some(55.0), None, None];
    assert_eq!(balances(&seen, "booked__balance"), booked, "as if corrections had been known");

    let lock = Lock::read(&set.lockfile).unwrap();
    assert_eq!(lock, set.lock);
    assert_eq!(lock.plan.keys, ["user_token", "peer"]);
    let views = &lock.plan.views;
    assert_eq!((views[1].of.as_deref(), views[1].view()), (Some("activity"), "activity"));
    assert_eq!(views[1].keys, [("user_token".to_owned(), "peer".to_owned())]);
    assert_eq!(views[1].definition_hash, views[0].definition_hash);
    assert_eq!((views[0].of.as_deref(), views[4].knowledge), (None, Knowledge::Event));
    assert_eq!(views[3].knowledge, Knowledge::Created);
    let joined = lock.leak_check.views.iter().map(|view| (view.name.as_str(), view.joined));
    let expected = [("activity", 3), ("of_peer", 4), ("recent", 1), ("account", 2), ("booked", 3)];
    assert_eq!(joined.collect::<Vec<_>>(), expected);
    let loaded = load(&lake.engine, &lock, LoadOptions::default()).await.unwrap();
    assert_eq!(loaded.set.features().num_columns(), 5);

    let changed = FEATURES.replace("90d", "80d");
    lake.definitions = Definitions::parse("f.toml", &changed).unwrap();
    let found = verify(&lake.engine, &lock, Some(&lake.definitions)).await.unwrap();
    assert!(found.equal(), "{:?}", found.differences);
    assert_eq!(found.changed_definitions, ["activity"], "one definition, however often joined");
}

// What a set says of views, whoever asks for features says as well.
#[tokio::test(flavor = "multi_thread")]
async fn features_for_rows_at_hand_are_those_of_the_set() {
    let lake = Lake::filled().await;
    let spec = lake.spec(PEERS);
    let is_used = |view: &str| spec.takes_features_of(view);
    assert!(is_used("activity") && is_used("account") && !is_used("of_peer"));
    let set = rows(&lake, &built(&lake, PEERS).await).await;
    let mut retrieval = Retrieval::new(spec.features.clone());
    retrieval.views.clone_from(&spec.views);
    retrieval.full_feature_names = true;
    let sql = format!("{} ORDER BY user_token, observed_at", spec.spine_sql().unwrap());
    let asked = Asked::Query(sql);
    let found = retrieve(&lake.engine, &lake.definitions, asked, &retrieval).await.unwrap();
    let found = found.rows.concat().await.unwrap();
    for column in ["activity", "of_peer", "recent"].map(|view| format!("{view}__txn_count_30d")) {
        assert_eq!(counts(&found, &column), counts(&set, &column), "{column}");
    }
    assert_eq!(balances(&found, "booked__balance"), balances(&set, "booked__balance"));
}

/// Right and wrong, the place, the message, what helps.
type Mistake = (&'static str, &'static str, (usize, usize), &'static str, &'static str);

const MISTAKES: &[Mistake] = &[
    (
        "\"of_peer:txn_count_30d\"",
        "\"of_per:txn_count_30d\"",
        (10, 29),
        "there is no feature view `of_per`",
        "did you mean `of_peer`?",
    ),
    (
        "\"of_peer:txn_count_30d\"",
        "\"of_peer:txn_count_3d\"",
        (10, 29),
        "feature view `activity` has no feature `txn_count_3d`",
        "did you mean `txn_count_30d`?",
    ),
    (
        "of = \"account\"",
        "of = \"acount\"",
        (24, 6),
        "there is no feature view `acount`",
        "did you mean `account`?",
    ),
    (
        "[view.recent]",
        "[view.account]",
        (19, 7),
        "`account` cannot be another name of `activity`: there is a feature view `account`",
        "write a name that no feature view has, or leave `of` out",
    ),
    (
        "[view.recent]",
        "[view.\"re cent\"]",
        (19, 7),
        "`re cent` cannot be another name of a feature view",
        "use letters, digits and `_`, and begin with a letter",
    ),
    (
        "[view.recent]",
        "[view.recnt]",
        (10, 54),
        "there is no feature view `recent`",
        "did you mean `recnt`?",
    ),
    (
        "{ user_token = \"peer\" }",
        "{ user_tokn = \"peer\" }",
        (17, 10),
        "`keys` of `of_peer` renames `user_tokn`, by which the view is not joined",
        "did you mean `user_token`?",
    ),
    (
        "{ user_token = \"peer\" }",
        "{ user_token = \"per\" }",
        (17, 23),
        "the spine has no column `per`, by which feature view `of_peer` is joined",
        "did you mean `peer`?",
    ),
    (
        "{ user_token = \"peer\" }",
        "{ user_token = \"churned\" }",
        (17, 23),
        "the spine's column `churned` is Boolean, but key `user_token` of feature view \
         `of_peer` is Utf8",
        "cast it in the spine: `CAST(churned AS VARCHAR) AS churned`",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_names_and_keys_are_named_with_their_place() {
    let lake = Lake::filled().await;
    for (right, wrong, place, message, help) in MISTAKES.iter().copied() {
        assert!(PEERS.contains(right), "{right}");
        let spec = lake.spec(&PEERS.replacen(right, wrong, 1));
        let error = plan(&lake.engine, &lake.definitions, &spec, &[]).await.unwrap_err();
        assert_eq!(error.to_string(), message);
        let at = error.location().map(|at| (at.line, at.column));
        assert_eq!(at, Some(place), "{message}");
        assert_eq!(error.help(), Some(help), "{message}");
    }
    let untaken = format!("{PEERS}[view.unused]\nof = \"account\"\n");
    let spec = lake.spec(&untaken);
    let error = plan(&lake.engine, &lake.definitions, &spec, &[]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "dataset `churn` takes no feature of `unused`, which it has rules for"
    );
    assert_eq!(error.location().map(|at| at.line), Some(26));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_has_moments_and_ages_of_its_views_where_it_asks_for_them() {
    let lake = Lake::filled().await;
    let plain = built(&lake, PEERS).await;
    let with = "with_event_timestamps = true\nwith_ages = true\nlabel = ";
    let set = built(&lake, &PEERS.replace("label = ", with)).await;
    let seen = rows(&lake, &set).await;
    let day = 86_400_000_000;
    let ages = [None, Some(30), Some(10), Some(22), Some(6)].map(|days| days.map(|d| d * day));
    assert_eq!(counts(&seen, "of_peer__age_us"), ages);
    let schema = seen.schema();
    let moments = schema.field_with_name("of_peer__event_timestamp").unwrap();
    assert!(matches!(moments.data_type(), DataType::Timestamp(..)), "{moments}");
    assert_eq!(seen.num_columns(), rows(&lake, &plain).await.num_columns() + 2 * 5);
    let oldest = set.lock.leak_check.views[1].oldest_before_moment_us;
    assert_eq!(oldest, Some(30 * day), "the proof is of the same moments");
    let statistics = set.lock.columns.iter().map(|column| column.name.as_str());
    assert!(statistics.into_iter().any(|name| name == "booked__age_us"));
    assert_eq!(Lock::read(&set.lockfile).unwrap(), set.lock);
    assert!(verify(&lake.engine, &set.lock, None).await.unwrap().equal());
    // What says how old a feature is is none.
    let loaded = load(&lake.engine, &set.lock, LoadOptions::default()).await.unwrap();
    assert_eq!(loaded.set.features().num_columns(), 5);
    // They can be filtered by.
    let filtered = format!("where = \"of_peer__age_us < {}\"\nlabel = ", 20 * day);
    let text = PEERS.replace("label = ", with).replace("label = ", &filtered);
    assert_eq!(built(&lake, &text).await.rows, 2);
}
