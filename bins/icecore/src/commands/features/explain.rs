//! Events beside windows, as a table.

use icecore::features::{Explanation, Standing};
use icecore_core::Result;
use serde_json::{Value, json};

use crate::report::{Answer, table};

pub(super) fn answer(found: &Explanation) -> Result<Answer> {
    let value = |name: &str| found.values.column_by_name(name).filter(|column| !column.is_empty());
    let windows: Vec<Value> = found
        .windows
        .iter()
        .map(|window| {
            let counts = window.standings.iter().map(|standing| *standing == Standing::Counts);
            json!({
                "column": window.column, "function": window.function, "input": window.input,
                "where": window.filter, "window": window.window, "closed": window.closed,
                "from": window.range.from, "before": window.range.to,
                "counts": counts.collect::<Vec<_>>(), "standings": window.standings,
            })
        })
        .collect();
    let json = json!({
        "view": found.view, "at": found.at, "sources": found.sources, "windows": windows,
        "events": icecore::rows::to_json(&found.events)?, "later_events": found.later_events,
        "has_more_events": found.has_more_events,
        "has_more_later_events": found.has_more_later_events,
        "values": icecore::rows::to_json(&found.values)?,
    });
    let schema = found.events.schema();
    let mut header: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    header.extend(found.windows.iter().map(|window| window.column.as_str()));
    let mut rows = Vec::with_capacity(found.events.num_rows() + 1);
    for row in 0..found.events.num_rows() {
        let cells: Result<Vec<String>> =
            found.events.columns().iter().map(|column| icecore::rows::cell(column, row)).collect();
        let mut cells = cells?;
        for window in &found.windows {
            cells.push(window.standings.get(row).map(ToString::to_string).unwrap_or_default());
        }
        rows.push(cells);
    }
    let mut events = table(&header, rows);
    if found.later_events > 0 {
        let more = if found.has_more_later_events { ", and there are more" } else { "" };
        events.push_str(&format!(
            "\n(the first {} are later than {}, and no window looks at them{more})",
            found.later_events, found.at
        ));
    }
    if found.has_more_events {
        events.push_str("\n(the entity has more events, earlier than these)");
    }
    let names = found.values.schema();
    let mut values = Vec::new();
    for name in names.fields().iter().map(|field| field.name()) {
        if let Some(column) = value(name) {
            values.push([name.clone(), icecore::rows::cell(column, 0)?]);
        }
    }
    // What comes of it is the answer; its reasons can be many.
    let values = match values.is_empty() {
        true => format!("no event up to {}, so no row", found.at),
        false => table(&["feature", &format!("at {}", found.at)], values),
    };
    Ok(Answer::new(json, format!("{values}\n\n{events}")))
}
