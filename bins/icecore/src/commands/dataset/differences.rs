//! `icecore dataset diff`.

use icecore::dataset::{LockDiff, SettingChange};
use serde_json::json;

use crate::report::{Answer, table};

/// What differs, one choice, input, definition or column a line.
pub(super) fn differences(found: &LockDiff) -> Answer {
    let rows = rows(found);
    let taken = found.definitions.iter().filter(|view| !view.taken_differently.is_empty());
    let taken: Vec<&str> = taken.map(|view| view.view.as_str()).collect();
    let json = json!({
        "content_equal": found.content_equal,
        "taken_differently": taken,
        "differences": rows.iter().map(|row| json!({
            "what": row.what, "name": row.name, "before": row.before, "after": row.after,
        })).collect::<Vec<_>>(),
    });
    let mut lines = vec![match found.content_equal {
        true => "the rows are equal".to_owned(),
        false => "the rows differ".to_owned(),
    }];
    if !taken.is_empty() {
        lines.push(format!("taken differently: {}", taken.join(", ")));
    }
    let header = ["what", "name", "before", "after"];
    lines.push(table(&header, rows.into_iter().map(Row::cells)));
    Answer::new(json, lines.join("\n"))
}

struct Row {
    what: String,
    name: String,
    before: Option<String>,
    after: Option<String>,
}

impl Row {
    fn new<T: ToString>(what: &str, name: &str, before: Option<T>, after: Option<T>) -> Self {
        let text = |value: Option<T>| value.map(|value| value.to_string());
        Self {
            what: what.to_owned(),
            name: name.to_owned(),
            before: text(before),
            after: text(after),
        }
    }

    fn cells(self) -> [String; 4] {
        let text = |value: Option<String>| value.unwrap_or_else(|| "(absent)".to_owned());
        [self.what, self.name, text(self.before), text(self.after)]
    }
}

fn rows(found: &LockDiff) -> Vec<Row> {
    let mut rows = Vec::new();
    if found.rows.before != found.rows.after {
        rows.push(Row::new("rows", "", Some(found.rows.before), Some(found.rows.after)));
    }
    if let Some(spine) = &found.spine {
        rows.push(Row::new("spine", "", Some(&spine.before), Some(&spine.after)));
    }
    let setting = |name: &str, change: &SettingChange| {
        let value = &change.value;
        Row::new(&change.setting, name, value.before.as_ref(), value.after.as_ref())
    };
    rows.extend(found.settings.iter().map(|change| setting("", change)));
    for input in &found.inputs {
        let snapshot = &input.snapshot;
        rows.push(Row::new("input", input.table.as_str(), snapshot.before, snapshot.after));
    }
    for view in &found.definitions {
        if view.is_of_definition() {
            let hash = &view.definition_hash;
            let (before, after) = (hash.before.as_ref(), hash.after.as_ref());
            rows.push(Row::new("definition", &view.view, before, after));
        }
        rows.extend(view.taken_differently.iter().map(|change| setting(&view.view, change)));
    }
    for column in &found.columns {
        let [before, after] = [&column.statistics.before, &column.statistics.after]
            .map(|statistics| statistics.as_ref().map(|statistics| json!(statistics)));
        rows.push(Row::new("column", &column.name, before, after));
    }
    rows
}
