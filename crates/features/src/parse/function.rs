//! What an aggregate computes: the function and its parameters.

use icecore_core::{AggregateFunction, Error, Result};
use serde::Deserialize;
use serde::de::value::StrDeserializer;

use crate::document::{Document, Table};

/// What other systems call our functions.
const SYNONYMS: [(&str, &str); 22] = [
    ("avg", "mean"),
    ("average", "mean"),
    ("total", "sum"),
    ("var", "variance"),
    ("var_samp", "variance"),
    ("std", "stddev"),
    ("stddev_samp", "stddev"),
    ("skew", "skewness"),
    ("nunique", "count_distinct"),
    ("distinct_count", "count_distinct"),
    ("approx_distinct", "approx_count_distinct"),
    ("unique_count", "count_distinct"),
    ("approx_unique_count", "approx_count_distinct"),
    ("approx_top_k", "top_k"),
    ("bounded_unique_count", "bounded_count_distinct"),
    ("first_n", "first_k"),
    ("last_n", "last_k"),
    ("percentile", "approx_percentile"),
    ("quantile", "approx_percentile"),
    ("median", "approx_percentile` with `percentile = 0.5"),
    ("latest", "last"),
    ("earliest", "first"),
];

/// The parameters that functions have.
const PARAMETERS: [&str; 4] = ["k", "percentile", "percentiles", "edges"];

/// Reads the function of an aggregate; mistakes go to the document.
pub(super) fn read(
    table: &mut Table<'_>,
    document: &mut Document<'_>,
) -> Option<AggregateFunction> {
    let k = table.whole(document, "k");
    let percentile = table.number(document, "percentile");
    let percentiles = table.numbers(document, "percentiles");
    let edges = table.numbers(document, "edges");
    let name = table.parsed(document, "function", name)?;
    let parameter = parameter_of(&name);
    let foreign = PARAMETERS.into_iter().filter(|known| Some(*known) != parameter);
    for other in foreign.filter(|other| table.has(other)).collect::<Vec<_>>() {
        let error = Error::invalid(format!("`{name}` has no parameter `{other}`"));
        let error = match parameter {
            Some(own) => error.with_note(format!("it has `{own}`")),
            None => error.with_note("it has none"),
        };
        table.reject(document, other, error);
    }
    if let Some(parameter) = parameter.filter(|parameter| !table.has(parameter)) {
        let error = Error::invalid(format!("`{name}` has no `{parameter}`"));
        table.reject(document, "function", error.with_help(help(parameter)));
        return None;
    }
    Some(match name.as_str() {
        "first_k" => AggregateFunction::FirstK(k?),
        "last_k" => AggregateFunction::LastK(k?),
        "top_k" => AggregateFunction::TopK(k?),
        "bottom_k" => AggregateFunction::BottomK(k?),
        "bounded_count_distinct" => AggregateFunction::BoundedCountDistinct(k?),
        "approx_percentile" => AggregateFunction::ApproxPercentile(percentile?),
        "approx_percentiles" => AggregateFunction::ApproxPercentiles(percentiles?),
        "histogram" => AggregateFunction::Histogram(edges?),
        plain => {
            let parsed: Result<_, serde::de::value::Error> =
                AggregateFunction::deserialize(StrDeserializer::new(plain));
            parsed.ok()?
        }
    })
}

/// The key beside `function` with what the function needs to know.
pub(crate) fn parameter_of(name: &str) -> Option<&'static str> {
    match name {
        "first_k" | "last_k" | "top_k" | "bottom_k" | "bounded_count_distinct" => Some("k"),
        "approx_percentile" => Some("percentile"),
        "approx_percentiles" => Some("percentiles"),
        "histogram" => Some("edges"),
        _ => None,
    }
}

fn help(parameter: &str) -> &'static str {
    match parameter {
        "k" => "write how many: `k = 10`",
        "percentile" => "write a share from 0 to 1: `percentile = 0.95`",
        "percentiles" => "write shares from 0 to 1: `percentiles = [0.5, 0.95]`",
        _ => "write where one class ends and the next begins: `edges = [10, 100]`",
    }
}

fn name(text: &str) -> Result<String> {
    if AggregateFunction::NAMES.contains(&text) {
        return Ok(text.to_owned());
    }
    let names = AggregateFunction::NAMES;
    let error = Error::invalid(format!("unknown function `{text}`"))
        .with_note(format!("functions: {}", names.join(", ")));
    let lower = text.to_lowercase();
    Err(match SYNONYMS.iter().find(|(theirs, _)| *theirs == lower) {
        Some((_, ours)) => error.with_help(format!("did you mean `{ours}`?")),
        None => error.with_candidates(&lower, names),
    })
}
