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
    // A stored moment is no start of a day.
    (
        "unique_key='day'",
        "select date_trunc('day', ts) as day, count(*) as n, max(ts) as last from raw.t \
         {[ where ts >= (select max(last) from THIS) ]} group by 1",
    ),
    (
        "unique_key='month'",
        "select date_trunc('month', d) as month, count(*) as n, max(d) as last from raw.t \
         {[ where d >= (select max(last) from THIS) ]} group by 1",
    ),
    // What rows are joined by.
    (
        "unique_key='u'",
        "select us.u, sum(t.v) as v, coalesce(max(t.id), 0) as last from raw.us us left \
         join raw.t t on t.u = us.u {[ and t.id > (select max(last) from THIS) ]} \
         group by us.u",
    ),
    (
        "unique_key='u'",
        "select us.u, sum(t.v) as v, max(t.id) as last from raw.us us join raw.t t on \
         t.u = us.u {[ and t.id > (select max(last) from THIS) ]} group by us.u",
    ),
    (
        "incremental_strategy='delete+insert', unique_key='u'",
        "select us.u, t.id from raw.us us left join (select * from raw.t \
         {[ where id > (select max(id) from THIS) ]}) as t on t.u = us.u",
    ),
    // Rows that are chosen one by one.
    (
        "unique_key='u'",
        "select u, count(*) as n, max(id) as last from raw.t as t {[ where exists (select \
         1 from raw.t n where n.id = t.id and n.id > (select max(last) from THIS)) ]} \
         group by u",
    ),
    // Another row of the same table.
    (
        "unique_key='d'",
        "select a.d, count(*) as n from raw.t a join raw.t b on b.d <= a.d \
         {[ where b.d >= (select max(d) from THIS) ]} group by a.d",
    ),
    // The first, the best.
    (
        "unique_key='u'",
        "select distinct on (u) u, id, v from raw.t \
         {[ where id > (select max(id) from THIS) ]} order by u, id",
    ),
    (
        "unique_key='id'",
        "select id, v from raw.t {[ where id > (select min(id) from THIS) ]} \
         order by v desc, id limit 1",
    ),
    // What is left out.
    (
        "unique_key='id'",
        "select id, u from raw.t where u not in (select u from raw.t where v < 0 \
         {[ and id > (select max(id) from THIS) ]})",
    ),
    (
        "unique_key='id'",
        "select id, u from raw.t as t where not exists (select 1 from raw.t n where \
         n.u = t.u and n.v < 0 {[ and n.id > (select max(id) from THIS) ]})",
    ),
    (
        "unique_key='u'",
        "select u, 1 as n from raw.t except select u, 1 as n from raw.t where v < 0 \
         {[ and u > (select max(u) from THIS) ]}",
    ),
    // The groups of both sides.
    (
        "unique_key='d'",
        "select d, count(*) as n from (select d from raw.t {[ where d > (select max(d) \
         from THIS) ]} union all select d from raw.t) as both group by d",
    ),
    // A subquery that is another, and a condition that is gone.
    (
        "unique_key='u'",
        "select u, count(*) as n, min(id) as first from raw.t where id >= (select \
         {[ max(id) ]}{% if not is_incremental() %} min(id) {% endif %} from raw.t) \
         group by u",
    ),
    // All or nothing, of which one row is made.
    (
        "unique_key='k'",
        "select 1 as k, count(*) as n from raw.t {[ where (select max(id) from raw.t) > \
         (select max(n) from THIS) ]}",
    ),
];

// D5
#[tokio::test]
async fn what_new_rows_cut_short_is_computed_whole() {
    same_as_full(CUT_SHORT, true).await;
}
