//! Random tables and changes against an oracle in memory.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::catalog::AlterOptions;
use crate::rowlevel::{NullKeys, UpsertOptions, WhenMatched};
use crate::schema::Alteration;

const SCORES: [f64; 5] = [0.0, -0.0, 1.5, f64::NAN, f64::NEG_INFINITY];
const NAMES: [&str; 4] = ["", "a", "雪だるま☃", "a longer name than Parquet's shortest"];

fn rows(most: usize) -> impl Strategy<Value = Vec<Line>> {
    let name = prop_oneof![Just(None), (0..NAMES.len()).prop_map(|at| Some(NAMES[at].to_owned()))];
    let score =
        prop_oneof![Just(None), (0..SCORES.len()).prop_map(|at| Some(SCORES[at].to_bits()))];
    let extra = prop_oneof![Just(None), (0..3_i64).prop_map(Some)];
    let row = (0..12_i64, name, score, 0..3_i32, extra)
        .prop_map(|(id, name, score, day, extra)| Line { id, name, score, day, extra });
    vec(row, 0..most)
}

fn filter() -> impl Strategy<Value = Predicate> {
    let op = prop_oneof![
        Just(CompareOp::Eq),
        Just(CompareOp::NotEq),
        Just(CompareOp::Lt),
        Just(CompareOp::LtEq),
        Just(CompareOp::Gt),
        Just(CompareOp::GtEq),
    ];
    let leaf = prop_oneof![
        (op.clone(), 0..12_i64).prop_map(|(op, id)| Predicate::compare("id", op, Literal::Int(id))),
        (op.clone(), 0..NAMES.len()).prop_map(|(op, at)| {
            Predicate::compare("name", op, Literal::Text(NAMES[at].to_owned()))
        }),
        (op.clone(), 0..SCORES.len()).prop_map(|(op, at)| Predicate::compare(
            "score",
            op,
            Literal::Float(SCORES[at])
        )),
        (op, 0..3_i32).prop_map(|(op, days)| {
            Predicate::compare("day", op, Literal::Date(icecore_core::Date::from_days(days)))
        }),
        Just(Predicate::IsNull("name".to_owned())),
        Just(Predicate::IsNotNull("score".to_owned())),
        vec(0..12_i64, 0..4).prop_map(|ids| Predicate::In(
            "id".to_owned(),
            ids.into_iter().map(Literal::Int).collect()
        )),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Predicate::Not(Box::new(inner))),
            vec(inner.clone(), 1..3).prop_map(Predicate::And),
            vec(inner, 1..3).prop_map(Predicate::Or),
        ]
    })
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Line>),
    Delete(Predicate, RowMode),
    /// The rows that pass are put in.
    Overwrite(Predicate, Vec<Line>, RowMode),
    Upsert {
        rows: Vec<Line>,
        with_name: bool,
        matched: WhenMatched,
        mode: RowMode,
        partial: bool,
    },
    /// Adds a column.
    Evolve,
    /// Lays files out otherwise from now on.
    LayOut(usize),
}

