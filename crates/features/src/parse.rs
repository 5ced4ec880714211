//! From a TOML file to entities and feature views.

mod function;

use icecore_core::{
    Aggregate, AggregateFunction, Closed, Derived, Emit, Entity, Error, FeatureService,
    FeatureView, JoinKey, OnlineForm, PushSource, RequestInput, Result, ServiceForm, Span,
    TableName, Timestamp, ValueType, Window, WriteMode,
};
use serde::Deserialize;
use serde::de::value::StrDeserializer;

use crate::document::{Document, Findings, Table, TextOrTable};

pub(crate) use function::parameter_of;

/// What files define.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) entities: Vec<Entity>,
    pub(crate) views: Vec<FeatureView>,
    pub(crate) services: Vec<FeatureService>,
    pub(crate) push_sources: Vec<PushSource>,
}

/// Reads one file; mistakes go to `found`.
pub(crate) fn read_file((file, text): (&str, &str), read: &mut Read, found: &mut Findings) {
    let mut document = Document::new(file, text, found);
    let Some(entries) = document.read() else { return };
    let mut root = Table::root(&entries);
    for table in root.tables(&mut document, "entity", read.entities.len()) {
        read.entities.push(entity(table, &mut document));
    }
    for table in root.tables(&mut document, "feature_view", read.views.len()) {
        read.views.push(feature_view(table, &mut document));
    }
    for table in root.tables(&mut document, "feature_service", read.services.len()) {
        read.services.push(feature_service(table, &mut document));
    }
    for table in root.tables(&mut document, "push_source", read.push_sources.len()) {
        read.push_sources.extend(push_source(table, &mut document));
    }
    root.finish(&mut document);
}

fn push_source(mut table: Table<'_>, document: &mut Document<'_>) -> Option<PushSource> {
    table.missing(document, "name", "write `name = \"…\"`");
    table.missing(document, "table", "write `table = \"namespace.table\"`");
    let name = table.text(document, "name");
    let to = table.parsed(document, "table", TableName::parse);
    let description = table.text(document, "description");
    table.finish(document);
    Some(PushSource { name: name?, table: to?, description })
}

fn feature_service(mut table: Table<'_>, document: &mut Document<'_>) -> FeatureService {
    let own = |text: &str| Ok(text.to_owned());
    table.missing(document, "name", "write `name = \"…\"`");
    table.missing(document, "features", "write `features = [\"view:feature\"]`");
    let service = FeatureService {
        name: table.text(document, "name").unwrap_or_default(),
        features: table.list(document, "features", own).unwrap_or_default(),
        online: table.parsed(document, "online", service_form).unwrap_or_default(),
        description: table.text(document, "description"),
    };
    table.finish(document);
    service
}

fn entity(mut table: Table<'_>, document: &mut Document<'_>) -> Entity {
    table.missing(document, "name", "write `name = \"…\"`");
    let name = table.text(document, "name").unwrap_or_default();
    let join_keys = table.texts_or_tables(document, "join_keys", "join key");
    let join_keys =
        join_keys.map(|keys| keys.into_iter().map(|key| join_key(key, document)).collect());
    let description = table.text(document, "description");
    table.finish(document);
    let own = || vec![JoinKey::new(name.clone())];
    Entity { join_keys: join_keys.unwrap_or_else(own), name, description }
}

fn join_key(key: TextOrTable<'_>, document: &mut Document<'_>) -> JoinKey {
    let mut table = match key {
        TextOrTable::Text(name) => return JoinKey::new(name),
        TextOrTable::Table(table) => table,
    };
    table.missing(document, "name", "write `{ name = \"user_id\", type = \"long\" }`");
    let name = table.text(document, "name").unwrap_or_default();
    let value_type = table.parsed(document, "type", ValueType::parse);
    table.finish(document);
    JoinKey { name, value_type }
}

fn feature_view(mut table: Table<'_>, document: &mut Document<'_>) -> FeatureView {
    let own = |text: &str| Ok(text.to_owned());
    table.missing(document, "name", "write `name = \"…\"`");
    table.missing(document, "entities", "name the entities that the features describe");
    let view = FeatureView {
        name: table.text(document, "name").unwrap_or_default(),
        entities: table.list(document, "entities", own).unwrap_or_default(),
        source: table.parsed(document, "source", TableName::parse),
        source_sql: table.text(document, "source_sql"),
        event_timestamp: table
            .text(document, "event_timestamp")
            .unwrap_or_else(|| "event_timestamp".to_owned()),
        created_timestamp: table.text(document, "created_timestamp"),
        filter: table.text(document, "where"),
        ttl: table.parsed(document, "ttl", Span::parse),
        closed: table.parsed(document, "closed", closed).unwrap_or_default(),
        emit: emit(&mut table, document),
        table: table.parsed(document, "table", TableName::parse),
        partition_by: table.list(document, "partition_by", own).unwrap_or_else(|| {
            if table.has("aggregate") { vec!["feature_date".to_owned()] } else { Vec::new() }
        }),
        write: table
            .parsed(document, "write", write_mode)
            .unwrap_or(WriteMode::OverwritePartitions),
        columns: table.list(document, "columns", own).unwrap_or_default(),
        aggregates: Vec::new(),
        derived: Vec::new(),
        request_inputs: Vec::new(),
        online: table.parsed(document, "online", online_form).unwrap_or_default(),
        description: table.text(document, "description"),
        owner: table.text(document, "owner"),
        tags: table.text_map(document, "tags"),
    };
    let aggregates = table.tables(document, "aggregate", 0);
    let derived = table.tables(document, "derived", 0);
    let requests = table.tables(document, "request", 0);
    let view = FeatureView {
        aggregates: aggregates.into_iter().map(|table| aggregate(table, document)).collect(),
        derived: derived.into_iter().map(|table| derive(table, document)).collect(),
        request_inputs: requests.into_iter().filter_map(|t| request(t, document)).collect(),
        ..view
    };
    table.finish(document);
    view
}

