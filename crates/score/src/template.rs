//! Keys with columns in braces: `churn:{user_token}`.

use icecore_core::{Error, Result};

/// The columns that a template names, in order.
pub(crate) fn columns(template: &str) -> Result<Vec<String>> {
    Ok(parts(template)?
        .into_iter()
        .filter_map(|part| match part {
            Part::Column(name) => Some(name.to_owned()),
            Part::Text(_) => None,
        })
        .collect())
}

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// Stands as it is.
    Text(&'a str),
    /// Is replaced by the column's value.
    Column(&'a str),
}

/// Splits a template into text and columns.
pub(crate) fn parts(template: &str) -> Result<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let close = rest[open..].find('}').map(|close| open + close);
        let Some(close) = close.filter(|close| *close > open + 1) else {
            return Err(Error::invalid(format!("`{template}` has a brace without a column"))
                .with_help("write columns as `{column}`"));
        };
        if open > 0 {
            parts.push(Part::Text(&rest[..open]));
        }
        parts.push(Part::Column(&rest[open + 1..close]));
        rest = &rest[close + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_splits_into_text_and_columns() {
        let expected = vec![Part::Text("churn:"), Part::Column("user_token"), Part::Text("!")];
        assert_eq!(parts("churn:{user_token}!").unwrap(), expected);
        assert_eq!(columns("{a}{b}").unwrap(), ["a", "b"]);
        assert!(parts("churn:{").is_err());
        assert!(parts("churn:{}").is_err());
    }
}
