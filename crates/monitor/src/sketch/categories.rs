//! The most frequent values of a column of text.

use std::collections::HashMap;

/// So many categories are kept when there are twice as many.
const KEPT: usize = 1_000;
/// A longer value counts as the category of its first bytes.
const BYTES_MAX: usize = 200;

/// Counts of categories: exact up to two thousand of them, and the most frequent ones of more, each
/// with at most [`error`](Self::error) rows uncounted.
///
/// Where there are more, the less frequent half is dropped at once and the greatest count among the
/// dropped is added to the error: a summary that merges (Agarwal and others, "Mergeable Summaries",
/// 2012), whose bound holds however it was put together.
#[derive(Debug, Clone, Default)]
pub struct Categories {
    counts: HashMap<String, u64>,
    total: u64,
    error: u64,
}

impl PartialEq for Categories {
    fn eq(&self, other: &Self) -> bool {
        (self.total, self.error, &self.counts) == (other.total, other.error, &other.counts)
    }
}

impl Categories {
    /// Adds a value so many times.
    pub fn add(&mut self, value: &str, count: u64) {
        if count == 0 {
            return;
        }
        self.total += count;
        let value = shortened(value);
        match self.counts.get_mut(value) {
            Some(known) => *known += count,
            None => {
                self.counts.insert(value.to_owned(), count);
                self.shrink();
            }
        }
    }

    pub(crate) fn add_all<'a>(&mut self, values: impl Iterator<Item = &'a str>) {
        // Runs of equal values are common in sorted rows, and cost one look-up.
        let mut run: Option<(&str, u64)> = None;
        for value in values {
            match &mut run {
                Some((known, count)) if *known == value => *count += 1,
                _ => {
                    if let Some((known, count)) = run.replace((value, 1)) {
                        self.add(known, count);
                    }
                }
            }
        }
        if let Some((known, count)) = run {
            self.add(known, count);
        }
    }

    /// Adds everything that another summary has seen.
    pub fn merge(&mut self, other: &Self) {
        self.total += other.total;
        self.error += other.error;
        for (value, count) in &other.counts {
            *self.counts.entry(value.clone()).or_default() += count;
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        if self.counts.len() <= 2 * KEPT {
            return;
        }
        let mut ranked: Vec<(String, u64)> = self.counts.drain().collect();
        ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        self.error += ranked.get(KEPT).map_or(0, |(_, count)| *count);
        ranked.truncate(KEPT);
        self.counts = ranked.into_iter().collect();
    }

    /// The categories with their counts, the most frequent first.
    #[must_use]
    pub fn ranked(&self) -> Vec<(&str, u64)> {
        let mut ranked: Vec<(&str, u64)> =
            self.counts.iter().map(|(value, count)| (value.as_str(), *count)).collect();
        ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        ranked
    }

    /// How often a value was counted.
    #[must_use]
    pub fn count(&self, value: &str) -> u64 {
        self.counts.get(shortened(value)).copied().unwrap_or(0)
    }

    /// How many rows were added.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// How many rows of one category may not be counted.
    #[must_use]
    pub const fn error(&self) -> u64 {
        self.error
    }

    pub(crate) fn from_parts(counts: Vec<(String, u64)>, total: u64, error: u64) -> Self {
        Self { counts: counts.into_iter().collect(), total, error }
    }
}

/// A value, cut to a length that statistics can hold.
fn shortened(value: &str) -> &str {
    if value.len() <= BYTES_MAX {
        return value;
    }
    let end = (0..=BYTES_MAX).rev().find(|end| value.is_char_boundary(*end)).unwrap_or(0);
    value.get(..end).unwrap_or_default()
}
