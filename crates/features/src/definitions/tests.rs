use icecore_core::{
    Aggregate, AggregateFunction, Closed, Derived, Emit, Error, Finite, RequestInput, Span,
    TableName, Timestamp, ValueType, Window, WriteMode,
};

use super::*;

/// The view of the house's own example.
const SHORT: &str = r#"
[[entity]]
name = "user"
join_keys = ["user_token"]

[[feature_view]]
name = "txn"
entities = ["user"]
source = "events.raw_transactions"
table = "ml_features.txn"

[[feature_view.aggregate]]
name = "txn_count"
function = "count"
column = "txn_id"
windows = ["7d", "30d"]

[[feature_view.aggregate]]
name = "decline_count"
function = "count"
column = "txn_id"
where = "status = 'declined'"
windows = ["30d"]

[[feature_view.derived]]
name = "decline_rate_30d"
expression = "decline_count_30d / greatest(txn_count_30d, 1)"
"#;

fn lines(error: &Error) -> Vec<String> {
    let line = |error: &Error| {
        let place = error.location().map(ToString::to_string).unwrap_or_default();
        let help = error.help().map(|help| format!(" | {help}")).unwrap_or_default();
        format!("{place} {error}{help}")
    };
    std::iter::once(line(error)).chain(error.related().iter().map(line)).collect()
}

/// Reads the short example with one text replaced, and compares everything that is reported.
fn check(old: &str, new: &str, expected: &[&str]) {
    assert!(SHORT.contains(old), "{old}");
    let text = SHORT.replacen(old, new, 1);
    let error = Definitions::parse("features/txn.toml", text.trim_start()).unwrap_err();
    let found: Vec<String> =
        lines(&error).iter().map(|l| l.replace("features/txn.toml:", "")).collect();
    assert_eq!(found, expected, "{new}");
}

#[test]
fn a_short_file_works_by_defaults() {
    let definitions = Definitions::parse("features/txn.toml", SHORT).unwrap();
    let view = definitions.view("txn").unwrap();
    assert_eq!(definitions.join_keys(view).unwrap(), ["user_token"]);
    assert_eq!(view.event_timestamp, "event_timestamp");
    assert_eq!((view.closed, &view.emit), (Closed::Both, &Emit::LastPerDay));
    assert_eq!((view.write, view.ttl), (WriteMode::OverwritePartitions, None));
    assert_eq!(view.partition_by, ["feature_date"]);
    assert_eq!(
        view.feature_names(),
        ["txn_count_7d", "txn_count_30d", "decline_count_30d", "decline_rate_30d"]
    );
    let entity = Definitions::parse("e.toml", "[[entity]]\nname = \"user\"").unwrap();
    assert_eq!(entity.entities[0].join_keys, [JoinKey::new("user")]);
}

#[test]
fn every_key_is_read() {
    let text = r#"
        [[entity]]
        name = "user"
        join_keys = ["user_token", "region"]
        description = "who pays"
        [[feature_view]]
        name = "v"
        entities = ["user"]
        source_sql = "SELECT * FROM events.raw"
        event_timestamp = "at"
        created_timestamp = "known_at"
        where = "amount > 0"
        ttl = "90d"
        closed = "left"
        emit = { every = "1h" }
        table = "f.v"
        partition_by = ["month(at)", "bucket(4, user_token)"]
        write = "append"
        description = "d"
        owner = "o"
        tags = { team = "risk" }
        [[feature_view.aggregate]]
        name = "a"
        function = "days_since_last"
        column = "txn_id"
        windows = ["lifetime", "1w"]
    "#;
    let definitions = Definitions::parse("f.toml", text).unwrap();
    let view = definitions.view("v").unwrap();
    assert_eq!(view.emit, Emit::every(Span::parse("1h").unwrap()));
    assert_eq!((view.closed, view.write), (Closed::Left, WriteMode::Append));
    assert_eq!(view.created_timestamp.as_deref(), Some("known_at"));
    assert_eq!(view.filter.as_deref(), Some("amount > 0"));
    assert_eq!(view.tags["team"], "risk");
    assert_eq!(view.aggregates[0].function, AggregateFunction::DaysSinceLast);
    assert_eq!(view.aggregates[0].windows[0], Window::LIFETIME);
    assert_eq!(view.feature_names(), ["a", "a_7d"]);
    // The reader and serde agree on what a view is.
    let json = serde_json::to_string(view).unwrap();
    assert_eq!(&serde_json::from_str::<FeatureView>(&json).unwrap(), view);
}