fn aggregate(mut table: Table<'_>, document: &mut Document<'_>) -> Aggregate {
    table.missing(document, "name", "write `name = \"…\"`: columns are named `{name}_{window}`");
    table.missing(document, "function", "write one of count, sum, mean, min, max, …");
    table.missing(document, "windows", "write `windows = [\"7d\", \"30d\"]`, or `[\"lifetime\"]`");
    let aggregate = Aggregate {
        name: table.text(document, "name").unwrap_or_default(),
        function: function::read(&mut table, document).unwrap_or(AggregateFunction::Count),
        column: table.text(document, "column"),
        filter: table.text(document, "where"),
        windows: table.list(document, "windows", Window::parse).unwrap_or_default(),
        closed: table.parsed(document, "closed", closed),
        description: table.text(document, "description"),
    };
    table.finish(document);
    aggregate
}

fn derive(mut table: Table<'_>, document: &mut Document<'_>) -> Derived {
    table.missing(document, "name", "write `name = \"…\"`");
    table.missing(document, "expression", "write `expression = \"a_7d / greatest(b_7d, 1)\"`");
    let derived = Derived {
        name: table.text(document, "name").unwrap_or_default(),
        expression: table.text(document, "expression").unwrap_or_default(),
        description: table.text(document, "description"),
    };
    table.finish(document);
    derived
}

fn request(mut table: Table<'_>, document: &mut Document<'_>) -> Option<RequestInput> {
    table.missing(document, "name", "write `name = \"amount\"`");
    table.missing(document, "type", &format!("write one of {}", ValueType::NAMES.join(", ")));
    let name = table.text(document, "name");
    let value_type = table.parsed(document, "type", ValueType::parse);
    let description = table.text(document, "description");
    table.finish(document);
    Some(RequestInput { name: name?, value_type: value_type?, description })
}

fn emit(table: &mut Table<'_>, document: &mut Document<'_>) -> Emit {
    match table.text_or_table(document, "emit", "emit") {
        None => Emit::default(),
        Some(TextOrTable::Text(text)) => match text.as_str() {
            "each_event" => Emit::EachEvent,
            "last_per_day" => Emit::LastPerDay,
            other => {
                let error = Error::invalid(format!("unknown emission `{other}`"))
                    .with_note(
                        "one of `each_event`, `last_per_day`, `{ every = \"1d\" }`, `{ at = [\"…\"] }`",
                    )
                    .with_candidates(other, ["each_event", "last_per_day"]);
                table.reject(document, "emit", error);
                Emit::default()
            }
        },
        Some(TextOrTable::Table(mut inner)) => {
            let scheduled = scheduled(&mut inner, document);
            inner.finish(document);
            scheduled.unwrap_or_default()
        }
    }
}

fn scheduled(inner: &mut Table<'_>, document: &mut Document<'_>) -> Option<Emit> {
    let at = inner.list(document, "at", Timestamp::parse);
    let (has_at, has_align) = (inner.has("at"), inner.has("align"));
    if !has_at {
        inner.missing(document, "every", "write `emit = { every = \"1d\" }`");
    }
    let every = inner.parsed(document, "every", Span::parse);
    let align = inner.parsed(document, "align", Span::parse);
    if has_at && (every.is_some() || has_align) {
        let error = Error::invalid("rows come out `every` so often or `at` given times, not both");
        inner.reject(document, "at", error);
        return None;
    }
    let align = align.unwrap_or(Span::from_micros(0));
    at.map(Emit::At).or_else(|| every.map(|every| Emit::Every { every, align }))
}

fn closed(text: &str) -> Result<Closed> {
    one_of(text, "`closed`", &["both", "left", "right", "none"])
}

fn service_form(text: &str) -> Result<ServiceForm> {
    one_of(text, "`online`", &["views", "vector"])
}

fn online_form(text: &str) -> Result<OnlineForm> {
    one_of(text, "`online`", &["rows", "tiles"])
}

fn write_mode(text: &str) -> Result<WriteMode> {
    one_of(text, "`write`", &["append", "overwrite", "overwrite_partitions"])
}

/// Reads a word into an enum that serde knows.
fn one_of<'de, T: Deserialize<'de>>(text: &'de str, what: &str, words: &[&str]) -> Result<T> {
    let parsed: Result<_, serde::de::value::Error> = T::deserialize(StrDeserializer::new(text));
    parsed.map_err(|_| {
        Error::invalid(format!("{what} cannot be `{text}`"))
            .with_note(format!("one of: {}", words.join(", ")))
            .with_candidates(text, words.iter().copied())
    })
}
