//! The totals in a snapshot's summary.

use std::collections::HashMap;

/// For each total: its name, and the names of what this snapshot added and removed.
const TOTALS: [(&str, &str, &str); 6] = [
    ("total-data-files", "added-data-files", "deleted-data-files"),
    ("total-delete-files", "added-delete-files", "removed-delete-files"),
    ("total-records", "added-records", "deleted-records"),
    ("total-files-size", "added-files-size", "removed-files-size"),
    ("total-position-deletes", "added-position-deletes", "removed-position-deletes"),
    ("total-equality-deletes", "added-equality-deletes", "removed-equality-deletes"),
];

/// Adds the totals to a summary. A total that the parent does not state is not known, and left
/// out, as the format asks; a table's first snapshot starts from zero.
pub(super) fn add_totals(
    summary: &mut HashMap<String, String>,
    parent: Option<&HashMap<String, String>>,
) {
    for (total, added, removed) in TOTALS {
        let before = match parent {
            Some(parent) => count(parent, total),
            None => Some(0),
        };
        let Some(before) = before else { continue };
        let after =
            before + count(summary, added).unwrap_or(0) - count(summary, removed).unwrap_or(0);
        summary.insert(total.to_owned(), after.max(0).to_string());
    }
}

/// A field of a summary as a number.
pub(super) fn count(summary: &HashMap<String, String>, field: &str) -> Option<i64> {
    summary.get(field)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(of: &[(&str, &str)]) -> HashMap<String, String> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn totals_follow_from_the_parent_and_unknown_ones_stay_unknown() {
        let mut first = fields(&[("added-records", "7"), ("added-data-files", "2")]);
        add_totals(&mut first, None);
        assert_eq!(
            (first["total-records"].as_str(), first["total-delete-files"].as_str()),
            ("7", "0")
        );
        let mut next = fields(&[("added-records", "1"), ("deleted-records", "3")]);
        add_totals(&mut next, Some(&first));
        assert_eq!((next["total-records"].as_str(), next["total-data-files"].as_str()), ("5", "2"));
        let mut after_unknown = fields(&[("added-records", "1")]);
        add_totals(&mut after_unknown, Some(&fields(&[])));
        assert_eq!(after_unknown.get("total-records"), None);
    }
}
