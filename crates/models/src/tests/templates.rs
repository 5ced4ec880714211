//! Templates: what they can do, and what they cannot.

use icecore_core::ErrorKind;

use super::*;

/// The SQL of the one model.
async fn compiled(text: &str) -> String {
    let world = World::new().await;
    world.write("models/m.sql", text);
    let mut options = options("2026-11-22");
    options.vars.insert("days".to_owned(), 30.into());
    let project = world.load(options).unwrap();
    let sql = project.compile(project.node("model.icecore.m").unwrap(), false).unwrap();
    sql.trim().to_owned()
}

async fn error(text: &str) -> Error {
    let world = World::new().await;
    world.write("models/m.sql", text);
    world.mistake()
}

#[tokio::test]
async fn what_dbt_offers_is_there() {
    // C31
    for (text, expected) in [
        ("'{{ run_started_at }}'[:10]", "'2026-11-22 22:04:42.614426+00:00'[:10]"),
        (
            "{{ run_started_at.strftime('%Y/%m') }} {{ run_started_at.date() }}",
            "2026/11 2026-11-22",
        ),
        ("{{ var('days') + 1 }} {{ var('other', 'x') }}", "31 x"),
        ("{{ this }} {{ this.schema }} {{ this.identifier }}", "\"models\".\"m\" models m"),
        ("{% if is_incremental() %}new{% else %}all{% endif %}", "all"),
        ("{{ source('events', 'trips') }}", "\"events\".\"trips\""),
        ("{% for c in ['a', 'b'] %}{{ c.upper() }}{{ ',' if not loop.last }}{% endfor %}", "A,B"),
        ("{{ dbt.dateadd('day', -30, 'd') }}", "dateadd('day', -30, d)"),
        ("{{ target.name }} {{ model.name }} {{ env_var('HOME', 'none') }}", "icecore m none"),
        ("{{ config(tags=['x']) }}{{ config.get('tags') | length }}", "1"),
        ("{# a note #}{% set x = 2 %}{{ x * 2 }}", "4"),
    ] {
        assert_eq!(compiled(text).await, expected, "{text}");
    }
}

#[tokio::test]
async fn macros_of_all_files_know_each_other() {
    let world = World::new().await;
    world
        .write("macros/a.sql", "{% macro cents(c) %}({{ c }} / 100){% endmacro %}")
        .write(
            "macros/deep/b.sql",
            "{% macro euros(c, digits=2) %}round({{ cents(c) }}, {{ digits }}){% endmacro %}",
        )
        .write("models/m.sql", "select {{ euros('x', digits=1) }} as e from (values (250)) t(x)");
    let project = world.load(options("2026-11-22")).unwrap();
    let node = project.node("model.icecore.m").unwrap();
    assert!(project.compile(node, false).unwrap().contains("round((x / 100), 1)"));
    assert_eq!(node.macros, ["cents", "euros"]);
}

#[tokio::test]
async fn a_template_reaches_nothing_outside() {
    for text in ["{% include '/etc/passwd' %}", "{% import 'x.sql' as x %}", "{% extends 'x' %}"] {
        let error = error(text).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{text}: {error}");
    }
    let denied = error("{{ env_var('HOME') }}").await;
    assert_eq!(denied.kind(), ErrorKind::Denied);
    assert!(denied.help().unwrap().contains("env_vars"));
    let asked = error("{{ run_query('select 1') }}").await;
    assert_eq!(asked.kind(), ErrorKind::Unsupported);
    assert_eq!(error("{{ modules.os }}").await.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn what_does_not_end_is_ended() {
    let world = World::new().await;
    world
        .write("macros/a.sql", "{% macro again(n) %}{{ once_more(n) }}{% endmacro %}")
        .write("macros/b.sql", "{% macro once_more(n) %}{{ again(n) }}{% endmacro %}")
        .write("models/m.sql", "{{ again(1) }}");
    assert_eq!(world.mistake().kind(), ErrorKind::LimitExceeded);
    world.write("macros/a.sql", "{% macro again(n) %}{{ again(n) }}{% endmacro %}");
    assert_eq!(world.mistake().kind(), ErrorKind::LimitExceeded);
    let long =
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}";
    assert_eq!(error(long).await.kind(), ErrorKind::LimitExceeded);
    let wide = "{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}";
    assert_eq!(error(wide).await.kind(), ErrorKind::LimitExceeded);
}

#[tokio::test]
async fn mistakes_have_a_place_and_a_hint() {
    let unknown = error("select 1\nfrom {{ reff('x') }}").await;
    assert_eq!(unknown.help(), Some("did you mean `ref`?"));
    assert_eq!(unknown.location().unwrap().to_string(), "models/m.sql:2");
    assert!(error("{{ var('nope') }}").await.to_string().contains("there is no var `nope`"));
    assert!(error("{% if %}").await.location().is_some());
    let raised = error("{{ exceptions.raise_compiler_error('not so') }}").await;
    assert_eq!(raised.to_string(), "not so");
}
