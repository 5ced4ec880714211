use super::*;
use crate::fixture::moonstruck;

async fn checked(query: &str) -> Result<()> {
    check_plan(moonstruck().sql(query).await.unwrap().logical_plan(), "it")
}

#[tokio::test]
async fn a_function_is_found_wherever_it_stands_in_a_query() {
    for query in [
        "SELECT phase_of_the_moon()",
        "SELECT 1 + abs(phase_of_the_moon()) AS x",
        "SELECT a FROM (VALUES (1)) AS t(a) WHERE a < phase_of_the_moon()",
        "SELECT a FROM (VALUES (1)) AS t(a) ORDER BY phase_of_the_moon() + a",
        "SELECT max(a + phase_of_the_moon()) FROM (VALUES (1)) AS t(a)",
        "SELECT sum(a) OVER (ORDER BY phase_of_the_moon()) FROM (VALUES (1)) AS t(a)",
        "SELECT a FROM (VALUES (1)) AS t(a) WHERE a IN (SELECT phase_of_the_moon())",
        "SELECT 1 UNION ALL SELECT phase_of_the_moon()",
        "WITH x AS (SELECT phase_of_the_moon() AS a) SELECT a FROM x",
    ] {
        let error = checked(query).await.unwrap_err();
        assert_eq!(error.to_string(), "it depends on `phase_of_the_moon`", "{query}");
    }
}

#[tokio::test]
async fn what_arguments_decide_is_taken() {
    for query in [
        "SELECT answer()",
        "SELECT to_timestamp('2026-01-01'), to_timestamp_micros(1), to_date('2026-01-01')",
        "SELECT date_trunc('day', to_timestamp(1)), date_part('dow', to_timestamp(1))",
        "SELECT to_local_time(arrow_cast(1, 'Timestamp(Second, Some(\"Europe/Berlin\"))'))",
        "SELECT to_char(to_timestamp(1), '%Y'), make_date(2026, 1, 2), from_unixtime(1)",
        "SELECT date_bin(INTERVAL '1 day', to_timestamp(1)), to_unixtime('2026-01-01')",
        "SELECT md5('a'), sha256('a'), nullif(1, 2), coalesce(1, 2), array_agg(a), avg(a) \
         FROM (VALUES (1)) AS t(a)",
        "SELECT row_number() OVER (ORDER BY a) FROM (VALUES (1)) AS t(a)",
    ] {
        checked(query).await.unwrap();
    }
}

// `ORDER BY random()` of all rows gives the same rows; with a limit it draws some.
#[tokio::test]
async fn the_order_of_all_rows_is_no_matter() {
    let call = async |query: &str| unstable_call(&moonstruck().sql(query).await.unwrap()).unwrap();
    let ordered = "SELECT a FROM (VALUES (1), (2)) AS t(a) ORDER BY phase_of_the_moon() + a";
    assert_eq!(call(ordered).await, None);
    for query in [format!("{ordered} LIMIT 1"), "SELECT phase_of_the_moon() AS a".to_owned()] {
        let found = call(query.as_str()).await.unwrap();
        assert_eq!((found.function.as_str(), found.view), ("phase_of_the_moon", None), "{query}");
    }
}
