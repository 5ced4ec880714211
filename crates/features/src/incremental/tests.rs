mod concurrent;

use std::collections::BTreeMap;

use icecore_catalog::{CompactOptions, ExpireOptions, RollbackPolicy, RowOptions};
use icecore_core::{
    ErrorKind, Literal, Predicate, SnapshotCatalog, SnapshotSelector, TableName, Timestamp,
};
use icecore_engine::is_views_table;
use proptest::prelude::*;

use crate::base;
use crate::compute::{ComputeMode, ComputeOptions};
use crate::fixture::{DAY, Event, Lakehouse, VIEWS, event, events, naive_rows, source};
use crate::verify::{VerifyOptions, verify_view};
use crate::{ComputeReport, Definitions, compute_view};

const TRANSACTIONS: &str = "user_transaction_features";
const TABLE: &str = "ml_features.user_transaction_features";

async fn incremental(
    lake: &Lakehouse,
    definitions: &Definitions,
    view: &str,
) -> icecore_core::Result<ComputeReport> {
    let options = ComputeOptions { mode: ComputeMode::Incremental, ..ComputeOptions::default() };
    compute_view(&lake.engine, definitions, view, options).await
}

fn views() -> Definitions {
    Definitions::parse("features/demo.toml", VIEWS).unwrap()
}

/// A definition as random as the obvious implementation can follow.
#[derive(Debug, Clone)]
struct Drawn {
    closed: &'static str,
    emit: &'static str,
    filtered: bool,
    ttl: Option<&'static str>,
    aggregates: Vec<(&'static str, &'static str, bool, Vec<&'static str>)>,
    query: bool,
}

impl Drawn {
    fn text(&self, name: &str) -> String {
        let source = if self.query {
            "source_sql = \"SELECT * FROM events.raw_transactions WHERE user_token <> 'u3'\""
        } else {
            "source = \"events.raw_transactions\""
        };
        let mut text = format!(
            "[[feature_view]]\nname = \"{name}\"\nentities = [\"user\"]\n{source}\nclosed = \"{}\"\nemit = {}\ntable = \"out.{name}\"\n",
            self.closed, self.emit
        );
        if let Some(ttl) = self.ttl {
            text.push_str(&format!("ttl = \"{ttl}\"\n"));
        }
        if self.filtered {
            text.push_str("where = \"status = 'approved'\"\n");
        }
        for (index, (function, column, masked, windows)) in self.aggregates.iter().enumerate() {
            text.push_str(&format!(
                "[[feature_view.aggregate]]\nname = \"f{index}\"\nfunction = \"{function}\"\ncolumn = \"{column}\"\nwindows = {windows:?}\n"
            ));
            if *masked {
                text.push_str("where = \"amount > 20\"\n");
            }
        }
        text
    }

    fn definitions(&self) -> Definitions {
        let text = format!(
            "[[entity]]\nname = \"user\"\njoin_keys = [\"user_token\"]\n{}{}",
            self.text("step_by_step"),
            self.text("at_once")
        );
        Definitions::parse("f.toml", &text).unwrap()
    }

