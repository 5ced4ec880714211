//! Random rows in random batches: run by run, each strategy comes to what one run comes to.

use proptest::prelude::*;

use super::*;

/// A row: who, how much (nothing is null), and on which day, in any order.
type Row = (u8, Option<i16>, u8);

const CHOSEN: &str =
    "(select GROUP from {{ source('raw', 't') }} where id > (select max(last_id) from {{ this }}))";

/// The strategy's settings, the group that a new row makes new, and the query.
fn model(strategy: usize) -> (String, String) {
    let whole = |group: &str, columns: &str, by: &str| {
        format!(
            "select {columns} from {{{{ source('raw', 't') }}}} \
             {{% if is_incremental() %}} where {group} in {} {{% endif %}} {by}",
            CHOSEN.replace("GROUP", group)
        )
    };
    let by_user =
        "u, count(*) as n, count(v) as known, sum(v) as v, max(d) as d, max(id) as last_id";
    let by_day = "d, count(*) as n, sum(v) as v, count(distinct u) as users, max(id) as last_id";
    match strategy {
        0 => (
            "incremental_strategy='append'".to_owned(),
            "select id as last_id, u, v, d from {{ source('raw', 't') }} \
             {% if is_incremental() %} where id > (select max(last_id) from {{ this }}) {% endif %}"
                .to_owned(),
        ),
        1 => (
            "incremental_strategy='merge', unique_key='u'".to_owned(),
            whole("u", by_user, "group by u"),
        ),
        2 => (
            "incremental_strategy='delete+insert', unique_key='u'".to_owned(),
            whole("u", "u, v, d, id as last_id", ""),
        ),
        3 => (
            "incremental_strategy='insert_overwrite', partition_by='d'".to_owned(),
            whole("d", by_day, "group by d"),
        ),
        _ => (
            "incremental_strategy='merge', unique_key=['d', 'u']".to_owned(),
            whole(
                "d",
                "d, u, min(v) as least, avg(v) as mean, max(id) as last_id",
                "group by d, u",
            ),
        ),
    }
}

async fn table(batches: &[Vec<Row>], strategy: usize, step_by_step: bool) -> Vec<String> {
    let world = World::new().await;
    let (config, select) = model(strategy);
    let text = format!("{{{{ config(materialized='incremental', {config}) }}}}\n{select}");
    world.write("models/m.sql", &text);
    let mut id = 0;
    for batch in batches {
        let rows = batch.iter().map(|(user, value, day)| {
            id += 1;
            let value = value.map_or("null".to_owned(), |value| value.to_string());
            format!("({id}, 'u{user}', cast({value} as bigint), date '2026-11-{:02}')", day + 1)
        });
        let rows = rows.collect::<Vec<_>>().join(", ");
        world.put("raw.t", &format!("select * from (values {rows}) as t(id, u, v, d)")).await;
        if step_by_step {
            world.good("2026-11-20").await;
        }
    }
    if step_by_step {
        // Nothing new is nothing to do.
        world.good("2026-11-21").await;
    } else {
        world.run_with(full("2026-11-20"), Selection::default()).await;
    }
    let mut rows = world.rows("SELECT * FROM models.m").await;
    rows.sort();
    rows
}

proptest! {
    // Each case is a dozen runs over real tables.
    #![proptest_config(ProptestConfig { cases: 15, max_shrink_iters: 30, ..ProptestConfig::default() })]

    #[test]
    fn run_by_run_is_as_good_as_at_once(
        batches in prop::collection::vec(
            prop::collection::vec((0_u8..4, prop::option::of(-99_i16..99), 0_u8..5), 1..8),
            1..5,
        ),
        strategy in 0_usize..5,
    ) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap();
        let [steps, once] = [true, false]
            .map(|step_by_step| runtime.block_on(table(&batches, strategy, step_by_step)));
        prop_assert_eq!(steps, once, "{}", model(strategy).0);
    }
}
