//! What definitions must be before any data is looked at.

use std::collections::{BTreeMap, BTreeSet};

use icecore_core::{Aggregate, Emit, Entity, Error, FeatureView, Span, TableName, ValueType};

use crate::document::Findings;
use crate::expression::{Expression, parse_query, unknown_column};
use crate::on_demand;
use crate::order;
use crate::partition::{FEATURE_DATE, check_field, has_feature_date};

/// Adds every mistake in the meaning of definitions to `found`.
pub(crate) fn check(entities: &[Entity], views: &[FeatureView], found: &mut Findings) {
    let mut seen = BTreeSet::new();
    for (index, entity) in entities.iter().enumerate() {
        check_entity(entity, &format!("entity.{index}"), &mut seen, found);
    }
    let mut seen = BTreeSet::new();
    for (index, view) in views.iter().enumerate() {
        let mut view = ViewCheck { view, entities, path: format!("feature_view.{index}"), found };
        view.name(&mut seen);
        view.run();
    }
    check_tables(views, found);
}

/// Two views that write to one table would take each other's rows for their own.
fn check_tables(views: &[FeatureView], found: &mut Findings) {
    let mut owners: BTreeMap<&TableName, (usize, &FeatureView)> = BTreeMap::new();
    for (index, view) in views.iter().enumerate().filter(|(_, view)| !view.is_stored()) {
        let Some(table) = &view.table else { continue };
        let Some((first, owner)) = owners.get(table).copied() else {
            owners.insert(table, (index, view));
            continue;
        };
        // That a view is defined twice is said already.
        if owner.name == view.name {
            continue;
        }
        let (one, other) = (&owner.name, &view.name);
        let mut error =
            Error::invalid(format!("feature views `{one}` and `{other}` both write to `{table}`"))
                .with_help("name another `table` for one of them");
        if let Some(place) = found.places.nearest(&format!("feature_view.{first}.table")) {
            error = error.with_note(format!("the table of `{one}` is named at {place}"));
        }
        let error = found.places.locate(&format!("feature_view.{index}.table"), error);
        found.errors.push(error);
    }
}

/// The error for an entity that does not exist.
pub(crate) fn unknown_entity(name: &str, entities: &[Entity]) -> Error {
    let names: Vec<&str> = entities.iter().map(|entity| entity.name.as_str()).collect();
    let error = Error::not_found(format!("there is no entity `{name}`"));
    if names.is_empty() {
        return error.with_help(format!("define it: `[[entity]]` with `name = \"{name}\"`"));
    }
    error.with_note(format!("entities: {}", names.join(", "))).with_candidates(name, names)
}

fn check_entity<'a>(
    entity: &'a Entity,
    path: &str,
    seen: &mut BTreeSet<&'a str>,
    found: &mut Findings,
) {
    if found.broken.contains(path) {
        seen.insert(&entity.name);
        return;
    }
    let mut report = |part: &str, error: Error| {
        let error = found.places.locate(&format!("{path}.{part}"), error);
        found.errors.push(error);
    };
    if let Err(error) = check_name(&entity.name, "an entity") {
        report("name", error);
    }
    if !seen.insert(&entity.name) {
        report("name", Error::invalid(format!("entity `{}` is defined twice", entity.name)));
    }
    if entity.join_keys.is_empty() {
        let error = Error::invalid(format!("entity `{}` has no join keys", entity.name));
        report("join_keys", error.with_help("name the columns that identify it"));
    }
    let mut keys = BTreeSet::new();
    for (index, key) in entity.join_keys.iter().enumerate() {
        if !keys.insert(&key.name) {
            let error = Error::invalid(format!("join key `{}` is named twice", key.name));
            report(&format!("join_keys.{index}"), error);
        }
        if matches!(key.value_type, Some(ValueType::Float | ValueType::Double)) {
            let error =
                Error::invalid(format!("join key `{key}` cannot be a floating-point number"));
            let help = "numbers that are nearly equal are other entities; take `long` or `string`";
            report(&format!("join_keys.{index}"), error.with_help(help));
        }
    }
}

