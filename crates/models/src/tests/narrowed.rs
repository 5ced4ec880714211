//! Incremental conditions of every shape: run step by step, a model comes to what one full run
//! comes to, by the new rows alone where they are enough, and by the whole where they are not.

use super::*;

/// What arrives in `raw.t`, step by step: numbers, users, values, moments.
const EVENTS: [&str; 3] = [
    "(1, 'a', -10, '2026-11-01T01:00:00Z'), (2, 'b', 20, '2026-11-01T02:00:00Z'), \
     (3, 'a', 5, '2026-11-01T10:00:00Z')",
    "(4, 'a', 7, '2026-11-01T11:00:00Z'), (5, 'b', 4, '2026-11-01T12:00:00Z')",
    "(6, 'b', 1, '2026-11-02T03:00:00Z'), (7, 'c', 9, '2026-11-02T09:00:00Z')",
];

/// The rows of a model that ran after each step, or once after the last, and whether it was warned
/// of a condition that cuts something short.
async fn table(config: &str, select: &str, step_by_step: bool) -> (Vec<String>, bool) {
    let world = World::new().await;
    world.put("raw.us", "SELECT * FROM (VALUES ('a'), ('b'), ('c')) AS us(u)").await;
    let select = select
        .replace("{[", "{% if is_incremental() %}")
        .replace("]}", "{% endif %}")
        .replace("THIS", "{{ this }}");
    let config = format!("{{{{ config(materialized='incremental', {config}) }}}}");
    world.write("models/m.sql", &format!("{config}\n{select}"));
    let mut is_warned = false;
    for (step, rows) in EVENTS.iter().enumerate() {
        let sql = format!(
            "SELECT id, u, v, CAST(at AS TIMESTAMP) AS ts, CAST(at AS DATE) AS d \
             FROM (VALUES {rows}) AS t(id, u, v, at)"
        );
        world.put("raw.t", &sql).await;
        if step_by_step {
            for _twice in 0..2 {
                let report = world.good(&format!("2026-11-0{}", step + 3)).await;
                is_warned |= !report.results[0].warnings.is_empty();
            }
        }
    }
    if !step_by_step {
        world.run_with(full("2026-11-05"), Selection::default()).await;
    }
    let mut rows = world.rows("SELECT * FROM models.m").await;
    rows.sort();
    (rows, is_warned)
}

/// Runs models, each with what it is built by, step by step and at once.
async fn same_as_full(cases: &[(&str, &str)], is_computed_whole: bool) {
    let mut wrong = Vec::new();
    for (config, select) in cases {
        let (steps, is_warned) = table(config, select, true).await;
        let (once, _) = table(config, select, false).await;
        if steps != once {
            wrong.push(format!("{select}\n  step by step {steps:?}\n  at once {once:?}"));
        }
        if is_warned != is_computed_whole {
            wrong.push(format!("{select}\n  computed whole: {is_warned}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Conditions that take whole groups, or rows that are taken by themselves.
const WHOLE_GROUPS: &[(&str, &str)] = &[
    (
        "unique_key='id'",
        "select id, u, v, d from raw.t {[ where id > (select max(id) from THIS) ]}",
    ),
    (
        "unique_key='id'",
        "select id, v from raw.t {[ cross join (select max(id) as last from THIS) as x \
         where id > x.last ]}",
    ),
    (
        "unique_key='day'",
        "select date_trunc('day', ts) as day, count(*) as n, max(ts) as last from raw.t \
         {[ where ts >= (select max(day) from THIS) ]} group by 1",
    ),
    (
        "unique_key='day'",
        "select date_trunc('day', ts) as day, count(*) as n from raw.t \
         {[ where ts >= (select max(day) from THIS) - interval '1 day' ]} group by 1",
    ),
    (
        "unique_key='day'",
        "select date_trunc('day', ts) as day, count(*) as n, max(ts) as last from raw.t \
         {[ where ts >= date_trunc('day', (select max(last) from THIS)) ]} group by 1",
    ),
    (
        "unique_key='u'",
        "select u, count(*) as n, max(id) as last from raw.t {[ where u in (select u from \
         raw.t where id > (select max(last) from THIS)) ]} group by u",
    ),
    (
        "unique_key='u'",
        "select u, count(*) as n, max(id) as last from raw.t where u in (select u from \
         raw.t {[ where id > (select max(last) from THIS) ]}) group by u",
    ),
    (
        "unique_key='u'",
        "select u, count(*) as n, max(id) as last from raw.t as t {[ where exists (select \
         1 from raw.t n where n.u = t.u and n.id > (select max(last) from THIS)) ]} \
         group by u",
    ),
    (
        "unique_key='d'",
        "select a.d, count(*) as n from raw.t a join raw.t b on b.d <= a.d \
         {[ where a.d >= (select max(d) from THIS) ]} group by a.d",
    ),
    (
        "unique_key='u'",
        "select us.u, sum(t.v) as v, max(t.id) as last from raw.us us join raw.t t on \
         t.u = us.u {[ and us.u in (select u from raw.t where id > (select max(last) from \
         THIS)) ]} group by us.u",
    ),
    (
        "unique_key='id'",
        "select id, sum(v) over (partition by d order by id) as v from raw.t \
         {[ where d >= (select max(d) from raw.t where id <= (select max(id) from \
         THIS)) ]}",
    ),
];

// D5
#[tokio::test]
async fn new_rows_alone_are_enough_for_whole_groups() {
    same_as_full(WHOLE_GROUPS, false).await;
}

/// Conditions that leave out what is still needed.
const CUT_SHORT: &[(&str, &str)] = &[
    // Rows that are put together.
    (
        "unique_key='u'",
        "select u, count(*) as n, max(id) as last from raw.t \
         {[ where id > (select max(last) from THIS) ]} group by u",
    ),
    (
        "unique_key='day'",
        "select date_trunc('day', ts) as day, count(*) as n, max(ts) as last from raw.t \
         {[ where ts >= (select max(last) from THIS) - interval '6 hours' ]} group by 1",
    ),
    (
        "unique_key='id'",
        "select id, sum(v) over (partition by u order by id) as v from raw.t \
         {[ where id > (select max(id) from THIS) ]}",
    ),
];

// D5
#[tokio::test]
async fn what_new_rows_cut_short_is_computed_whole() {
    same_as_full(CUT_SHORT, true).await;
}