    fn expected(&self, definitions: &Definitions, events: &[Event]) -> Vec<String> {
        let kept = events.iter().filter(|event| !self.query || event.user.as_deref() != Some("u3"));
        let kept: Vec<Event> = kept.cloned().collect();
        naive_rows(definitions.view("at_once").unwrap(), &kept)
    }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let functions = prop_oneof![
        Just(("count", "txn_id")),
        Just(("sum", "amount")),
        Just(("mean", "amount")),
        Just(("min", "amount")),
        Just(("max", "amount")),
        Just(("last", "amount")),
        Just(("count_distinct", "merchant_id")),
        Just(("days_since_last", "txn_id")),
    ];
    let windows = prop::sample::subsequence(
        vec!["6h", "7d", "30d", "tumbling 1d", "to date 7d", "7d offset 7d", "lifetime"],
        1..=3,
    );
    let aggregate = (functions, any::<bool>(), windows)
        .prop_map(|((function, column), masked, windows)| (function, column, masked, windows));
    let emit = prop_oneof![
        Just("\"each_event\""),
        Just("\"last_per_day\""),
        Just("{ every = \"1d\" }"),
        Just("{ every = \"12h\" }"),
        Just("{ at = [\"2023-11-20T06:00:00Z\", \"2023-12-16\", \"2024-03-01\"] }"),
    ];
    let closed = prop::sample::select(vec!["both", "left", "right", "none"]);
    let aggregates = prop::collection::vec(aggregate, 1..4);
    (closed, emit, any::<bool>(), any::<bool>(), aggregates, prop::bool::weighted(0.25)).prop_map(
        |(closed, emit, filtered, ttl, aggregates, query)| {
            let finite = aggregates.iter().any(|(.., windows)| windows[0] != "lifetime");
            let ttl = (ttl || !finite).then_some("20d");
            Drawn { closed, emit, filtered, ttl, aggregates, query }
        },
    )
}

/// What happens to the source between two runs.
#[derive(Debug, Clone)]
enum Step {
    Append(u64, usize),
    /// Events of the last day so far and the one after it.
    NewDay(u64, usize),
    DeleteMerchant(u8),
    DeleteUser(u8),
    Compact,
    /// To the state before the last step that changed something.
    RollBack,
    /// A range is computed, by somebody who does not know of incremental runs.
    Range(i64, i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<u64>(), 1..40_usize).prop_map(|(seed, count)| Step::Append(seed, count)),
        2 => (any::<u64>(), 1..10_usize).prop_map(|(seed, count)| Step::NewDay(seed, count)),
        2 => (0..6_u8).prop_map(Step::DeleteMerchant),
        1 => (0..7_u8).prop_map(Step::DeleteUser),
        1 => Just(Step::Compact),
        1 => Just(Step::RollBack),
        1 => (0..130_i64, 1..20_i64).prop_map(|(from, days)| Step::Range(from, days)),
    ]
}

/// The source's events, beside the obvious copy of them.
struct World {
    lake: Lakehouse,
    events: Vec<Event>,
    states: Vec<(icecore_core::SnapshotId, Vec<Event>)>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let lake = Lakehouse::open(2).await;
        let mut world = Self { lake, events: Vec::new(), states: Vec::new() };
        world.append(spiced(events(seed, 90))).await;
        world
    }

    async fn append(&mut self, events: Vec<Event>) {
        let pin = self.lake.append(&events, 60).await;
        self.events.extend(events);
        self.states.push((pin.snapshot, self.events.clone()));
    }

    async fn delete(&mut self, column: &str, value: String, gone: impl Fn(&Event) -> bool) {
        let filter = Predicate::equal(column, Literal::Text(value));
        let done = self.lake.catalog.delete(&source(), filter, RowOptions::default()).await;
        self.events.retain(|event| !gone(event));
        self.states.push((done.unwrap().pinned.snapshot, self.events.clone()));
    }

    async fn apply(&mut self, step: &Step, definitions: &Definitions) {
        match step {
            Step::Append(seed, count) => self.append(spiced(events(*seed, *count))).await,
            Step::NewDay(seed, count) => {
                let last = self.events.iter().filter_map(|event| event.time).max().unwrap();
                let mut new = events(*seed, *count);
                for (index, event) in new.iter_mut().enumerate() {
                    event.time = Some(last + (index as i64 % 4) * DAY / 3);
                }
                self.append(new).await;
            }
            Step::DeleteMerchant(number) => {
                let name = format!("m{number}");
                let gone = |event: &Event| event.merchant.as_deref() == Some(name.as_str());
                self.delete("merchant_id", name.clone(), gone).await;
            }
            Step::DeleteUser(number) => {
                let name = format!("u{number}");
                let gone = |event: &Event| event.user.as_deref() == Some(name.as_str());
                self.delete("user_token", name.clone(), gone).await;
            }
            Step::Compact => {
                let options = CompactOptions::default();
                self.lake.catalog.compact(&source(), options).await.unwrap();
            }
            Step::RollBack => {
                if self.states.len() > 1 {
                    self.states.pop();
                    let (state, events) = self.states.last().unwrap().clone();
                    let policy = RollbackPolicy::Force;
                    self.lake.catalog.rollback(&source(), state, policy).await.unwrap();
                    self.events = events;
                }
            }
            Step::Range(from, days) => {
                let at = |day: i64| Some(Timestamp::from_micros(1_700_006_400_000_000 + day * DAY));
                let options = ComputeOptions {
                    from: at(*from),
                    to: at(from + days),
                    ..ComputeOptions::default()
                };
                compute_view(&self.lake.engine, definitions, "step_by_step", options)
                    .await
                    .unwrap();
            }
        }
    }
}

