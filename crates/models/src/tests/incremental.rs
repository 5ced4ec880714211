//! Incremental models: each strategy comes to what a full refresh comes to.

use icecore_catalog::{RowMode, RowOptions};
use icecore_core::{Literal, Predicate};

use super::*;

/// Runs a model day by day, and once at the end; the rows have to be the same ones.
async fn same_as_full(config: &str, select: &str, order: &str) -> Vec<String> {
    let days = [
        "SELECT 1 AS id, 'a' AS u, 10 AS v, DATE '2026-11-01' AS d UNION ALL SELECT 2, 'b', 20, DATE '2026-11-01'",
        "SELECT 3 AS id, 'a' AS u, 5 AS v, DATE '2026-11-02' AS d UNION ALL SELECT 4, 'c', 7, DATE '2026-11-02'",
        "SELECT 5 AS id, 'a' AS u, 1 AS v, DATE '2026-11-03' AS d",
    ];
    let mut answers = Vec::new();
    for step_by_step in [true, false] {
        let world = World::new().await;
        world.write(
            "models/m.sql",
            &format!("{{{{ config(materialized='incremental', {config}) }}}}\n{select}"),
        );
        for (day, rows) in days.iter().enumerate() {
            world.put("raw.t", rows).await;
            if step_by_step {
                world.good(&format!("2026-11-0{}", day + 1)).await;
                // Twice is as good as once.
                world.good(&format!("2026-11-0{}", day + 1)).await;
            }
        }
        if !step_by_step {
            world.run_with(full("2026-11-03"), Selection::default()).await;
        }
        answers.push(world.rows(&format!("SELECT * FROM models.m ORDER BY {order}")).await);
    }
    assert_eq!(answers[0], answers[1], "{config}");
    answers.remove(0)
}

#[tokio::test]
async fn append() {
    let select = "select id, u, v, d from {{ source('raw', 't') }}
        {% if is_incremental() %} where id > (select max(id) from {{ this }}) {% endif %}";
    assert_eq!(same_as_full("incremental_strategy='append'", select, "id").await.len(), 5);
}

#[tokio::test]
async fn merge_and_delete_insert() {
    let select = "select u, max(v) as v, count(*) as n, max(d) as d from {{ source('raw', 't') }}
        {% if is_incremental() %}
        where u in (select u from {{ source('raw', 't') }} where d >= (select max(d) from {{ this }}))
        {% endif %} group by u";
    for strategy in ["merge", "delete+insert"] {
        let config = format!("incremental_strategy='{strategy}', unique_key='u'");
        let rows = same_as_full(&config, select, "u").await;
        assert_eq!(rows, ["a|10|3|2026-11-03", "b|20|1|2026-11-01", "c|7|1|2026-11-02"]);
    }
    // Keys may come twice where all of their rows are replaced.
    let select = "select u, id from {{ source('raw', 't') }}
        {% if is_incremental() %} where u in (select u from {{ source('raw', 't') }} where id > (select max(id) from {{ this }})) {% endif %}";
    let config = "incremental_strategy='delete+insert', unique_key=['u']";
    assert_eq!(same_as_full(config, select, "id").await.len(), 5);
}

#[tokio::test]
async fn insert_overwrite() {
    let select = "select d, sum(v) as v, count(*) as n from {{ source('raw', 't') }}
        {% if is_incremental() %} where d >= (select max(d) from {{ this }}) {% endif %} group by d";
    let config = "incremental_strategy='insert_overwrite', partition_by='d'";
    assert_eq!(
        same_as_full(config, select, "d").await,
        ["2026-11-01|30|2", "2026-11-02|12|2", "2026-11-03|1|1"]
    );
}

// Nothing is newer than the newest of no rows: run incrementally, such a table stays empty.
#[tokio::test]
async fn a_table_that_was_emptied_is_built_whole() {
    for mode in [RowMode::CopyOnWrite, RowMode::MergeOnRead] {
        let world = World::new().await;
        world.write(
            "models/m.sql",
            "{{ config(materialized='incremental') }} select id from {{ source('raw', 't') }}
             {% if is_incremental() %} where id > (select max(id) from {{ this }}) {% endif %}",
        );
        world.put("raw.t", "SELECT 1 AS id UNION ALL SELECT 2").await;
        world.good("2026-11-01").await;
        let (catalog, name) = (world.engine.catalog(), TableName::parse("models.m").unwrap());
        // One by one, so that the file that had both is not just left out.
        for id in [1, 2] {
            let one = Predicate::In("id".to_owned(), vec![Literal::Int(id)]);
            let options = RowOptions::default().with_mode(mode);
            catalog.delete(&name, one, options).await.unwrap();
        }
        assert!(world.rows("SELECT * FROM models.m").await.is_empty());
        let report = world.good("2026-11-02").await;
        assert!(!report.results[0].is_incremental, "{mode:?}");
        assert_eq!(world.rows("SELECT * FROM models.m ORDER BY id").await, ["1", "2"], "{mode:?}");
        world.put("raw.t", "SELECT 3 AS id").await;
        let report = world.good("2026-11-03").await;
        assert!(report.results[0].is_incremental, "{mode:?}");
        assert_eq!(world.rows("SELECT count(*) FROM models.m").await, ["3"], "{mode:?}");
    }
}