#[test]
fn functions_take_their_parameters_and_windows_their_steps() {
    let aggregate = |lines: &str| {
        let text = SHORT.replacen("function = \"count\"", lines, 1);
        let definitions = Definitions::parse("f.toml", &text).unwrap();
        let view = definitions.view("txn").unwrap().clone();
        // The reader and serde agree on what a view is.
        let json = serde_json::to_string(&view).unwrap();
        assert_eq!(serde_json::from_str::<FeatureView>(&json).unwrap(), view);
        view.aggregates[0].clone()
    };
    let number = |value| Finite::new(value).unwrap();
    assert_eq!(aggregate("function = \"last_k\"\nk = 5").function, AggregateFunction::LastK(5));
    let shares = AggregateFunction::ApproxPercentiles(vec![number(0.0), number(0.95)]);
    let percentiles = "function = \"approx_percentiles\"\npercentiles = [0, 0.95]";
    assert_eq!(aggregate(percentiles).function, shares);
    let edges = AggregateFunction::Histogram(vec![number(-1.5), number(10.0)]);
    assert_eq!(aggregate("function = \"histogram\"\nedges = [-1.5, 10]").function, edges);
    assert_eq!(aggregate("function = \"count\"\nclosed = \"right\"").closed, Some(Closed::Right));

    let text = SHORT.replacen("\"7d\"", "\"tumbling 1d align 8h\", \"7d offset 7d\"", 1);
    let definitions = Definitions::parse("f.toml", &text).unwrap();
    let view = definitions.view("txn").unwrap();
    let names = view.feature_names();
    assert_eq!(names[..2], ["txn_count_tumbling_1d_align_8h", "txn_count_7d_offset_7d"]);
    let [aggregate, ..] = view.aggregates.as_slice() else { unreachable!() };
    let closed = |window: usize| view.closed_of(aggregate, aggregate.windows[window]);
    assert_eq!((closed(0), closed(1)), (Closed::Left, Closed::Both));
}

#[test]
fn rows_come_at_given_times() {
    let emit = |value: &str| {
        let text = SHORT.replacen("source = ", &format!("emit = {value}\nsource = "), 1);
        Definitions::parse("f", &text).map(|read| read.views[0].emit.clone())
    };
    let times = ["2026-11-22", "2026-11-23T08:00:00Z"].map(|time| Timestamp::parse(time).unwrap());
    let at = emit("{ at = [\"2026-11-22\", \"2026-11-23T08:00:00Z\"] }").unwrap();
    assert_eq!(at, Emit::At(times.to_vec()));
    let (every, align) = (Span::from_days(1), Span::parse("8h").unwrap());
    assert_eq!(emit("{ every = \"1d\", align = \"8h\" }").unwrap(), Emit::Every { every, align });
    assert!(emit("{ at = [] }").is_err());
    assert!(emit("{ at = [\"2026-11-22\"], every = \"1d\" }").is_err());
}

#[test]
fn mistakes_in_keys_and_values_have_places_and_help() {
    let blocks = include_str!("mistakes.txt").split("\n\n").skip(1);
    let mut count = 0;
    for block in blocks {
        let part = |mark: &str| {
            let lines = block.lines().filter_map(|line| line.strip_prefix(mark));
            lines.collect::<Vec<_>>()
        };
        check(&part("- ").join("\n"), &part("+ ").join("\n"), &part("! "));
        count += 1;
    }
    assert_eq!(count, 43);
}