/// Some amounts are no numbers, some are infinite.
fn spiced(mut events: Vec<Event>) -> Vec<Event> {
    for (index, event) in events.iter_mut().enumerate() {
        match index % 23 {
            7 => event.amount = Some(f64::NAN),
            15 => event.amount = Some(f64::INFINITY),
            _ => {}
        }
    }
    events
}

// C142-C145, C3: incremental = full = the obvious computation, to the last bit, with late,
// duplicate, deleted and null events, ties, lifetimes, every emission, and a source that was
// compacted, rewritten and rolled back between runs.
#[test]
fn incremental_runs_give_what_everything_gives() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let config = ProptestConfig { cases: 8, max_shrink_iters: 20, ..ProptestConfig::default() };
    let steps = prop::collection::vec(step(), 1..4);
    proptest!(config, |(drawn in drawn(), seed in any::<u64>(), steps in steps)| {
        runtime.block_on(async {
            let definitions = drawn.definitions();
            let mut world = World::new(seed).await;
            incremental(&world.lake, &definitions, "step_by_step").await.unwrap();
            for step in &steps {
                world.apply(step, &definitions).await;
                incremental(&world.lake, &definitions, "step_by_step").await.unwrap();
                let rows = world.lake.rows("out.step_by_step").await;
                let expected = drawn.expected(&definitions, &world.events);
                prop_assert_eq!(&rows, &expected, "after {:?}", step);
            }
            let full = ComputeOptions { mode: ComputeMode::Full, ..ComputeOptions::default() };
            compute_view(&world.lake.engine, &definitions, "at_once", full).await.unwrap();
            let rows = world.lake.rows("out.step_by_step").await;
            prop_assert_eq!(&rows, &world.lake.rows("out.at_once").await);
            let all = VerifyOptions::new(1.0);
            let verified = verify_view(&world.lake.engine, &definitions, "step_by_step", all).await;
            // A table that never had a row says of nothing what it was computed from.
            prop_assert!(verified.is_ok() || rows.is_empty(), "{:?}", verified);
            Ok(())
        })?;
    });
}

// C145: files of rows that no event acts on stay as they are.
#[tokio::test]
async fn a_new_day_leaves_the_files_of_other_days_alone() {
    let lake = Lakehouse::open(2).await;
    let old: Vec<Event> =
        ["01", "02", "03"].map(|day| event("u", &format!("2024-01-{day}T08:00:00Z"), 1.0)).to_vec();
    lake.append(&old, 10).await;
    let first = incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    assert_eq!((first.rows, first.entities), (3, None));
    let before = lake.files(TABLE).await;
    lake.append(&[event("u", "2024-01-04T08:00:00Z", 1.0)], 10).await;
    let report = incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    assert_eq!((report.rows, report.removed_rows, report.entities), (1, 0, Some(1)));
    let after = lake.files(TABLE).await;
    assert_eq!(after.len(), 4);
    assert!(before.iter().all(|file| after.contains(file)));
    // C142: nothing new, nothing done.
    let again = incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    assert!(!again.changed && again.snapshot_id == report.snapshot_id);
    let log = lake.catalog.history(&report.table).await.unwrap();
    let summary: &BTreeMap<String, String> = &log.last().unwrap().summary;
    assert_eq!(summary["icecore.complete"], "true");
    assert_eq!(summary["icecore.incremental-from"], first.snapshot_id.unwrap().to_string());
}