/// Names become columns, files and parts of `view:feature`. Columns that begin with `__` are those
/// that computing needs for itself.
pub(crate) fn check_name(name: &str, what: &str) -> Result<(), Error> {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let is_plain = chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if first && is_plain && !name.starts_with("__") {
        return Ok(());
    }
    Err(Error::invalid(format!("`{}` cannot name {what}", name.escape_debug()))
        .with_help("use letters, digits and `_`, and begin with a letter"))
}

/// One view while it is checked.
struct ViewCheck<'a, 'f> {
    view: &'a FeatureView,
    entities: &'a [Entity],
    path: String,
    found: &'f mut Findings,
}

impl<'a> ViewCheck<'a, '_> {
    fn report(&mut self, part: &str, error: Error) {
        let error = self.found.places.locate(&format!("{}.{part}", self.path), error);
        self.found.errors.push(error);
    }

    fn accept<T>(&mut self, part: &str, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.report(part, error)).ok()
    }

    fn is_broken(&self, part: &str) -> bool {
        let path =
            if part.is_empty() { self.path.clone() } else { format!("{}.{part}", self.path) };
        self.found.broken.contains(&path)
    }

    fn name(&mut self, seen: &mut BTreeSet<&'a str>) {
        let name = &self.view.name;
        if name.is_empty() && self.is_broken("") {
            return;
        }
        self.accept("name", check_name(name, "a feature view"));
        if !seen.insert(name) {
            self.report("name", Error::invalid(format!("feature view `{name}` is defined twice")));
        }
    }

    fn run(&mut self) {
        if !self.is_broken("") {
            self.source();
            self.spans();
            self.online();
            if self.view.is_stored() {
                self.stored();
            } else {
                self.windowed();
            }
        }
        self.entities();
        for (index, aggregate) in self.view.aggregates.iter().enumerate() {
            let part = format!("aggregate.{index}");
            if !self.is_broken(&part) {
                self.aggregate(aggregate, &part);
            }
        }
        self.requests();
        self.columns();
        self.derived();
    }

    fn entities(&mut self) {
        for (index, name) in self.view.entities.iter().enumerate() {
            if !self.entities.iter().any(|entity| entity.name == *name) {
                let error = unknown_entity(name, self.entities);
                self.report(&format!("entities.{index}"), error);
            }
        }
        if self.view.entities.is_empty() && !self.is_broken("") {
            let error = Error::invalid(format!("`{}` describes no entity", self.view.name));
            self.report(
                "entities",
                error.with_help("name the entities that the features describe"),
            );
        }
    }

    fn source(&mut self) {
        let name = &self.view.name;
        let help = "write `source = \"namespace.table\"` or `source_sql = \"SELECT …\"`";
        match (&self.view.source, &self.view.source_sql) {
            (None, None) => {
                self.report("", Error::invalid(format!("`{name}` has no source")).with_help(help));
            }
            (Some(_), Some(_)) => {
                let error = Error::invalid(format!("`{name}` has two sources"));
                self.report(
                    "source_sql",
                    error.with_help("keep `source` or `source_sql`, not both"),
                );
            }
            (Some(source), None) if self.view.table.as_ref() == Some(source) => {
                let error = Error::invalid(format!("`{name}` would overwrite its own source"));
                self.report("table", error.with_help("name another table for the features"));
            }
            (Some(_), None) => {}
            (None, Some(query)) => {
                self.accept("source_sql", parse_query(query));
            }
        }
        if let Some(filter) = &self.view.filter {
            self.accept("where", Expression::parse(filter));
        }
    }

    /// Tiles are filled by what changed in one table of events.
    fn online(&mut self) {
        if self.view.online.is_rows() {
            return;
        }
        let name = &self.view.name;
        if self.view.is_stored() {
            let error = Error::invalid(format!("`{name}` has no windows to keep tiles of"));
            self.report("online", error.with_help("leave `online` out"));
        } else if self.view.source_sql.is_some() {
            let error = Error::invalid(format!("tiles of `{name}` need a table as its source"))
                .with_note("what changed in the result of a query is not known")
                .with_help("make the query a SQL model, and name its table as `source`");
            self.report("online", error);
        }
    }

    fn spans(&mut self) {
        let positive = |span: Option<Span>| span.is_none_or(|span| span.micros() > 0);
        if !positive(self.view.ttl) {
            self.report("ttl", Error::invalid("a ttl must be longer than nothing"));
        }
        if let Emit::Every { every, .. } = self.view.emit
            && !positive(Some(every))
        {
            self.report("emit", Error::invalid("rows cannot come out every nothing"));
        }
        if let Emit::At(moments) = &self.view.emit
            && moments.is_empty()
        {
            let error = Error::invalid("rows come out at no time at all");
            self.report("emit", error.with_help("write `emit = { at = [\"2026-11-22\"] }`"));
        }
        if self.view.emit.is_scheduled() {
            let finite = self.view.ttl.is_some() || self.view.widest_window().is_some();
            if !finite && !self.view.is_stored() {
                let error = Error::invalid(format!(
                    "`{}` would have rows for ever after an entity's last event",
                    self.view.name
                ));
                self.report(
                    "emit",
                    error.with_help("add `ttl = \"90d\"`, or a window of finite length"),
                );
            }
        }
    }

    /// Stored features stay in their source, so only what reads rows as they are can be honoured.
    fn stored(&mut self) {
        let name = &self.view.name;
        if self.view.columns.is_empty() {
            let error = Error::invalid(format!("`{name}` has no features"));
            self.report("", error.with_help(
                "name columns of the source in `columns`, or compute some with `[[feature_view.aggregate]]`",
            ));
            return;
        }
        let refused = [
            ("source_sql", self.view.source_sql.is_some()),
            ("where", self.view.filter.is_some()),
            ("table", self.view.table.is_some()),
        ];
        for (part, _) in refused.into_iter().filter(|(_, is_there)| *is_there) {
            let error = Error::invalid(format!("stored features of `{name}` cannot have `{part}`"))
                .with_note("they are the columns of `source`, as they are")
                .with_help("write the rows to a table first, and name that as `source`");
            self.report(part, error);
        }
    }

    fn windowed(&mut self) {
        let name = &self.view.name;
        if self.view.table.is_none() {
            let error = Error::invalid(format!("`{name}` has no `table` to write its rows to"))
                .with_help(format!("write `table = \"ml_features.{name}\"`"));
            self.report("", error);
        }
        if !self.view.columns.is_empty() {
            let error = Error::invalid(format!("`{name}` has both `columns` and aggregates"));
            self.report("columns", error.with_help("take a column with the function `last`"));
        }
        let mut columns = self.reserved();
        columns.push(FEATURE_DATE.to_owned());
        columns.extend(on_demand::stored_features(self.view));
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        for (index, field) in self.view.partition_by.iter().enumerate() {
            self.accept(&format!("partition_by.{index}"), check_field(field, &columns));
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate, part: &str) {
        let name = &aggregate.name;
        self.accept(&format!("{part}.name"), check_name(name, "an aggregate"));
        self.accept(&format!("{part}.function"), aggregate.function.check());
        if aggregate.column.is_none() && !aggregate.function.is_of_rows() {
            let error = Error::invalid(format!("aggregate `{name}` has no `column`")).with_note(
                "only `count` and `days_since_last` can do without: they look at rows then",
            );
            self.report(part, error.with_help("add `column = \"…\"`, a column of the source"));
        }
        if let Some(filter) = &aggregate.filter {
            self.accept(&format!("{part}.where"), Expression::parse(filter));
        }
        if aggregate.windows.is_empty() {
            let error = Error::invalid(format!("aggregate `{name}` has no windows"));
            self.report(&format!("{part}.windows"), error.with_help("write `windows = [\"7d\"]`"));
        }
        for (index, window) in aggregate.windows.iter().enumerate() {
            self.accept(&format!("{part}.windows.{index}"), window.check());
        }
    }

    /// Columns that are there beside the features, `feature_date` apart.
    fn reserved(&self) -> Vec<String> {
        let entities = self.entities.iter().filter(|e| self.view.entities.contains(&e.name));
        let keys = entities.flat_map(|entity| entity.join_keys.iter().map(|key| key.name.clone()));
        let times = std::iter::once(self.view.event_timestamp.clone());
        keys.chain(times).chain(self.view.created_timestamp.clone()).collect()
    }

    /// No two columns of the output have one name.
    fn columns(&mut self) {
        let mut owners: BTreeMap<String, String> = BTreeMap::new();
        let mut claims: Vec<(String, String, String)> = Vec::new();
        for name in &self.view.entities {
            let entity = self.entities.iter().find(|entity| entity.name == *name);
            for key in entity.into_iter().flat_map(|entity| &entity.join_keys) {
                claims.push((
                    key.name.clone(),
                    format!("a join key of `{name}`"),
                    "entities".to_owned(),
                ));
            }
        }
        let mut claim = |column: &str, owner: &str, part: String| {
            claims.push((column.to_owned(), owner.to_owned(), part));
        };
        claim(&self.view.event_timestamp, "the event timestamp", "event_timestamp".to_owned());
        if let Some(created) = &self.view.created_timestamp {
            claim(created, "the created timestamp", "created_timestamp".to_owned());
        }
        if has_feature_date(self.view) {
            claim(FEATURE_DATE, "the date of the event timestamp", "partition_by".to_owned());
        }
        for (index, column) in self.view.columns.iter().enumerate() {
            claim(column, "a column of the source", format!("columns.{index}"));
        }
        for (index, aggregate) in self.view.aggregates.iter().enumerate() {
            for (position, window) in aggregate.windows.iter().enumerate() {
                let owner = format!("aggregate `{}` over {window}", aggregate.name);
                let part = format!("aggregate.{index}.windows.{position}");
                claim(&aggregate.column_name(*window), &owner, part);
            }
        }
        for (index, derived) in self.view.derived.iter().enumerate() {
            let owner = format!("derived feature `{}`", derived.name);
            claim(&derived.name, &owner, format!("derived.{index}.name"));
        }
        for (index, input) in self.view.request_inputs.iter().enumerate() {
            let owner = format!("request input `{}`", input.name);
            claim(&input.name, &owner, format!("request.{index}.name"));
        }
        for (column, owner, part) in claims {
            if column.is_empty() {
                continue;
            }
            if let Some(first) = owners.get(&column) {
                let error = Error::invalid(format!("two columns would be named `{column}`"))
                    .with_note(format!("{first} and {owner}"));
                self.report(&part, error.with_help("give one of them another name"));
            } else {
                owners.insert(column, owner);
            }
        }
    }

    /// What requests bring is named as features are.
    fn requests(&mut self) {
        for (index, input) in self.view.request_inputs.iter().enumerate() {
            let name = check_name(&input.name, "what a request brings");
            self.accept(&format!("request.{index}.name"), name);
        }
    }

    /// Derived features use other features and what requests bring, in any order.
    fn derived(&mut self) {
        let aggregates_read = (0..self.view.aggregates.len())
            .all(|index| !self.is_broken(&format!("aggregate.{index}")))
            && !self.is_broken("");
        let requests = self.view.request_inputs.iter().map(|input| input.name.clone());
        let names: Vec<String> = self.view.feature_names().into_iter().chain(requests).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for (index, derived) in self.view.derived.iter().enumerate() {
            let part = format!("derived.{index}");
            if self.is_broken(&part) {
                continue;
            }
            self.accept(&format!("{part}.name"), check_name(&derived.name, "a feature"));
            let part = format!("{part}.expression");
            let Some(expression) = self.accept(&part, Expression::parse(&derived.expression))
            else {
                continue;
            };
            for column in expression.columns() {
                if !names.contains(&column.as_str()) && aggregates_read {
                    let others = names.iter().copied().filter(|name| *name != derived.name);
                    let others: Vec<&str> = others.collect();
                    let whose = format!("feature view `{}`", self.view.name);
                    self.report(&part, unknown_column(&column, &others, &whose));
                }
            }
        }
        if let Err((index, error)) = order::derived(self.view) {
            self.report(&format!("derived.{index}.expression"), error);
        }
    }
}
