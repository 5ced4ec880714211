//! What names what: refs, sources, settings, order, selection.

use icecore_core::ErrorKind;

use super::*;
use crate::Materialized;

#[tokio::test]
async fn models_come_after_what_they_name() {
    let world = World::new().await;
    world
        .write("models/staging/c.sql", "select * from {{ ref('b') }}")
        .write(
            "models/features/b.sql",
            "{{ config(schema='other', alias='bb') }} select * from {{ ref('a') }}",
        )
        .write("models/a.sql", "select 1 as x");
    let project = world.load(options("2026-11-22")).unwrap();
    assert_eq!(project.order, ["model.icecore.a", "model.icecore.b", "model.icecore.c"]);
    let relation = |name: &str| {
        project.node(&format!("model.icecore.{name}")).unwrap().relation.clone().unwrap()
    };
    assert_eq!(relation("a").as_str(), "models.a");
    assert_eq!(relation("b").as_str(), "other.bb");
    assert_eq!(relation("c").as_str(), "staging.c");
}

#[tokio::test]
async fn a_circle_is_named_by_its_path() {
    let world = World::new().await;
    world
        .write("models/a.sql", "select * from {{ ref('b') }}")
        .write("models/b.sql", "{% if is_incremental() %} select * from {{ ref('c') }} {% endif %}")
        .write("models/c.sql", "select * from {{ ref('a') }}");
    let error = world.mistake();
    assert_eq!(error.to_string(), "models name each other in a circle");
    assert!(error.notes()[0].starts_with("a -> b -> c -> a"), "{:?}", error.notes());
}

#[tokio::test]
async fn unknown_names_are_found_all_at_once_with_what_was_meant() {
    let world = World::new().await;
    world
        .write("models/orders.sql", "select 1 as x")
        .write("models/a.sql", "select *\nfrom {{ ref('ordrs') }}")
        .write("models/b.sql", "{{ config(materialised='table') }} select 1")
        .write("models/c.sql", "select * from {{ source('raw', 'evnts') }}")
        .write("models/s.yml", "sources: [{name: raw, tables: [{name: events}]}]");
    let first = world.mistake();
    let all: Vec<&Error> = std::iter::once(&first).chain(first.related()).collect();
    assert_eq!(all.len(), 3, "{all:#?}");
    let find = |text: &str| all.iter().find(|error| error.to_string().contains(text)).unwrap();
    assert_eq!(find("ordrs").help(), Some("did you mean `orders`?"));
    assert_eq!(find("ordrs").location().unwrap().to_string(), "models/a.sql:2:13");
    assert_eq!(find("materialised").help(), Some("did you mean `materialized`?"));
    assert_eq!(find("evnts").help(), Some("did you mean `events`?"));
    // A table that no model makes is a source.
    let world = World::new().await;
    world.write("models/a.sql", "select * from {{ ref('trips') }}");
    assert!(world.mistake().help().unwrap().contains("source('NAMESPACE', 'trips')"));
}

#[tokio::test]
async fn a_setting_that_is_none_is_refused() {
    for (config, help) in [
        ("materialized='tabel'", "did you mean `table`?"),
        ("incremental_strategy='upsert'", ""),
        ("materialized='snapshot'", "write `table` or `incremental`"),
        ("pre_hook='delete from x'", "make it a model of its own, or a test"),
        ("file_format='delta'", "tables are Iceberg tables of Parquet files: leave it out"),
    ] {
        let world = World::new().await;
        world.write("models/m.sql", &format!("{{{{ config({config}) }}}} select 1 as x"));
        assert_eq!(world.mistake().help().unwrap_or_default(), help, "{config}");
    }
}

#[tokio::test]
async fn settings_lie_over_each_other() {
    let world = World::new().await;
    world
        .write(
            "dbt_project.yml",
            "name: shop\nmodels:\n  shop:\n    +tags: [all]\n    staging: {+materialized: view, +schema: st}\n    marts: {+materialized: table}\n",
        )
        .write("models/staging/a.sql", "select 1 as x")
        .write("models/marts/b.sql", "{{ config(tags='own', partition_by={'field': 'd', 'data_type': 'timestamp', 'granularity': 'month'}) }} select * from {{ ref('a') }}")
        .write("models/marts/s.yml", "models: [{name: b, config: {materialized: incremental}, description: bees}]");
    let project = world.load(options("2026-11-22")).unwrap();
    let (a, b) = (project.node("model.shop.a").unwrap(), project.node("model.shop.b").unwrap());
    assert_eq!(a.config.materialized, Materialized::View);
    assert_eq!(a.relation.as_ref().unwrap().as_str(), "st.a");
    assert_eq!(b.config.materialized, Materialized::Incremental);
    assert_eq!(b.config.tags, ["all", "own"]);
    assert_eq!(b.config.partition_by, ["month(d)"]);
    assert_eq!((b.description.as_str(), b.relation.as_ref().unwrap().as_str()), ("bees", "main.b"));
}

#[tokio::test]
async fn the_hash_is_that_of_the_meaning() {
    let world = World::new().await;
    let hash = |text: &str| {
        world.write("models/m.sql", text);
        world.load(options("2026-11-22")).unwrap().node("model.icecore.m").unwrap().hash.clone()
    };
    let first = hash("select  1 as x\nfrom t where y = 'a  b'");
    assert_eq!(first, hash("select 1 as x from t\n\n where y = 'a  b'\n"));
    assert_ne!(first, hash("select 1 as x from t where y = 'a b'"));
    assert_ne!(
        first,
        hash("{{ config(materialized='table') }} select 1 as x from t where y = 'a  b'")
    );
}

#[tokio::test]
async fn selectors_mean_what_they_mean_in_dbt() {
    let world = World::new().await;
    world
        .write("models/staging/a.sql", "select 1 as x")
        .write(
            "models/staging/b.sql",
            "{{ config(tags=['nightly']) }} select * from {{ ref('a') }}",
        )
        .write(
            "models/marts/c.sql",
            "{{ config(tags=['nightly'], materialized='table') }} select * from {{ ref('b') }}",
        )
        .write("models/marts/d.sql", "select * from {{ ref('c') }} join {{ ref('e') }} using (x)")
        .write("models/marts/e.sql", "select 1 as x");
    let project = world.load(options("2026-11-22")).unwrap();
    let names = |select: &[&str], exclude: &[&str]| -> String {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let found = Selection::new(owned(select), owned(exclude)).resolve(&project).unwrap();
        found.iter().map(|id| id.rsplit('.').next().unwrap()).collect()
    };
    for (select, exclude, expected) in [
        (&[][..], &[][..], "abcde"),
        (&["b"], &[], "b"),
        (&["+b"], &[], "ab"),
        (&["b+"], &[], "bcd"),
        (&["b+1"], &[], "bc"),
        (&["+c+"], &[], "abcd"),
        (&["1+c"], &[], "bc"),
        (&["@c"], &[], "abcde"),
        (&["tag:nightly"], &[], "bc"),
        (&["tag:nightly,config.materialized:table"], &[], "c"),
        (&["path:models/staging"], &[], "ab"),
        (&["models/marts/e.sql", "a"], &[], "ae"),
        (&["staging"], &["b"], "a"),
        (&["*"], &["tag:nightly+"], "ae"),
    ] {
        assert_eq!(names(select, exclude), expected, "{select:?} - {exclude:?}");
    }
    let error =
        Selection::new(vec!["tag:nigtly".to_owned()], vec![]).resolve(&project).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