// C145: however ranges are written, changed events replace their own rows and no others.
#[tokio::test]
async fn a_table_that_is_overwritten_keeps_the_rows_that_nothing_acted_on() {
    let text = VIEWS.replacen("write = \"overwrite_partitions\"", "write = \"overwrite\"", 1);
    let definitions = Definitions::parse("f.toml", &text).unwrap();
    let lake = Lakehouse::open(1).await;
    let old = [event("u1", "2024-01-01", 1.0), event("u2", "2024-01-02", 1.0)];
    lake.append(&old, 10).await;
    incremental(&lake, &definitions, TRANSACTIONS).await.unwrap();
    lake.append(&[event("u1", "2024-01-05", 1.0)], 1).await;
    let report = incremental(&lake, &definitions, TRANSACTIONS).await.unwrap();
    assert_eq!((report.rows, report.entities), (1, Some(1)));
    assert_eq!(lake.rows(TABLE).await.len(), 3);
    // All of somebody's rows go, and nobody else's.
    let filter = Predicate::equal("user_token", Literal::Text("u1".to_owned()));
    lake.catalog.delete(&source(), filter, RowOptions::default()).await.unwrap();
    let report = incremental(&lake, &definitions, TRANSACTIONS).await.unwrap();
    assert_eq!((report.rows, report.removed_rows), (0, 2));
    let kept = lake.rows(TABLE).await;
    assert!(kept.len() == 1 && kept[0].contains("user_token=u2"), "{kept:?}");
    let full = ComputeOptions { mode: ComputeMode::Full, ..ComputeOptions::default() };
    compute_view(&lake.engine, &definitions, TRANSACTIONS, full).await.unwrap();
    assert_eq!(lake.rows(TABLE).await, kept);
}

/// Events, and the demo's views, the first of which sees them through a view of the catalog.
async fn over_a_view() -> (Lakehouse, Definitions) {
    let from = "source = \"events.raw_transactions\"";
    let text = VIEWS.replacen(from, "source_sql = \"SELECT * FROM events.seen\"", 1);
    let lake = Lakehouse::open(1).await;
    lake.append(&events(3, 40), 40).await;
    (lake, Definitions::parse("f.toml", &text).unwrap())
}

/// That the table holds what computing everything gives.
async fn is_all_there(lake: &Lakehouse, definitions: &Definitions) {
    let found = lake.rows(TABLE).await;
    let full = ComputeOptions { mode: ComputeMode::Full, ..ComputeOptions::default() };
    compute_view(&lake.engine, definitions, TRANSACTIONS, full).await.unwrap();
    assert_eq!(lake.rows(TABLE).await, found);
}

// C145: what a source says of the same events is a part of it.
#[tokio::test]
async fn a_view_of_the_catalog_that_says_otherwise_is_a_source_that_changed() {
    let (lake, definitions) = over_a_view().await;
    lake.say("events.known", "SELECT * FROM events.raw_transactions").await;
    lake.say("events.seen", "SELECT * FROM events.known").await;
    assert!(incremental(&lake, &definitions, TRANSACTIONS).await.unwrap().changed);
    assert!(!incremental(&lake, &definitions, TRANSACTIONS).await.unwrap().changed);
    for (view, sql) in [
        ("events.seen", "SELECT * FROM events.known WHERE amount < 60"),
        ("events.known", "SELECT * FROM events.raw_transactions WHERE amount < 40"),
    ] {
        lake.say(view, sql).await;
        assert!(incremental(&lake, &definitions, TRANSACTIONS).await.unwrap().changed, "{view}");
    }
    is_all_there(&lake, &definitions).await;
}