/// C30-C37: the document's model, as it is written, but for its key (D7).
const DRIVER: &str = "
{{
config(
materialized='incremental',
file_format='iceberg',
incremental_strategy='merge',
unique_key=KEY,
partition_by={'field': 'feature_date', 'data_type': 'date'}
)
}}

-- Compute driver performance features for ML models
SELECT
driver_id,
CAST('{{ run_started_at }}'[:10] AS DATE) AS feature_date,

-- Trip volume features
COUNT(DISTINCT trip_id) AS total_trips_30d,
COUNT(DISTINCT trip_id) FILTER (WHERE status = 'completed') AS completed_trips_30d,
COUNT(DISTINCT trip_id) FILTER (WHERE status = 'cancelled') AS cancelled_trips_30d,
ROUND(
COUNT(DISTINCT trip_id) FILTER (WHERE status = 'cancelled') * 1.0 /
NULLIF(COUNT(DISTINCT trip_id), 0),
4
) AS cancellation_rate_30d,

-- Revenue features
ROUND(SUM(fare) FILTER (WHERE status = 'completed'), 2) AS total_revenue_30d,
ROUND(AVG(fare) FILTER (WHERE status = 'completed'), 2) AS avg_fare_30d,

-- Quality features
ROUND(AVG(rating) FILTER (WHERE rating IS NOT NULL), 3) AS avg_rating_30d,
COUNT(*) FILTER (WHERE rating <= 2.0) AS low_rating_count_30d,
COUNT(*) FILTER (WHERE rating >= 4.8) AS high_rating_count_30d,

-- Recency features
MAX(trip_date) AS last_trip_date,
DATEDIFF(CAST('{{ run_started_at }}'[:10] AS DATE), MAX(trip_date)) AS days_since_last_trip

FROM {{ ref('trips_enriched') }} -- upstream dbt model on top of raw Iceberg table
WHERE trip_date >= DATEADD(day, -30, CAST('{{ run_started_at }}'[:10] AS DATE))

{% if is_incremental() %}
-- Only process new trips since last dbt run
AND trip_date > (SELECT MAX(feature_date) FROM {{ this }})
{% endif %}

GROUP BY driver_id
";

/// One trip a day for 40 days, and a driver who stops early.
const TRIPS: &str = "SELECT 't' || n AS trip_id, 'd1' AS driver_id, \
    CASE WHEN n % 10 = 0 THEN 'cancelled' ELSE 'completed' END AS status, \
    10.0 + n AS fare, CASE WHEN n % 3 = 0 THEN NULL ELSE 4.9 END AS rating, \
    DATEADD(day, CAST(n AS BIGINT), DATE '2026-10-01') AS trip_date FROM generate_series(0, 40) t(n) \
    UNION ALL SELECT 'x', 'd2', 'completed', 5.0, 1.5, DATE '2026-10-05'";

async fn drivers(key: &str) -> World {
    let world = World::new().await;
    world.put("events.raw_trips", TRIPS).await;
    world
        .write(
            "models/features/trips_enriched.sql",
            "select * from {{ source('events', 'raw_trips') }}",
        )
        .write("models/features/driver_performance_features.sql", &DRIVER.replace("KEY", key));
    world
}

#[tokio::test]
async fn the_documents_driver_model_runs_as_written_and_counts_whole_windows() {
    // C30-C37, D5
    let world = drivers("'driver_id'").await;
    let first = world.good("2026-11-01").await;
    assert!(first.results.iter().all(|result| result.warnings.is_empty()));
    let sql = "SELECT driver_id, feature_date, total_trips_30d, cancelled_trips_30d, \
               cancellation_rate_30d, days_since_last_trip FROM features.driver_performance_features \
               ORDER BY driver_id";
    let rows = world.rows(sql).await;
    // 2026-10-02 .. 2026-11-10, as the model's window has no end: 40 trips.
    assert_eq!(rows, ["d1|2026-11-01|40|4|0.1|-9", "d2|2026-11-01|1|0|0.0|27"]);
    // The next day the condition would count the trips since the last feature date alone.
    let second = world.good("2026-11-02").await;
    let driver = second.results.iter().find(|result| result.name.starts_with("driver")).unwrap();
    assert!(driver.is_incremental);
    assert!(driver.warnings[0].contains("trip_date"), "{:?}", driver.warnings);
    let incremental = world.rows(sql).await;
    assert_eq!(incremental[0], "d1|2026-11-02|39|4|0.1026|-8");
    world.run_with(full("2026-11-02"), Selection::default()).await;
    assert_eq!(world.rows(sql).await, incremental, "incremental equals full refresh");
}