/// Ways to lay files out.
fn layout(which: usize) -> Alteration {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    match which {
        0 => Alteration::PartitionBy(owned(&[])),
        1 => Alteration::PartitionBy(owned(&["day"])),
        2 => Alteration::PartitionBy(owned(&["bucket(3, id)", "name"])),
        3 => Alteration::PartitionBy(owned(&["truncate(2, name)"])),
        _ => Alteration::SortBy(owned(&["score desc", "id"])),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![Just(RowMode::CopyOnWrite), Just(RowMode::MergeOnRead)];
    let matched = prop_oneof![
        3 => Just(WhenMatched::Update),
        1 => Just(WhenMatched::Ignore),
        1 => Just(WhenMatched::Delete),
    ];
    prop_oneof![
        3 => rows(20).prop_map(Step::Append),
        3 => (filter(), mode.clone()).prop_map(|(filter, mode)| Step::Delete(filter, mode)),
        2 => (filter(), rows(8), mode.clone())
            .prop_map(|(filter, rows, mode)| Step::Overwrite(filter, rows, mode)),
        4 => (rows(8), any::<bool>(), matched, mode, any::<bool>()).prop_map(
            |(rows, with_name, matched, mode, partial)| {
                Step::Upsert { rows, with_name, matched, mode, partial }
            }
        ),
        1 => Just(Step::Evolve),
        1 => (0..5_usize).prop_map(Step::LayOut),
    ]
}

/// Whether a row passes: SQL's three-valued logic, and NaN as the greatest number.
fn passes(filter: &Predicate, row: &Line) -> Option<bool> {
    fn compared<T: PartialOrd>(op: CompareOp, left: &T, right: &T) -> bool {
        match op {
            CompareOp::Eq => left == right,
            CompareOp::NotEq => left != right,
            CompareOp::Lt => left < right,
            CompareOp::LtEq => left <= right,
            CompareOp::Gt => left > right,
            _ => left >= right,
        }
    }
    // NaN as a number that compares.
    let ranked = |number: f64| (number.is_nan(), if number.is_nan() { 0.0 } else { number });
    match filter {
        Predicate::Compare { op, value, .. } => Some(match value {
            Literal::Int(id) => compared(*op, &row.id, id),
            Literal::Text(text) => compared(*op, row.name.as_ref()?, text),
            Literal::Float(number) => compared(*op, &ranked(row.score()?), &ranked(*number)),
            Literal::Date(date) => compared(*op, &row.day, &date.days()),
            other => unreachable!("{other:?}"),
        }),
        Predicate::IsNull(_) => Some(row.name.is_none()),
        Predicate::IsNotNull(_) => Some(row.score.is_some()),
        Predicate::In(_, ids) => Some(ids.contains(&Literal::Int(row.id))),
        Predicate::Not(inner) => passes(inner, row).map(|answer| !answer),
        Predicate::And(parts) => {
            let answers: Vec<_> = parts.iter().map(|part| passes(part, row)).collect();
            if answers.contains(&Some(false)) {
                Some(false)
            } else {
                answers.into_iter().collect::<Option<Vec<_>>>().map(|_| true)
            }
        }
        Predicate::Or(parts) => {
            let answers: Vec<_> = parts.iter().map(|part| passes(part, row)).collect();
            if answers.contains(&Some(true)) {
                Some(true)
            } else {
                answers.into_iter().collect::<Option<Vec<_>>>().map(|_| false)
            }
        }
        other => unreachable!("{other:?}"),
    }
}

struct World {
    lines: Lines,
    oracle: Vec<Line>,
}

impl World {
    fn fit(&self, mut rows: Vec<Line>) -> Vec<Line> {
        if !self.lines.extra {
            rows.iter_mut().for_each(|row| row.extra = None);
        }
        rows
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Append(rows) => {
                let rows = self.fit(rows);
                self.lines.append(&rows).await;
                self.oracle.extend(rows);
            }
            Step::Delete(filter, mode) => {
                let done = self.lines.delete(&filter, RowOptions::default().with_mode(mode)).await;
                let before = self.oracle.len();
                self.oracle.retain(|row| passes(&filter, row) != Some(true));
                let gone = (before - self.oracle.len()) as u64;
                assert_eq!((done.deleted, done.changed), (gone, gone > 0));
            }
            Step::Overwrite(filter, rows, mode) => {
                let mut rows = self.fit(rows);
                rows.retain(|row| passes(&filter, row) == Some(true));
                let stream = lines_of(&rows, self.lines.extra);
                let options = RowOptions::default().with_mode(mode);
                let table = &self.lines.table;
                let done = self.lines.catalog().overwrite_where(table, &filter, stream, options);
                let done = done.await.unwrap();
                let before = self.oracle.len();
                self.oracle.retain(|row| passes(&filter, row) != Some(true));
                let gone = (before - self.oracle.len()) as u64;
                assert_eq!((done.deleted, done.inserted), (gone, rows.len() as u64));
                self.oracle.extend(rows);
            }
            Step::Upsert { rows, with_name, matched, mode, partial } => {
                let rows = self.fit(rows);
                self.upsert(rows, with_name, (matched, mode, partial)).await;
            }
            Step::LayOut(which) => {
                let (table, to) = (&self.lines.table, [layout(which)]);
                let done = self.lines.catalog().alter(table, &to, AlterOptions::default());
                done.await.unwrap();
            }
            Step::Evolve => {
                self.lines.extra = true;
                let (table, schema) = (&self.lines.table, schema_with(true));
                self.lines.catalog().evolve(table, &schema).await.unwrap();
            }
        }
    }

    async fn upsert(
        &mut self,
        mut rows: Vec<Line>,
        with_name: bool,
        (matched, mode, partial): (WhenMatched, RowMode, bool),
    ) {
        let key = |row: &Line| {
            (row.id, row.name.clone().filter(|_| with_name), with_name && row.name.is_none())
        };
        let mut seen = std::collections::HashSet::new();
        rows.retain(|row| seen.insert(key(row)));
        let mut options = UpsertOptions::default()
            .with_mode(mode)
            .with_matched(matched)
            .with_null_keys(NullKeys::Equal);
        if partial {
            options = options.with_update_columns(["score"]);
        }
        let names = if with_name { vec!["id", "name"] } else { vec!["id"] };
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let stream = lines_of(&rows, self.lines.extra);
        let done = self.lines.catalog().upsert(&self.lines.table, stream, &names, options).await;
        let done = done.unwrap();

        let (mut updated, mut deleted) = (0, 0);
        let find = |row: &Line| rows.iter().find(|new| key(new) == key(row));
        let inserts: Vec<Line> = rows
            .iter()
            .filter(|new| !self.oracle.iter().any(|row| key(row) == key(new)))
            .cloned()
            .collect();
        match matched {
            WhenMatched::Delete => {
                let before = self.oracle.len();
                self.oracle.retain(|row| find(row).is_none());
                deleted = (before - self.oracle.len()) as u64;
            }
            WhenMatched::Update => {
                for row in &mut self.oracle {
                    let Some(new) = find(row) else { continue };
                    let next = if partial {
                        Line { score: new.score, ..row.clone() }
                    } else {
                        new.clone()
                    };
                    updated += u64::from(*row != next);
                    *row = next;
                }
            }
            _ => {}
        }
        let expected = (inserts.len() as u64, updated, deleted);
        assert_eq!((done.inserted, done.updated, done.deleted), expected);
        assert_eq!(done.changed, expected != (0, 0, 0));
        self.oracle.extend(inserts);
    }
}

async fn check(steps: Vec<Step>, version: u8, partition_by: &[&str]) {
    let lines = Lines::new(version, partition_by).await;
    let mut world = World { lines, oracle: Vec::new() };
    for step in steps {
        world.lines.lake.clock.advance_ms(7);
        let shown = format!("{step:?}");
        world.take(step).await;
        world.oracle.sort();
        assert_eq!(world.lines.now().await, world.oracle, "after {shown}");
    }
    let log = world.lines.catalog().history(&world.lines.table).await.unwrap();
    if let Some(last) = log.last() {
        let total = last.count("total-records") - last.count("total-position-deletes");
        assert_eq!(total, world.oracle.len() as i64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_changes_reads_as_the_oracle_says(
        steps in vec(step(), 1..9),
        version in 2..4_u8,
        layout in prop_oneof![Just(vec![]), Just(vec!["day"]), Just(vec!["bucket(3, id)", "name"])],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(steps, version, &layout));
    }
}