// All views are in one table, and only those count that the query reaches.
#[tokio::test]
async fn views_that_a_query_does_not_reach_change_without_a_look_at_its_events() {
    let (lake, definitions) = over_a_view().await;
    lake.say("events.known", "SELECT * FROM events.raw_transactions").await;
    lake.say("events.seen", "SELECT * FROM events.known").await;
    assert!(incremental(&lake, &definitions, TRANSACTIONS).await.unwrap().changed);
    lake.lose_events();
    lake.say("events.others", "SELECT 1 AS one").await;
    let of_views = TableName::parse("icecore.views").unwrap();
    lake.catalog.compact(&of_views, CompactOptions::default()).await.unwrap();
    let report = incremental(&lake, &definitions, TRANSACTIONS).await.unwrap();
    assert!(!report.changed && report.sources.contains(&lake.pin("icecore.views").await));
    // The state that the first run read is not needed any more.
    let expire =
        ExpireOptions::default().with_older_than(Some(Timestamp::parse("2030-01-01").unwrap()));
    lake.catalog.expire(&of_views, expire).await.unwrap();
    lake.say("events.others", "SELECT 2 AS two").await;
    assert!(!incremental(&lake, &definitions, TRANSACTIONS).await.unwrap().changed);
}

// Earlier builds did not pin what views said.
#[tokio::test]
async fn features_of_a_build_that_pinned_no_views_are_gone_on_from() {
    let (lake, definitions) = over_a_view().await;
    lake.say("events.seen", "SELECT * FROM events.raw_transactions").await;
    let mut last = incremental(&lake, &definitions, TRANSACTIONS).await.unwrap();
    let view = definitions.view(TRANSACTIONS).unwrap();
    let hash = definitions.definition_hash(view);
    for new in [Vec::new(), vec![event("u1", "2024-03-20T10:00:00Z", 1.0)]] {
        let mut sources = last.sources.clone();
        sources.retain(|pin| !is_views_table(&pin.table));
        assert_eq!(sources.len() + 1, last.sources.len());
        let what = (last.snapshot_id.unwrap(), sources.as_slice(), None);
        base::mark(&lake.engine, &last.table, view, &hash, what).await.unwrap();
        lake.append(&new, 10).await;
        last = incremental(&lake, &definitions, TRANSACTIONS).await.unwrap();
        assert_eq!(last.changed, !new.is_empty());
        let is_said = |report: &ComputeReport| {
            report.notes.iter().any(|note| note.contains("what the views of the catalog said"))
        };
        assert!(is_said(&last), "{:?}", last.notes);
        // From now on it is known.
        let next = incremental(&lake, &definitions, TRANSACTIONS).await.unwrap();
        assert!(!next.changed && !is_said(&next));
    }
    is_all_there(&lake, &definitions).await;
}

// A change of a column that no feature looks at is none, and is not looked at again.
#[tokio::test]
async fn a_change_that_no_feature_sees_is_remembered_as_none() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(3, 40), 40).await;
    let first = incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    lake.append(&[Event { user: None, ..event("u", "2024-01-04", 1.0) }], 1).await;
    let report = incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    assert_eq!((report.changed, report.snapshot_id), (false, first.snapshot_id));
    // The state that the first run read is not needed any more.
    let expire =
        ExpireOptions::default().with_older_than(Some(Timestamp::parse("2030-01-01").unwrap()));
    lake.catalog.expire(&source(), expire).await.unwrap();
    assert!(!incremental(&lake, &views(), TRANSACTIONS).await.unwrap().changed);
    lake.append(&[event("u9", "2024-01-04", 1.0)], 1).await;
    assert_eq!(incremental(&lake, &views(), TRANSACTIONS).await.unwrap().rows, 1);
}

async fn refusal(lake: &Lakehouse, definitions: &Definitions) -> icecore_core::Error {
    let error = incremental(lake, definitions, TRANSACTIONS).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.help().unwrap().contains("--full"), "{:?}", error.help());
    error
}

#[tokio::test]
async fn a_changed_definition_is_not_computed_incrementally() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(3, 40), 40).await;
    incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    let changed = VIEWS.replacen("closed = \"both\"", "closed = \"left\"", 1);
    let changed = Definitions::parse("f.toml", &changed).unwrap();
    let error = refusal(&lake, &changed).await;
    assert!(error.to_string().contains("changed since its rows were computed"), "{error}");
    let full = ComputeOptions { mode: ComputeMode::Full, ..ComputeOptions::default() };
    compute_view(&lake.engine, &changed, TRANSACTIONS, full).await.unwrap();
    assert!(!incremental(&lake, &changed, TRANSACTIONS).await.unwrap().changed);
}