#[tokio::test]
async fn history_is_kept_by_the_key_or_by_the_table() {
    // D7: keyed by driver and date, each day stays; keyed by driver, the past is a version.
    let world = drivers("['driver_id', 'feature_date']").await;
    for day in ["2026-11-01", "2026-11-02"] {
        world.good(day).await;
    }
    let count =
        "SELECT count(*), count(DISTINCT feature_date) FROM features.driver_performance_features";
    assert_eq!(world.rows(count).await, ["4|2"]);
    let world = drivers("'driver_id'").await;
    for day in ["2026-11-01", "2026-11-02"] {
        world.good(day).await;
    }
    assert_eq!(world.rows(count).await, ["2|1"]);
    let log = "SELECT count(*) FROM features.driver_performance_features$snapshots";
    assert_eq!(world.rows(log).await, ["2"]);
}

#[tokio::test]
async fn a_narrowed_window_can_be_refused_or_run_as_written() {
    for (setting, expected) in [("refuse", None), ("as_written", Some("d1|2026-11-02|9"))] {
        let key = format!("'driver_id', on_narrowed_window='{setting}'");
        let world = drivers(&key).await;
        world.good("2026-11-01").await;
        let report = world.run_with(options("2026-11-02"), Selection::default()).await;
        let driver =
            report.results.iter().find(|result| result.name.starts_with("driver")).unwrap();
        let sql = "SELECT driver_id, feature_date, total_trips_30d FROM \
                   features.driver_performance_features WHERE driver_id = 'd1'";
        match expected {
            None => {
                let error = driver.error.as_ref().unwrap();
                assert!(
                    error.notes().iter().any(|note| note.contains("cuts off rows")),
                    "{error:?}"
                );
                assert_eq!(world.rows(sql).await, ["d1|2026-11-01|40"]);
            }
            Some(row) => {
                assert_eq!(driver.warnings.len(), 1);
                assert_eq!(world.rows(sql).await, [row]);
            }
        }
    }
}

#[tokio::test]
async fn columns_change_as_the_model_says() {
    for (setting, second, expected) in [
        ("ignore", "select 2 as id, 'b' as extra", Ok(vec!["1", "2"])),
        ("append_new_columns", "select 2 as id, 'b' as extra", Ok(vec!["1|null", "2|b"])),
        ("sync_all_columns", "select 2 as id, 'b' as extra", Ok(vec!["1|null", "2|b"])),
        ("fail", "select 2 as id, 'b' as extra", Err("the columns of `m` have changed")),
        (
            "append_new_columns",
            "select cast(5000000000 as bigint) as id",
            Ok(vec!["1", "5000000000"]),
        ),
    ] {
        let world = World::new().await;
        let write = |select: &str| {
            let config =
                format!("config(materialized='incremental', on_schema_change='{setting}')");
            world.write("models/m.sql", &format!("{{{{ {config} }}}} {select}"));
        };
        write("select cast(1 as int) as id");
        world.good("2026-11-01").await;
        write(second);
        let report = world.run_with(options("2026-11-02"), Selection::default()).await;
        match expected {
            Ok(rows) => {
                assert!(report.is_good(), "{setting}: {:?}", report.results[0].error);
                assert_eq!(
                    world.rows("SELECT * FROM models.m ORDER BY id").await,
                    rows,
                    "{setting}"
                );
            }
            Err(message) => {
                assert_eq!(report.results[0].error.as_ref().unwrap().to_string(), message);
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_comes_twice_or_is_no_column_is_an_error_that_changes_nothing() {
    let world = World::new().await;
    world.put("raw.t", "SELECT 1 AS k, 1 AS v").await;
    let model = |key: &str| {
        let config = format!("config(materialized='incremental', unique_key='{key}')");
        world.write(
            "models/m.sql",
            &format!("{{{{ {config} }}}} select k, v from {{{{ source('raw', 't') }}}}"),
        );
    };
    model("k");
    world.good("2026-11-01").await;
    world.put("raw.t", "SELECT 1 AS k, 2 AS v").await;
    let report = world.run_with(options("2026-11-02"), Selection::default()).await;
    assert!(!report.is_good());
    assert_eq!(world.rows("SELECT k, v FROM models.m").await, ["1|1"]);
    assert_eq!(world.refs("models.m").await, ["main"]);
    model("kk");
    let report = world.run_with(options("2026-11-02"), Selection::default()).await;
    let error = report.results[0].error.as_ref().unwrap();
    assert_eq!(error.help(), Some("did you mean `k`?"));
}