#[test]
fn all_mistakes_of_all_files_come_at_once() {
    let first = "[[entity]]\nname = \"user\"\nkeys = [\"a\"]\n";
    let second = "[[feature_view]]\nname = \"v\"\nentities = [\"usr\"]\nsource = \"raw\"\n";
    let third = "[[feature_view]\n";
    let files = [("a.toml", first), ("b.toml", second), ("c.toml", third)];
    let error = Definitions::parse_all(files).unwrap_err();
    assert_eq!(
        lines(&error),
        [
            "a.toml:3:1 unknown key `keys` in `entity`",
            "b.toml:3:13 there is no entity `usr` | did you mean `user`?",
            "b.toml:4:10 table name `raw` is not of the form `namespace.table`",
            "c.toml:1:16 not valid TOML: unclosed array table, expected `]`",
        ]
    );
}

#[test]
fn the_hash_is_of_the_meaning() {
    let hash = |text: &str| {
        let definitions = Definitions::parse("f.toml", text).unwrap();
        definitions.definition_hash(definitions.view("txn").unwrap())
    };
    let base = hash(SHORT);
    assert_eq!(base.len(), 64);
    let same = [
        ("name = \"txn\"", "name   =   'txn' # the payments"),
        ("status = 'declined'", "STATUS='declined' -- refused"),
        (
            "decline_count_30d / greatest(txn_count_30d, 1)",
            "decline_count_30d/GREATEST( Txn_count_30d,1 )",
        ),
        ("windows = [\"7d\",", "description = \"d\"\nwindows = [\"1w\","),
        ("source = ", "owner = \"me\"\ntags = { a = \"b\" }\nemit = \"last_per_day\"\nsource = "),
    ];
    for (old, new) in same {
        assert!(SHORT.contains(old), "{old}");
        assert_eq!(hash(&SHORT.replacen(old, new, 1)), base, "{new}");
    }
    let different = [
        ("join_keys = [\"user_token\"]", "join_keys = [\"user_id\"]"),
        ("'declined'", "'DECLINED'"),
        ("\"7d\"", "\"8d\""),
        ("30d, 1)", "30d, 2)"),
        ("function = \"count\"", "function = \"count_distinct\""),
        ("source = ", "closed = \"left\"\nsource = "),
        ("source = ", "emit = \"each_event\"\nsource = "),
        ("source = ", "ttl = \"1d\"\nsource = "),
    ];
    for (old, new) in different {
        assert!(SHORT.contains(old), "{old}");
        assert_ne!(hash(&SHORT.replacen(old, new, 1)), base, "{new}");
    }
}

/// Everything that is reported for a file, without the file's name.
fn mistakes(text: &str) -> Vec<String> {
    let error = Definitions::parse("f", text).unwrap_err();
    lines(&error).iter().map(|line| line.replace("f:", "")).collect()
}

#[test]
fn stored_features_stay_in_a_table_as_they_are() {
    let view =
        "[[entity]]\nname = \"user\"\n[[feature_view]]\nname = \"v\"\nentities = [\"user\"]\n";
    assert_eq!(
        mistakes(&format!("{view}source = \"a.b\"")),
        [
            "3:1 `v` has no features | name columns of the source in `columns`, or compute some with `[[feature_view.aggregate]]`"
        ]
    );
    let derived = "[[feature_view.derived]]\nname = \"d\"\nexpression = \"x\"";
    let refused = format!(
        "{view}columns = [\"x\"]\ntable = \"a.b\"\nsource_sql = \"SELECT 1\"\nwhere = \"x > 0\"\n{derived}"
    );
    let help = "write the rows to a table first, and name that as `source`";
    assert_eq!(
        mistakes(&refused),
        [
            format!("7:9 stored features of `v` cannot have `table` | {help}"),
            format!("8:14 stored features of `v` cannot have `source_sql` | {help}"),
            format!("9:9 stored features of `v` cannot have `where` | {help}"),
        ]
    );
}