#[tokio::test]
async fn a_source_that_was_expired_or_replaced_is_refused() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(3, 40), 40).await;
    incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    lake.append(&events(4, 10), 40).await;
    let expire =
        ExpireOptions::default().with_older_than(Some(Timestamp::parse("2030-01-01").unwrap()));
    lake.catalog.expire(&source(), expire).await.unwrap();
    let error = refusal(&lake, &views()).await;
    assert!(error.to_string().contains("is gone"), "{error}");
    lake.catalog.drop_table(&source()).await.unwrap();
    lake.append(&events(4, 10), 40).await;
    let error = refusal(&lake, &views()).await;
    assert!(error.to_string().contains("dropped and created again"), "{error}");
}

// To compute everything again is no advice where that removes what another view computed.
#[tokio::test]
async fn rows_of_another_view_are_not_to_be_computed_over() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(3, 40), 40).await;
    incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    let text = VIEWS.replacen("name = \"user_transaction_features\"", "name = \"other\"", 1);
    let other = Definitions::parse("f.toml", &text).unwrap();
    let error = incremental(&lake, &other, "other").await.unwrap_err();
    assert!(error.to_string().ends_with("`user_transaction_features` wrote to it"), "{error}");
    assert!(error.help().unwrap().starts_with("name another `table` for `other`"), "{error:?}");
}

#[tokio::test]
async fn rows_that_others_wrote_are_refused() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(3, 40), 40).await;
    incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    let table = TableName::parse(TABLE).unwrap();
    let filter = Predicate::equal("user_token", Literal::Text("u1".to_owned()));
    lake.catalog.delete(&table, filter, RowOptions::default()).await.unwrap();
    let error = refusal(&lake, &views()).await;
    assert!(error.to_string().contains("others wrote to it"), "{error}");
    // Compaction is no such thing.
    let full = ComputeOptions { mode: ComputeMode::Full, ..ComputeOptions::default() };
    compute_view(&lake.engine, &views(), TRANSACTIONS, full).await.unwrap();
    lake.catalog.compact(&table, CompactOptions::default()).await.unwrap();
    assert!(!incremental(&lake, &views(), TRANSACTIONS).await.unwrap().changed);
}

// Whoever comes second sees what the first one did; nothing is lost or doubled.
#[tokio::test]
async fn runs_at_the_same_time_agree() {
    let lake = Lakehouse::open(2).await;
    let mut all = events(5, 60);
    lake.append(&all, 60).await;
    incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    for seed in 6..9 {
        let new = events(seed, 30);
        lake.append(&new, 60).await;
        all.extend(new);
        let definitions = views();
        let (one, two) = tokio::join!(
            incremental(&lake, &definitions, TRANSACTIONS),
            incremental(&lake, &definitions, TRANSACTIONS)
        );
        one.unwrap();
        two.unwrap();
        let fresh = Lakehouse::open(1).await;
        fresh.append(&all, 1000).await;
        incremental(&fresh, &definitions, TRANSACTIONS).await.unwrap();
        assert_eq!(lake.rows(TABLE).await, fresh.rows(TABLE).await);
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_touched() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(3, 40), 40).await;
    incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    lake.append(&[event("u1", "2024-03-20T10:00:00Z", 1.0)], 1).await;
    let options = ComputeOptions {
        mode: ComputeMode::Incremental,
        dry_run: true,
        ..ComputeOptions::default()
    };
    let before = lake.pin(TABLE).await;
    let report = compute_view(&lake.engine, &views(), TRANSACTIONS, options).await.unwrap();
    assert_eq!((report.changed, report.entities, report.snapshot_id), (true, Some(1), None));
    assert_eq!(report.range.from, Some(Timestamp::parse("2024-03-20").unwrap()));
    assert_eq!(lake.pin(TABLE).await, before);
    let at = lake.catalog.pin(&source(), &SnapshotSelector::Latest).await.unwrap();
    assert_eq!(report.sources, [at]);
}
