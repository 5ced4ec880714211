//! Sets whose queries read views that the catalog keeps.

use icecore_core::{CommitOptions, SnapshotSelector, Timestamp};
use icecore_engine::View;
use icecore_features::Definitions;

use super::lake::{CHURN, FEATURES, Lake};
use crate::{BuildOptions, BuiltDataset, InputRole, build, plan, verify};

const CREDIT: &str = r#"
[[feature_view]]
name = "credit"
entities = ["user"]
source_sql = "SELECT * FROM ml_features.good_account"
created_timestamp = "created"
table = "ml_features.credit"
[[feature_view.aggregate]]
name = "credit"
function = "sum"
column = "balance"
windows = ["90d"]
"#;

async fn put(lake: &Lake, name: &str, sql: &str) {
    let view = View {
        name: name.parse().unwrap(),
        sql: sql.to_owned(),
        made_by: "test".to_owned(),
        created_at: Timestamp::from_micros(0),
    };
    assert!(lake.engine.put_view(&view, CommitOptions::default()).await.unwrap());
}

async fn built(lake: &Lake, text: &str) -> BuiltDataset {
    let spec = lake.spec(text);
    build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await.unwrap()
}

fn inputs(set: &BuiltDataset) -> Vec<(InputRole, &str)> {
    set.lock.plan.inputs.iter().map(|input| (input.role, input.pin.table.as_str())).collect()
}

async fn is_built_again(lake: &Lake, set: &BuiltDataset) {
    let found = verify(&lake.engine, &set.lock, Some(&lake.definitions)).await.unwrap();
    assert!(found.equal(), "{:?}", found.differences);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_built_again_from_what_its_views_said() {
    let lake = Lake::filled().await;
    put(&lake, "labels.known", "SELECT * FROM labels.outcomes").await;
    let text = CHURN.replace("labels.outcomes", "labels.known");
    let first = built(&lake, &text).await;
    for table in ["icecore.views", "labels.outcomes"] {
        assert!(inputs(&first).contains(&(InputRole::Spine, table)), "{:?}", inputs(&first));
    }
    put(&lake, "labels.known", "SELECT * FROM labels.outcomes WHERE churned").await;
    is_built_again(&lake, &first).await;
    let next = built(&lake, &text).await;
    assert_eq!((first.rows, next.rows), (5, 2));
    // The state of the views can be named as that of any input.
    let pins = first.lock.plan.pins();
    let views = pins.iter().find(|pin| pin.table.as_str() == "icecore.views").unwrap();
    let at = [(views.table.clone(), SnapshotSelector::Id(views.snapshot))];
    let then = plan(&lake.engine, &lake.definitions, &lake.spec(&text), &at).await.unwrap();
    assert_eq!(then.inputs, first.lock.plan.inputs);
}

// Which tables a query reads is a matter of the state of its views, and those that it does not read
// then may be inputs of something else.
#[tokio::test(flavor = "multi_thread")]
async fn states_are_those_of_the_tables_that_views_read_then() {
    let lake = Lake::filled().await;
    put(&lake, "labels.known", "SELECT * FROM labels.outcomes").await;
    let text = CHURN.replace("labels.outcomes", "labels.known");
    let first = built(&lake, &text).await;
    let pins = first.lock.plan.pins();
    let at: Vec<_> =
        pins.into_iter().map(|pin| (pin.table, SnapshotSelector::Id(pin.snapshot))).collect();
    assert_eq!(at.len(), 4);
    let now = "SELECT user_token, event_timestamp AS observed_at, amount > 50 AS churned \
               FROM ml_features.activity";
    put(&lake, "labels.known", now).await;
    let spec = lake.spec(&text);
    let then = plan(&lake.engine, &lake.definitions, &spec, &at).await.unwrap();
    assert_eq!(then.inputs, first.lock.plan.inputs);
    // A view that is gone by now was there then.
    assert!(lake.engine.drop_view(&"labels.known".parse().unwrap()).await.unwrap());
    let then = plan(&lake.engine, &lake.definitions, &spec, &at).await.unwrap();
    assert_eq!(then.inputs, first.lock.plan.inputs);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_at_moments_see_the_events_that_their_view_gave() {
    let mut lake = Lake::filled().await;
    lake.definitions = Definitions::parse("f.toml", &format!("{FEATURES}{CREDIT}")).unwrap();
    let good = "SELECT * FROM ml_features.account WHERE balance > 0";
    put(&lake, "ml_features.good_account", good).await;
    let text = CHURN.replace("\"activity:*\", \"account:balance\"", "\"credit:*\"");
    let set = built(&lake, &format!("{text}[view.credit]\nwindows = \"moment\"\n")).await;
    for table in ["icecore.views", "ml_features.account"] {
        assert!(inputs(&set).contains(&(InputRole::Events, table)), "{:?}", inputs(&set));
    }
    assert_eq!(set.lock.plan.views[0].table.as_str(), "ml_features.account");
    let better = "SELECT * FROM ml_features.account WHERE balance > 95";
    put(&lake, "ml_features.good_account", better).await;
    is_built_again(&lake, &set).await;
}
