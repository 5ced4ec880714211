//! Where the rows of a set may go, and what decides them.

use icecore_core::{
    CommitOptions, Error, NewTable, ScanOptions, SnapshotCatalog, TableName, WriteMode,
};
use icecore_features::Definitions;

use super::lake::{ACCOUNT, CHURN, FEATURES, Lake, OUTCOMES, account, outcomes};
use crate::{BuildOptions, BuiltDataset, build, verify};

async fn tried(lake: &Lake, text: &str) -> Result<BuiltDataset, Error> {
    let spec = lake.spec(text);
    build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await
}

async fn refused(lake: &Lake, text: &str) -> Error {
    tried(lake, text).await.unwrap_err()
}

fn into(table: &str) -> String {
    format!("table = \"{table}\"{CHURN}")
}

const CREDIT: &str = r#"
[[feature_view]]
name = "credit"
entities = ["user"]
source = "ml_features.account"
table = "ml_features.credit"
[[feature_view.aggregate]]
name = "credit"
function = "sum"
column = "balance"
windows = ["90d"]
"#;

// A build replaces the whole table: its own inputs, for one, would be gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_the_sets_own_is_not_overwritten() {
    let mut lake = Lake::filled().await;
    lake.definitions = Definitions::parse("f.toml", &format!("{FEATURES}{CREDIT}")).unwrap();
    lake.write("ml_other.rows", outcomes(&OUTCOMES), WriteMode::Append).await;
    let catalog = lake.engine.catalog().clone();
    for (table, whose) in [
        ("labels.outcomes", "which it reads"),
        ("ml_features.activity", "which it reads"),
        ("ml_features.credit", "the table of feature view `credit`"),
        ("ml_other.rows", "rows that no build of this set wrote"),
    ] {
        let name: TableName = table.parse().unwrap();
        let before = catalog.describe(&name).await.ok();
        let error = refused(&lake, &into(table)).await;
        let expected = format!("dataset `churn` would overwrite `{table}`, {whose}");
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.location().map(|at| (at.line, at.column)), Some((1, 9)), "{table}");
        assert_eq!(catalog.describe(&name).await.ok(), before, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sets_do_not_share_a_table() {
    let lake = Lake::filled().await;
    let first = tried(&lake, CHURN).await.unwrap();
    let other = into("ml_training.churn").replace("name = \"churn\"", "name = \"other\"");
    let error = refused(&lake, &other).await;
    let expected = "dataset `other` would overwrite `ml_training.churn`, ";
    assert_eq!(error.to_string(), format!("{expected}the rows of dataset `churn`"));
    // Nor if none of them is built.
    std::fs::write(lake.path("training/another.toml"), CHURN).unwrap();
    let error = refused(&lake, &other).await;
    assert_eq!(error.to_string(), format!("{expected}the table of dataset `churn`"));
    std::fs::remove_file(lake.path("training/another.toml")).unwrap();
    // Rows that people take out or put in do not make a set's table another's.
    lake.write("labels.outcomes", outcomes(&OUTCOMES[..2]), WriteMode::Overwrite).await;
    let catalog = lake.engine.catalog();
    let rows = catalog.scan(&first.snapshot, ScanOptions::default()).await.unwrap();
    let append = CommitOptions::new(WriteMode::Append);
    assert!(catalog.commit(&first.table, rows, append).await.unwrap().changed);
    assert_eq!(tried(&lake, CHURN).await.unwrap().rows, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_leaves_the_columns_as_they_were() {
    let lake = Lake::filled().await;
    let few = CHURN.replace("\"activity:*\", \"account:balance\"", "\"activity:*\"");
    tried(&lake, &few).await.unwrap();
    let refuse = "[maturity]\nafter = \"30d\"\nas_of = \"2024-03-02\"\nunmatured = \"refuse\"\n";
    refused(&lake, &format!("{CHURN}{refuse}")).await;
    let table = "ml_training.churn".parse().unwrap();
    let columns = lake.engine.catalog().describe(&table).await.unwrap().schema;
    assert!(columns.column_with_name("balance").is_none(), "{columns:?}");
    tried(&lake, CHURN).await.unwrap();
    let columns = lake.engine.catalog().describe(&table).await.unwrap().schema;
    assert!(columns.column_with_name("balance").is_some(), "{columns:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_partitions_the_rows_lack_is_left_alone() {
    let lake = Lake::filled().await;
    let table: TableName = "ml_training.churn".parse().unwrap();
    let new = NewTable::new(account(&ACCOUNT).schema()).with_partition_by(["tier"]);
    lake.engine.catalog().ensure_table(&table, &new).await.unwrap();
    let before = lake.engine.catalog().describe(&table).await.unwrap();
    let error = refused(&lake, CHURN).await;
    let expected =
        "table `ml_training.churn` needs a column `tier`, which the rows of the set have not";
    assert_eq!(error.to_string(), expected);
    assert_eq!(lake.engine.catalog().describe(&table).await.unwrap(), before);
}

// C63: what is another set each time can never be built again.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_pins_do_not_decide_are_refused() {
    let lake = Lake::filled().await;
    let spine = |more: &str| {
        CHURN.replace("FROM labels.outcomes\"", &format!("FROM labels.outcomes {more}\""))
    };
    for (more, function) in [
        ("WHERE random() < 0.5", "random"),
        ("WHERE observed_at < now()", "now"),
        ("ORDER BY random() LIMIT 2", "random"),
    ] {
        let error = refused(&lake, &spine(more)).await;
        assert_eq!(error.to_string(), format!("the spine depends on `{function}`"));
        assert_eq!(error.location().map(|at| at.line), Some(3), "{more}");
    }
    let filtered = format!("{CHURN}where = \"event_timestamp < now()\"\n");
    let error = refused(&lake, &filtered).await;
    assert_eq!(error.to_string(), "`event_timestamp < now()` depends on `now`");
    assert_eq!(error.location().map(|at| at.line), Some(6));
    assert!(!lake.path("training/churn.lock.toml").try_exists().unwrap());
    // In which order rows come decides nothing.
    assert_eq!(tried(&lake, &spine("ORDER BY random()")).await.unwrap().rows, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_is_no_label() {
    let lake = Lake::filled().await;
    let error = refused(&lake, &CHURN.replace("label = \"churned\"", "label = \"amount\"")).await;
    assert_eq!(error.to_string(), "the spine has no column `amount`, the label");
}

// The table keeps the wider type, and hashes go by types.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_whose_column_was_wider_before_verifies() {
    let lake = Lake::filled().await;
    let of = |kind: &str| {
        CHURN.replace(", churned FROM", &format!(", CAST(churned AS {kind}) AS churned FROM"))
    };
    for (wide, narrow) in [("BIGINT", "INT"), ("DOUBLE", "FLOAT")] {
        for kind in [wide, narrow] {
            let set = tried(&lake, &of(kind)).await.unwrap();
            let found = verify(&lake.engine, &set.lock, Some(&lake.definitions)).await.unwrap();
            assert!(found.equal(), "{kind}: {:?}", found.differences);
        }
        lake.engine.catalog().drop_table(&"ml_training.churn".parse().unwrap()).await.unwrap();
    }
}