#[test]
fn rows_on_a_grid_must_end() {
    let text = "[[entity]]\nname = \"user\"\n[[feature_view]]\nname = \"v\"\nentities = [\"user\"]\nsource = \"a.b\"\ntable = \"c.d\"\nemit = { every = \"1d\" }\n[[feature_view.aggregate]]\nname = \"since\"\nfunction = \"days_since_last\"\nwindows = [\"lifetime\"]\n";
    assert_eq!(
        mistakes(text),
        [
            "8:8 `v` would have rows for ever after an entity's last event | add `ttl = \"90d\"`, or a window of finite length"
        ]
    );
    let with_ttl = text.replace("emit =", "ttl = \"1d\"\nemit =");
    assert!(Definitions::parse("f", &with_ttl).is_ok());
}

#[test]
fn names_are_given_once_in_all_files() {
    let files = [("a", SHORT.trim_start()), ("b", SHORT.trim_start())];
    let error = Definitions::parse_all(files).unwrap_err();
    assert_eq!(
        lines(&error),
        ["b:2:8 entity `user` is defined twice", "b:6:8 feature view `txn` is defined twice"]
    );
}

// Definitions made in code pass the same checks.
#[test]
fn definitions_made_in_code_are_checked_too() {
    let read = Definitions::parse("f", SHORT).unwrap();
    let (entities, mut views) = (read.entities.clone(), read.views.clone());
    let made = Definitions::new(entities.clone(), views.clone()).unwrap();
    assert_eq!(made.definition_hash(&views[0]), read.definition_hash(&views[0]));
    views[0].aggregates[0].windows[0] = Window::last(Span::from_micros(0));
    views[0].entities = vec!["nobody".to_owned()];
    let error = Definitions::new(entities, views).unwrap_err();
    assert_eq!(
        lines(&error),
        [" there is no entity `nobody`", " a window must be longer than nothing"]
    );
}

#[test]
fn numbers_that_cannot_be_meant_are_named() {
    check(
        "function = \"count\"",
        "function = \"last_k\"\nk = -1",
        &["14:5 `k` cannot be `-1` | write a whole number from 0 to 4294967295"],
    );
    check(
        "function = \"count\"",
        "function = \"histogram\"\nedges = [1, inf]",
        &["14:13 `edges` cannot be `inf` | write a number that is finite"],
    );
}

#[test]
fn names_of_columns_that_computing_needs_are_refused() {
    check(
        "name = \"decline_rate_30d\"",
        "name = \"__known\"",
        &[
            "25:8 `__known` cannot name a feature | use letters, digits and `_`, and begin with a letter",
        ],
    );
}

#[test]
fn views_with_one_table_are_named_together() {
    let other = SHORT.trim_start().replacen("name = \"user\"", "name = \"payer\"", 1);
    let other = other.replacen("[\"user\"]", "[\"payer\"]", 1).replacen("\"txn\"", "\"more\"", 1);
    let files = [("a", SHORT.trim_start()), ("b", other.as_str())];
    let error = Definitions::parse_all(files).unwrap_err();
    let expected = "b:9:9 feature views `txn` and `more` both write to `ml_features.txn` | name \
                    another `table` for one of them";
    assert_eq!(lines(&error), [expected]);
    assert_eq!(error.notes(), ["the table of `txn` is named at a:9:9"]);
    let apart = other.replacen("ml_features.txn", "ml_features.more", 1);
    assert!(Definitions::parse_all([("a", SHORT.trim_start()), ("b", &apart)]).is_ok());
}

