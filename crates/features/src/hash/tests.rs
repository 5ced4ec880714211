//! Formatting does not change the hash, meaning does: over random definitions.

use icecore_core::{
    Aggregate, AggregateFunction, Closed, Derived, Emit, Entity, JoinKey, RequestInput, Span,
    TableName, ValueType, Window, WriteMode,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const CONDITIONS: [&str; 4] = [
    "status = 'Declined'",
    "amount > 20 AND status <> 'x'",
    "coalesce(amount, 0) BETWEEN 1 AND 5",
    "\"Odd Name\" IS NOT NULL",
];
const EXPRESSIONS: [&str; 4] =
    ["a_7d / greatest(b_30d, 1)", "CASE WHEN a_7d > 3 THEN 1 ELSE 0 END", "a_7d + asked", "-b_30d"];

/// A definition out of numbers, so that one number changes one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choices([usize; 14]);

const RANGES: [usize; 14] = [4, 3, 4, 4, 4, 5, 3, 4, 4, 2, 3, 2, 2, 3];

impl Choices {
    fn of(&self, at: usize) -> usize {
        self.0[at]
    }

    fn definitions(&self) -> Definitions {
        let pick = |at: usize| self.of(at);
        let days = |days| Window::last(Span::from_days(days));
        let filter = |at: usize| (pick(at) > 0).then(|| CONDITIONS[pick(at)].to_owned());
        let types = [None, Some(ValueType::String), Some(ValueType::Long)];
        let key = JoinKey { name: "user_token".to_owned(), value_type: types[pick(1)] };
        let function = [
            AggregateFunction::Count,
            AggregateFunction::Sum,
            AggregateFunction::Max,
            AggregateFunction::LastK(3),
            AggregateFunction::LastK(4),
        ];
        let emits = [
            Emit::EachEvent,
            Emit::LastPerDay,
            Emit::every(Span::from_days(1)),
            Emit::every(Span::from_days(2)),
        ];
        let closed = [Closed::Both, Closed::Left, Closed::Right, Closed::None];
        let mut first =
            Aggregate::new("a", function[pick(5)].clone(), [days(7), days(9 + pick(6) as i64)])
                .with_column("amount");
        first.filter = filter(3);
        let second = Aggregate::new("b", AggregateFunction::Mean, [days(30)])
            .with_column(["amount", "fee"][pick(9)]);
        let mut view = FeatureView::new("v", ["user"])
            .with_source(TableName::parse("events.raw").unwrap())
            .with_table(TableName::parse(["f.v", "f.w", "f.x"][pick(10)]).unwrap())
            .with_closed(closed[pick(2)])
            .with_emit(emits[pick(8)].clone())
            .with_ttl(Span::from_days(80 + pick(7) as i64))
            .with_aggregate(first)
            .with_aggregate(second)
            .with_derived(Derived::new("d", EXPRESSIONS[pick(4)]))
            .with_write([WriteMode::OverwritePartitions, WriteMode::Append][pick(11)])
            .with_request_input(RequestInput::new(
                "asked",
                [ValueType::Double, ValueType::Long][pick(12)],
            ));
        view.filter = filter(0);
        if pick(13) > 0 {
            view = view.with_created_timestamp(["", "known_at", "seen_at"][pick(13)]);
        }
        let user = Entity::new("user").with_join_keys([key]);
        Definitions::new(vec![user], vec![view]).unwrap()
    }

    fn hash(&self) -> String {
        let definitions = self.definitions();
        definitions.definition_hash(&definitions.views[0])
    }
}

fn choices() -> impl Strategy<Value = Choices> {
    RANGES.map(|range| 0..range).prop_map(Choices)
}

/// Random, but the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }
}

/// The same SQL as somebody else would type it.
fn typed_anew(sql: &str, dice: &mut Dice) -> String {
    let mut quote = None;
    let mut text = String::new();
    for c in sql.chars() {
        match quote {
            Some(end) => {
                if c == end {
                    quote = None;
                }
                text.push(c);
            }
            None if matches!(c, '\'' | '"') => {
                quote = Some(c);
                text.push(c);
            }
            None if c == ' ' => text.push_str([" ", "  ", "\n\t", " /* why */ "][dice.below(4)]),
            None if dice.below(2) == 0 => text.extend(c.to_uppercase()),
            None => text.extend(c.to_lowercase()),
        }
    }
    text
}

/// The same file as somebody else would type it: keys in another order, spaces, comments.
fn formatted_anew(table: &toml::Table, path: &str, dice: &mut Dice, out: &mut String) {
    let is_tables = |value: &toml::Value| {
        value.as_array().is_some_and(|items| items.iter().all(toml::Value::is_table))
            && value.as_array().is_some_and(|items| !items.is_empty())
    };
    let (mut tables, mut plain): (Vec<_>, Vec<_>) =
        table.iter().partition(|(_, value)| is_tables(value));
    for list in [&mut tables, &mut plain] {
        for at in (1..list.len()).rev() {
            list.swap(at, dice.below(at + 1));
        }
    }
    for (key, value) in plain {
        let value = match (key.as_str(), value) {
            ("where" | "expression", toml::Value::String(sql)) => {
                toml::Value::String(typed_anew(sql, dice))
            }
            _ => value.clone(),
        };
        let spaces = [" ", "", "   "];
        let (left, right) = (spaces[dice.below(3)], spaces[dice.below(3)]);
        let comment = ["", " # as agreed", "\n\n# more"][dice.below(3)];
        out.push_str(&format!("{key}{left}={right}{value}{comment}\n"));
    }
    for (key, value) in tables {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        for item in value.as_array().unwrap() {
            out.push_str(&format!("\n[[ {path} ]]\n"));
            formatted_anew(item.as_table().unwrap(), &path, dice, out);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn formatting_and_descriptions_do_not_change_the_hash(choices in choices(), seed: u64) {
        let definitions = choices.definitions();
        let canonical = definitions.to_toml().unwrap();
        let mut described = definitions.views[0].clone();
        described.description = Some("for people".to_owned());
        described.owner = Some("risk".to_owned());
        described.tags.insert("tier".to_owned(), "gold".to_owned());
        described.aggregates[0].description = Some("what".to_owned());
        described.request_inputs[0].description = Some("from the till".to_owned());
        prop_assert_eq!(definitions.definition_hash(&described), choices.hash());

        let mut text = String::new();
        formatted_anew(&canonical.parse().unwrap(), "", &mut Dice(seed), &mut text);
        let again = Definitions::parse("f.toml", &text);
        prop_assert!(again.is_ok(), "{:?}\n{}", again, text);
        let again = again.unwrap();
        prop_assert_eq!(again.definition_hash(&again.views[0]), choices.hash(), "{}", text);
    }

    #[test]
    fn every_change_of_meaning_changes_the_hash(
        choices in choices(),
        at in 0..RANGES.len(),
        by in select(vec![1_usize, 2, 3]),
    ) {
        let mut other = choices.clone();
        other.0[at] = (other.0[at] + by) % RANGES[at];
        prop_assert_eq!(other.hash() == choices.hash(), other == choices);
    }
}

#[test]
fn a_hash_stays_what_it_was() {
    // Tables in use name it: another value would ask everybody to compute everything again.
    let definitions = Definitions::parse("f.toml", crate::fixture::VIEWS).unwrap();
    let hashes: Vec<String> =
        definitions.views.iter().map(|view| definitions.definition_hash(view)).collect();
    let short: Vec<&str> = hashes.iter().map(|hash| &hash[..12]).collect();
    assert_eq!(short, ["887bb39ea6cc", "87576cbe64bc"]);
}
