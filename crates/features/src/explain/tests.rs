use super::*;
use crate::fixture::{Event, Lakehouse, VIEWS, event};

async fn explained(closed: &str, at: &str) -> Explanation {
    let lake = Lakehouse::open(1).await;
    let mut events =
        ["2024-01-01", "2024-01-31", "2024-02-25", "2024-02-26"].map(|day| event("u", day, 1.0));
    events[1].status = Some("declined");
    events[2].txn = None;
    let others = [event("other", "2024-01-31", 1.0), Event { user: None, ..events[0].clone() }];
    lake.append(&[events.as_slice(), &others].concat(), 10).await;
    let text = VIEWS.replacen("closed = \"both\"", &format!("closed = \"{closed}\""), 1);
    let definitions = Definitions::parse("f.toml", &text).unwrap();
    let view = definitions.view("user_transaction_features").unwrap();
    let entity = parse_entity(&definitions, view, "u").unwrap();
    let options = ExplainOptions::new(entity, Timestamp::parse(at).unwrap());
    explain(&lake.engine, &definitions, &view.name, options).await.unwrap()
}

/// The events that count for a feature, the latest first.
fn counts(explanation: &Explanation, column: &str) -> Vec<bool> {
    let found = explanation.windows.iter().find(|window| window.column == column);
    found.unwrap().standings.iter().map(|standing| *standing == Standing::Counts).collect()
}

#[tokio::test]
async fn each_event_is_in_or_out_of_each_window() {
    // 30 days back from here is the 31st of January.
    let both = explained("both", "2024-03-01").await;
    assert_eq!(both.events.num_rows(), 4);
    assert_eq!(counts(&both, "txn_count_7d"), [true, false, false, false]);
    assert_eq!(counts(&both, "txn_count_30d"), [true, false, true, false]);
    assert_eq!(counts(&both, "txn_count_90d"), [true, false, true, true]);
    assert_eq!(counts(&both, "txn_amount_7d"), [true, true, false, false]);
    assert_eq!(counts(&both, "decline_count_30d"), [false, false, true, false]);
    let names: Vec<_> = both.events.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["user_token", "event_timestamp", "txn_id", "amount", "merchant_id"]);

    let right = explained("right", "2024-03-01").await;
    assert_eq!(counts(&right, "txn_count_30d"), [true, false, false, false]);
    let future = explained("both", "2024-02-25").await;
    assert_eq!(counts(&future, "txn_amount_7d"), [false, true, false, false]);
    let left = explained("left", "2024-02-26").await;
    assert_eq!(counts(&left, "txn_amount_7d"), [false, true, false, false]);
}

#[tokio::test]
async fn an_event_that_does_not_count_says_why_and_the_values_are_those_of_the_view() {
    let lake = Lakehouse::open(1).await;
    let days = ["2024-01-01", "2024-01-31", "2024-02-25", "2024-02-28", "2024-02-29", "2024-03-02"];
    let mut events = days.map(|day| event("u", day, 1.0));
    events[2].txn = None;
    events[3].amount = Some(30.0);
    events[4].status = Some("declined");
    lake.append(&events, 10).await;
    let text =
        VIEWS.replacen("closed = \"both\"", "closed = \"right\"\nwhere = \"amount < 20\"", 1);
    let definitions = Definitions::parse("f.toml", &text).unwrap();
    let view = definitions.view("user_transaction_features").unwrap();
    let entity = parse_entity(&definitions, view, "u").unwrap();
    let mut options = ExplainOptions::new(entity, Timestamp::parse("2024-03-01").unwrap());
    let found = explain(&lake.engine, &definitions, &view.name, options.clone()).await.unwrap();
    let standings = |column: &str| -> Vec<Standing> {
        let window = found.windows.iter().find(|window| window.column == column);
        window.unwrap().standings.clone()
    };
    use Standing::{After, AtOpenEnd, Before, ConditionNotMet, Counts, NoValue, NotInView};
    let all = standings("txn_count_30d");
    assert_eq!(all, [After, Counts, NotInView, NoValue, AtOpenEnd, Before]);
    let declined = standings("decline_count_30d");
    assert_eq!(declined, [After, Counts, NotInView, ConditionNotMet, AtOpenEnd, Before]);
    let value = |name: &str| {
        let column = found.values.column_by_name(name).unwrap();
        column.as_primitive::<arrow::datatypes::Int64Type>().value(0)
    };
    assert_eq!(
        (value("txn_count_30d"), value("txn_count_90d"), value("decline_count_30d")),
        (1, 3, 1)
    );
    assert!(!found.has_more_events);

    options.events_max = 2;
    let few = explain(&lake.engine, &definitions, &view.name, options.clone()).await.unwrap();
    assert!(few.has_more_events && !few.has_more_later_events);
    // What is later takes no place from what can count.
    assert_eq!((few.events.num_rows(), few.later_events), (3, 1));
    let counting = few.windows.iter().find(|window| window.column == "txn_count_30d");
    assert_eq!(counting.unwrap().standings, [After, Counts, NotInView]);
    options.at = Timestamp::parse("2024-01-30").unwrap();
    let early = explain(&lake.engine, &definitions, &view.name, options.clone()).await.unwrap();
    assert_eq!((early.events.num_rows(), early.later_events), (3, 2));
    assert!(early.has_more_later_events && !early.has_more_events);
    let days = early.events.column_by_name("event_timestamp").unwrap();
    let days = days.as_primitive::<TimestampMicrosecondType>().iter().flatten();
    let days: Vec<String> =
        days.map(|day| Timestamp::from_micros(day).date().to_string()).collect();
    assert_eq!(days, ["2024-02-25", "2024-01-31", "2024-01-01"], "those nearest to the moment");
    assert_eq!(few.values, found.values, "what is listed does not decide what counts");
    // Before its first event the entity has no row.
    options.at = Timestamp::parse("2023-12-31").unwrap();
    let none = explain(&lake.engine, &definitions, &view.name, options).await.unwrap();
    assert_eq!(none.values.num_rows(), 0);
}

#[test]
fn entities_are_named_by_value_or_by_key() {
    let text =
        VIEWS.replace("join_keys = [\"user_token\"]", "join_keys = [\"user_token\", \"region\"]");
    let two = Definitions::parse("f.toml", &text).unwrap();
    let one = Definitions::parse("f.toml", VIEWS).unwrap();
    let parse = |definitions: &Definitions, text: &str| {
        parse_entity(definitions, &definitions.views[0], text)
    };
    assert_eq!(parse(&one, "a=b").unwrap()["user_token"], "a=b");
    assert_eq!(parse(&one, "user_token=a").unwrap()["user_token"], "a");
    assert_eq!(parse(&two, "region=eu,user_token=a").unwrap()["region"], "eu");
    assert_eq!(parse(&two, "a").unwrap_err().help(), Some("write `user_token=…,region=…`"));
    assert_eq!(parse(&two, "user_token=a").unwrap_err().to_string(), "the entity has no `region`");
    assert!(parse(&two, "user_token=a,region=eu,x=y").is_err());
}
