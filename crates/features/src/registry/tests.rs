use super::*;
use crate::fixture::{Lakehouse, VIEWS};

const VIEW: &str = "user_transaction_features";

fn definitions(old: &str, new: &str) -> Definitions {
    Definitions::parse("f.toml", &VIEWS.replacen(old, new, 1)).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn kinds(changes: &[ViewChange]) -> Vec<(ViewChangeKind, i64)> {
    changes.iter().map(|change| (change.kind, change.version)).collect()
}

#[tokio::test]
async fn versions_are_kept_compared_and_only_made_where_something_changed() {
    use ViewChangeKind::{Added, Changed, Described, Removed, Unchanged};
    let lake = Lakehouse::open(1).await;
    let registry = FeatureRegistry::new(lake.engine.clone());
    let first = definitions("", "");
    assert_eq!(kinds(&registry.plan(&first).await.unwrap()), [(Added, 1), (Added, 1)]);
    assert!(lake.catalog.tables().await.unwrap().is_empty());
    registry.apply(&first, at("2024-01-01")).await.unwrap();
    let again = registry.apply(&first, at("2024-01-02")).await.unwrap();
    assert_eq!(kinds(&again), [(Unchanged, 1), (Unchanged, 1)]);

    let owned = definitions("closed = \"both\"", "closed = \"both\"\nowner = \"risk\"");
    let changes = registry.apply(&owned, at("2024-01-03")).await.unwrap();
    assert_eq!(kinds(&changes), [(Described, 2), (Unchanged, 1)]);
    let wider = definitions("windows = [\"7d\", \"30d\", \"90d\"]", "windows = [\"7d\", \"30d\"]");
    let changes = registry.apply(&wider, at("2024-01-04")).await.unwrap();
    assert_eq!(kinds(&changes)[0], (Changed, 3));
    let paths: Vec<&str> = changes[0].differences.iter().map(|d| d.path.as_str()).collect();
    assert_eq!(paths, ["aggregate.txn_count.windows", "owner"]);
    let windows = &changes[0].differences[0];
    assert_eq!(windows.before.as_deref(), Some("7d, 30d, 90d"));
    assert_eq!(windows.after.as_deref(), Some("7d, 30d"));

    let between = registry.differences(&first, VIEW, (1, Some(2))).await.unwrap();
    assert_eq!(between.len(), 1);
    assert!(registry.differences(&first, VIEW, (1, None)).await.unwrap().is_empty());
    assert!(registry.differences(&first, VIEW, (9, None)).await.is_err());

    let mut fewer = first.clone();
    fewer.views.truncate(1);
    let changes = registry.apply(&fewer, at("2024-01-05")).await.unwrap();
    assert_eq!(kinds(&changes), [(Changed, 4), (Removed, 2)]);
    let back = registry.apply(&first, at("2024-01-06")).await.unwrap();
    assert_eq!(kinds(&back), [(Unchanged, 4), (Added, 3)]);
    let log = registry.history(Some(VIEW)).await.unwrap();
    assert_eq!(log.iter().map(|row| row.version).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(log[1].owner.as_deref(), Some("risk"));
    assert_eq!(log[0].definition_hash, log[1].definition_hash);
    assert_eq!(log[3].applied_at, at("2024-01-05"));
    assert_eq!(registry.version(VIEW, 1).await.unwrap().views, first.views[..1]);
    assert!(registry.history(Some("none")).await.is_err());
}

// Whoever applies at the same time comes before or after: no version is there twice.
#[tokio::test]
async fn applying_at_the_same_time_gives_each_a_version_of_its_own() {
    let lake = Lakehouse::open(2).await;
    let registry = FeatureRegistry::new(lake.engine.clone());
    registry.apply(&definitions("", ""), at("2024-01-01")).await.unwrap();
    let ttls =
        ["10d", "20d", "30d"].map(|ttl| definitions("ttl = \"90d\"", &format!("ttl = \"{ttl}\"")));
    let now = at("2024-01-02");
    let (a, b, c) = tokio::join!(
        registry.apply(&ttls[0], now),
        registry.apply(&ttls[1], now),
        registry.apply(&ttls[2], now)
    );
    for done in [a, b, c] {
        done.unwrap();
    }
    let log = registry.history(Some(VIEW)).await.unwrap();
    assert_eq!(log.iter().map(|row| row.version).collect::<Vec<_>>(), [1, 2, 3, 4]);
}
