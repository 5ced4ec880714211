//! What a merge leaves alone, and contracts.

use super::*;

const SELECT: &str = "select id, u, v from {{ source('raw', 't') }}";

/// A merge that meets rows of the same keys a day later.
async fn merged(config: &str) -> Vec<String> {
    let world = World::new().await;
    let config = format!("materialized='incremental', unique_key='id', {config}");
    world.write("models/m.sql", &format!("{{{{ config({config}) }}}}\n{SELECT}"));
    world.put("raw.t", "SELECT 1 AS id, 'a' AS u, 10 AS v UNION ALL SELECT 2, 'b', 20").await;
    world.good("2026-11-01").await;
    let later = "SELECT 1 AS id, 'z' AS u, 99 AS v UNION ALL SELECT 3, 'c', 30";
    let table = TableName::parse("raw.t").unwrap();
    let rows = world.engine.sql(later, &[]).await.unwrap();
    let commit = CommitOptions::new(WriteMode::Overwrite);
    world.engine.catalog().commit(&table, rows, commit).await.unwrap();
    world.good("2026-11-02").await;
    world.rows("SELECT * FROM models.m ORDER BY id").await
}

#[tokio::test]
async fn a_merge_updates_the_columns_that_it_names() {
    assert_eq!(merged("incremental_strategy='merge'").await, ["1|z|99", "2|b|20", "3|c|30"]);
    let expected = ["1|a|99", "2|b|20", "3|c|30"];
    assert_eq!(merged("merge_update_columns=['v']").await, expected);
    assert_eq!(merged("merge_exclude_columns=['u']").await, expected);
}

/// The error of a model's run.
async fn refused(config: &str, properties: &str) -> String {
    let world = World::new().await;
    world.write("models/m.sql", &format!("{{{{ config({config}) }}}}\n{SELECT}"));
    world.write("models/m.yml", properties);
    world.put("raw.t", "SELECT 1 AS id, 'a' AS u, 10 AS v").await;
    let project = match world.load(options("2026-11-01")) {
        Ok(project) => project,
        Err(error) => return format!("{error} {:?}", error.notes()),
    };
    let clock = Arc::new(FixedClock(options("2026-11-01").started_at));
    let mut errors = Vec::new();
    for _ in 0..2 {
        let options = RunOptions::new(clock.clone());
        let report = run(&world.engine, &project, &options).await.unwrap();
        let failed = report.results.into_iter().filter_map(|result| result.error);
        errors = failed.map(|error| format!("{error} {:?}", error.notes())).collect();
    }
    errors.pop().unwrap_or_default()
}

#[tokio::test]
async fn columns_of_a_merge_are_those_of_the_query() {
    let key = "materialized='incremental', unique_key='id'";
    let both = "merge_update_columns=['v'], merge_exclude_columns=['u']";
    let error = refused(&format!("{key}, {both}"), "").await;
    assert!(error.contains("say the same thing twice"), "{error}");
    let other = "incremental_strategy='delete+insert', merge_update_columns=['v']";
    let error = refused(&format!("{key}, {other}"), "").await;
    assert!(error.contains("are of the strategy `merge`"), "{error}");
}

#[tokio::test]
async fn a_contract_is_kept_or_nothing_is_built() {
    let properties = |columns: &str| {
        let config = "config: {contract: {enforced: true}}";
        format!("models:\n  - {{name: m, {config}, columns: [{columns}]}}\n")
    };
    let good = "{name: id, data_type: bigint}, {name: u, data_type: text}, \
                {name: v, data_type: bigint}";
    for materialized in ["materialized='table'", "materialized='view'"] {
        assert_eq!(refused(materialized, &properties(good)).await, "");
        let wrong = "{name: id, data_type: int}, {name: u}, {name: w, data_type: date}";
        let error = refused(materialized, &properties(wrong)).await;
        for part in [
            "`m` does not keep its contract",
            "`id` is `Int64`, and `int` was promised",
            "`u` is described without a `data_type`",
            "`w` is described, and the query does not give it",
            "`v` comes out of the query, and is not described",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let nonsense = good.replace("text", "txt");
        let error = refused(materialized, &properties(&nonsense)).await;
        assert!(error.contains("`data_type: txt` of column `u` is no type of SQL"), "{error}");
    }
}
