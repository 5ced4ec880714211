use std::sync::Arc;

use icecore_core::{ErrorKind, FeatureEngine};

use super::*;
use crate::LocalFeatureEngine;
use crate::fixture::{DAY, Lakehouse, VIEWS, event, events, text_rows};

const FIRST: i64 = 1_700_006_400_000_000;

/// Every user, and one whom nobody knows, at each moment.
fn spine(moments: &[i64]) -> String {
    let moments = moments.iter().map(|at| format!("({at})")).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT who AS user_token, arrow_cast(at, 'Timestamp(Microsecond, Some(\"+00:00\"))') AS seen_at \
         FROM (SELECT DISTINCT user_token AS who FROM events.raw_transactions UNION ALL SELECT 'nobody') \
         CROSS JOIN (VALUES {moments}) AS m(at)"
    )
}

/// What is known of each user at the moments, as text without what is no feature.
async fn answered(
    lake: &Lakehouse,
    (definitions, name): (&Definitions, &str),
    moments: &[i64],
    rules: MomentRules,
) -> Vec<String> {
    let view = definitions.view(name).unwrap();
    let pins = crate::pin_sources(&lake.engine, view, &[]).await.unwrap();
    let rows = lake.engine.query(&spine(moments), &pins).await.unwrap();
    let keys = [("user_token".to_owned(), "user_token".to_owned())];
    let asked = AskedMoments::of(&lake.engine, rows, &keys, "seen_at").await.unwrap();
    let frame = features_at(&lake.engine, (definitions, view), &pins, &asked, rules).await.unwrap();
    let frame = frame.filter(ident(MomentColumns::NEWEST).is_not_null()).unwrap();
    let rows = lake.engine.stream(frame).await.unwrap().concat().await.unwrap();
    let hidden = [MomentColumns::NEWEST, MomentColumns::KNOWN, MomentColumns::ANSWERED];
    let schema = rows.schema();
    let shown = (0..rows.num_columns())
        .filter(|at| !hidden.contains(&schema.field(*at).name().as_str()))
        .collect::<Vec<_>>();
    text_rows(&rows.project(&shown).unwrap())
}

fn moments() -> Vec<i64> {
    // Bounds of windows are hit, and missed by a microsecond.
    let days = [0, 1, 8, 30, 37, 38, 61, 68, 98, 120, 128, 158, 300];
    let hit = days.iter().map(|day| FIRST + day * DAY);
    hit.flat_map(|at| [at, at + 1, at + DAY / 4 - 1]).chain([FIRST - DAY]).collect()
}

// C3 C41 C116
#[tokio::test]
async fn a_moment_that_is_asked_about_sees_what_a_row_of_that_moment_would() {
    for (seed, closed) in (0..).zip(["both", "left", "right", "none"]) {
        let lake = Lakehouse::open(2).await;
        lake.append(&events(seed, 120), 50).await;
        let definitions = shaped(closed);
        for view in &definitions.views {
            let moments = moments();
            let mut emitting = definitions.clone();
            let at = emitting.views.iter_mut().find(|other| other.name == view.name).unwrap();
            at.emit = Emit::At(moments.iter().map(|at| Timestamp::from_micros(*at)).collect());
            at.partition_by.clear();
            let pins = crate::pin_sources(&lake.engine, view, &[]).await.unwrap();
            let emitted = emitting.view(&view.name).unwrap().clone();
            let local = LocalFeatureEngine::new(lake.engine.clone(), Arc::new(emitting));
            let rows = local.compute(&emitted, &pins, TimeRange::default()).await.unwrap();
            let expected = text_rows(&rows.concat().await.unwrap());
            assert!(expected.len() > 100);
            let rules = MomentRules::default();
            let found = answered(&lake, (&definitions, &view.name), &moments, rules).await;
            assert_eq!(found, expected, "{} with seed {seed}", view.name);
        }
    }
}

fn with_created(query: &str) -> Definitions {
    let source = format!("source_sql = \"\"\"{query}\"\"\"\ncreated_timestamp = \"created\"");
    let text = VIEWS.replacen("source = \"events.raw_transactions\"", &source, 1);
    Definitions::parse("f.toml", &text).unwrap()
}

// C117 D10 D22
#[tokio::test]
async fn events_that_were_created_or_published_later_do_not_count() {
    const LATE: &str = "SELECT *, CASE WHEN length(txn_id) = 2 THEN NULL ELSE arrow_cast( \
         arrow_cast(event_timestamp, 'Int64') \
         + (ascii(merchant_id) + length(txn_id)) % 5 * 259200000000, \
         'Timestamp(Microsecond, Some(\"+00:00\"))') END AS created FROM events.raw_transactions";
    let lake = Lakehouse::open(2).await;
    lake.append(&events(9, 150), 60).await;
    let name = "user_transaction_features";
    let all = moments();
    for (by_created, delay) in [(true, 0), (true, 2), (false, 3)] {
        let delay_span = Span::from_days(delay);
        let rules = MomentRules { by_created, delay: Some(delay_span), ..MomentRules::default() };
        let found = answered(&lake, (&with_created(LATE), name), &all, rules).await;
        let mut expected = Vec::new();
        for moment in &all {
            // The same lake, if nothing had happened since then.
            let clock = if by_created { "created" } else { "event_timestamp" };
            let known = format!(
                "SELECT * FROM ({LATE}) WHERE {clock} <= TIMESTAMP '{}'",
                Timestamp::from_micros(moment - delay * DAY)
            );
            let rules = MomentRules::default();
            expected
                .extend(answered(&lake, (&with_created(&known), name), &[*moment], rules).await);
        }
        expected.sort();
        assert!(expected.len() > 100);
        assert_eq!(found, expected, "{rules:?}");
    }
}