#[test]
fn files_are_read_from_a_directory_in_order() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Definitions::load(&dir.path().join("none")).unwrap().views.is_empty());
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("b.toml", SHORT);
    write("a.toml", "[[entity]]\nname = \"merchant\"");
    write("notes.md", "not TOML");
    let definitions = Definitions::load(dir.path()).unwrap();
    let names: Vec<&str> = definitions.entities.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["merchant", "user"]);
    let place = definitions.location(&definitions.views[0], "aggregate.1.where").unwrap();
    assert!(place.file.ends_with("b.toml"));
    assert_eq!((place.line, place.column), (22, 9));
    assert_eq!(definitions.view("txns").unwrap_err().help(), Some("did you mean `txn`?"));
}

#[test]
fn code_defines_what_a_file_defines() {
    let days = |days| Window::last(Span::from_days(days));
    let table = |name| TableName::parse(name).unwrap();
    let view = FeatureView::new("txn", ["user"])
        .with_source(table("events.raw_transactions"))
        .with_table(table("ml_features.txn"))
        .with_aggregate(
            Aggregate::new("txn_count", AggregateFunction::Count, [days(7), days(30)])
                .with_column("txn_id"),
        )
        .with_aggregate(
            Aggregate::new("decline_count", AggregateFunction::Count, [days(30)])
                .with_column("txn_id")
                .with_filter("status = 'declined'"),
        )
        .with_derived(Derived::new(
            "decline_rate_30d",
            "decline_count_30d / greatest(txn_count_30d, 1)",
        ));
    let user = Entity::new("user").with_join_keys(["user_token"]);
    let code = Definitions::new(vec![user], vec![view]).unwrap();
    let file = Definitions::parse("features/txn.toml", SHORT).unwrap();
    assert_eq!((&code.entities, &code.views), (&file.entities, &file.views));
    assert_eq!(code.to_toml().unwrap(), file.to_toml().unwrap());
}

#[test]
fn keys_and_requests_have_types() {
    let typed = SHORT.replacen(
        "[\"user_token\"]",
        "[\"region\", { name = \"user_id\", type = \"long\" }]",
        1,
    ) + "[[feature_view.request]]\nname = \"now\"\ntype = \"decimal(9, 2)\"\n";
    let definitions = Definitions::parse("f.toml", &typed).unwrap();
    let keys = [JoinKey::new("region"), JoinKey::typed("user_id", ValueType::Long)];
    assert_eq!(definitions.entities[0].join_keys, keys);
    let decimal = ValueType::Decimal { precision: 9, scale: 2 };
    assert_eq!(definitions.views[0].request_inputs, [RequestInput::new("now", decimal)]);
    let again = Definitions::parse("g.toml", &definitions.to_toml().unwrap()).unwrap();
    assert_eq!((&again.entities, &again.views), (&definitions.entities, &definitions.views));

    let key = |key: &str| format!("join_keys = [{key}]");
    let old = "join_keys = [\"user_token\"]";
    check(
        old,
        &key("{ name = \"u\", type = \"bigint\" }"),
        &["3:35 there is no type `bigint` | write `long`"],
    );
    check(
        old,
        &key("{ type = \"long\" }"),
        &["3:14 `join key` has no `name` | write `{ name = \"user_id\", type = \"long\" }`"],
    );
    check(
        old,
        &key("{ name = \"u\", type = \"double\" }"),
        &["3:14 join key `u: double` cannot be a floating-point number | numbers that are nearly \
         equal are other entities; take `long` or `string`"],
    );
    check(old, &key("7"), &["3:14 `join_keys` must be text or a table, not a whole number"]);
    let derived = "[[feature_view.derived]]";
    let request = |text: &str| format!("[[feature_view.request]]\n{text}\n\n{derived}");
    check(
        derived,
        &request("name = \"txn_count_7d\"\ntype = \"long\""),
        &["25:8 two columns would be named `txn_count_7d` | give one of them another name"],
    );
    check(
        derived,
        &request("name = \"now\""),
        &["24:1 `request` has no `type` | write one of boolean, int, long, float, double, \
         decimal(P, S), string, date, timestamp"],
    );
}