#[tokio::test]
async fn strictly_before_is_a_microsecond_earlier() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(2, 80), 80).await;
    let text = VIEWS.replace("closed = \"both\"", "closed = \"right\"");
    let text = text.replacen("\"90d\"]", "\"90d\", \"7d offset 1d\", \"tumbling 1d\"]", 1);
    let definitions = Definitions::parse("f.toml", &text).unwrap();
    let name = "user_transaction_features";
    let strict = MomentRules { strict: true, ..MomentRules::default() };
    for (day, moment) in [(38, "2023-12-23"), (98, "2024-02-21")] {
        let hit = [FIRST + day * DAY];
        assert_eq!(Timestamp::from_micros(hit[0]), Timestamp::parse(moment).unwrap());
        let strictly = answered(&lake, (&definitions, name), &hit, strict).await;
        assert!(strictly.len() > 3);
        let inclusive = answered(&lake, (&definitions, name), &hit, MomentRules::default()).await;
        assert_ne!(strictly, inclusive);
        let others = format!(
            "source_sql = \"SELECT * FROM events.raw_transactions \
             WHERE event_timestamp <> TIMESTAMP '{moment}'\""
        );
        let without = text.replacen("source = \"events.raw_transactions\"", &others, 1);
        let without = Definitions::parse("f.toml", &without).unwrap();
        let expected = answered(&lake, (&without, name), &hit, MomentRules::default()).await;
        assert_eq!(strictly, expected);
    }
}

/// The demo's views with windows of every shape, and these bounds.
fn shaped(closed: &str) -> Definitions {
    let all = "windows = [\"7d\", \"30d\", \"90d\"]";
    assert!(VIEWS.contains(all));
    let shapes = "windows = [\"7d\", \"30d\", \"90d\", \"1d offset 1d\", \"tumbling 1d\", \
                  \"hopping 2d every 1d\", \"to date 1d\", \"lifetime\"]";
    let closed = format!("closed = \"{closed}\"");
    let text = VIEWS.replacen(all, shapes, 1).replacen("closed = \"both\"", &closed, 1);
    Definitions::parse("f.toml", &text).unwrap()
}

// C117: only events of the very moment stay out, whichever windows have some.
#[tokio::test]
async fn strictness_is_about_the_moment_and_no_other_end_of_a_window() {
    let lake = Lakehouse::open(1).await;
    let days = ["2024-01-01", "2024-01-02", "2024-01-03"];
    lake.append(&days.map(|day| event("u", day, 1.0)), 10).await;
    let strict = MomentRules { strict: true, ..MomentRules::default() };
    let name = "user_transaction_features";
    // The end of a complete day is a moment like any other, unless it is the one that is asked for.
    for (moment, expected) in [
        ("2024-01-03", [2, 2, 2, 1, 0, 1, 0, 2]),
        ("2024-01-03T12:00:00Z", [3, 3, 3, 1, 1, 2, 0, 3]),
    ] {
        let at = [Timestamp::parse(moment).unwrap().micros()];
        let rows = answered(&lake, (&shaped("right"), name), &at, strict).await;
        let cells = rows[0].split(' ').filter(|cell| cell.starts_with("txn_count"));
        let counts: Vec<i64> =
            cells.map(|cell| cell.split_once('=').unwrap().1.parse().unwrap()).collect();
        assert_eq!((rows.len(), counts), (1, expected.to_vec()), "{moment}");
    }
}

// The bounds of a ttl belong to it, whatever those of windows do.
#[tokio::test]
async fn an_event_as_old_as_the_ttl_is_recent() {
    let lake = Lakehouse::open(1).await;
    lake.append(&[event("u", "2024-01-01", 1.0)], 10).await;
    let first = Timestamp::parse("2024-01-01").unwrap().micros();
    let name = "user_transaction_features";
    let strict = MomentRules { strict: true, ..MomentRules::default() };
    for closed in ["both", "left", "right", "none"] {
        let definitions = shaped(closed);
        for (moment, rules, rows) in [
            (first, MomentRules::default(), 1),
            (first, strict, 0),
            (first + 90 * DAY, MomentRules::default(), 1),
            (first + 90 * DAY, strict, 1),
            (first + 90 * DAY + 1, MomentRules::default(), 0),
        ] {
            let found = answered(&lake, (&definitions, name), &[moment], rules).await;
            assert_eq!(found.len(), rows, "{closed} {moment} {rules:?}");
        }
    }
}

#[tokio::test]
async fn views_without_windows_and_spines_without_moments_are_refused() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(1, 5), 5).await;
    let text = "[[entity]]\nname = \"user\"\njoin_keys = [\"user_token\"]\n[[feature_view]]\nname = \"v\"\nentities = [\"user\"]\nsource = \"events.raw_transactions\"\ncolumns = [\"amount\"]\n";
    let definitions = Definitions::parse("f.toml", text).unwrap();
    let view = &definitions.views[0];
    let pins = crate::pin_sources(&lake.engine, view, &[]).await.unwrap();
    let keys = [("user_token".to_owned(), "user_token".to_owned())];
    let rows = lake.engine.query(&spine(&[FIRST]), &pins).await.unwrap();
    let asked = AskedMoments::of(&lake.engine, rows.clone(), &keys, "seen_at").await.unwrap();
    let rules = MomentRules::default();
    let error = features_at(&lake.engine, (&definitions, view), &pins, &asked, rules).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
    let missing = AskedMoments::of(&lake.engine, rows.clone(), &keys, "sen_at").await.unwrap_err();
    assert_eq!(missing.help(), Some("did you mean `seen_at`?"));
    let text = AskedMoments::of(&lake.engine, rows, &keys, "user_token").await.unwrap_err();
    assert!(text.to_string().contains("neither a time nor a date"));
}
