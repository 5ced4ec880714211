//! The rows of a training: in memory, or read from their table as often as it takes.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use icecore_core::{PinnedTable, Result, Timestamp, TrainingSource};
use icecore_dataset::{LoadedSet, RowsDigest, StreamedSet};
use icecore_train::metrics;
use icecore_train::split::{By, Divided};

use super::recipe::Recipe;

/// From so many numbers on, a gibibyte of them, rows are not loaded.
pub(super) const STREAMED_FROM: u64 = 1 << 27;
/// Rows that are shown as an example.
const EXAMPLES: usize = 5;

/// The rows of a training.
#[derive(Debug, Clone)]
pub(super) enum Rows {
    Loaded(Box<LoadedSet>),
    Streamed(StreamedSet),
}

impl Rows {
    /// All rows that are learned from or validate.
    pub(super) fn source(&self) -> &dyn TrainingSource {
        match self {
            Self::Loaded(loaded) => &loaded.set,
            Self::Streamed(streamed) => streamed,
        }
    }

    pub(super) fn pin(&self) -> &PinnedTable {
        match self {
            Self::Loaded(loaded) => &loaded.pin,
            Self::Streamed(streamed) => streamed.pin(),
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Self::Loaded(loaded) => loaded.set.rows(),
            Self::Streamed(streamed) => usize::try_from(streamed.rows()).unwrap_or(usize::MAX),
        }
    }

    /// The share of those with a label above one half, as often as they count.
    pub(super) fn positive_rate(&self) -> Result<Option<f64>> {
        match self {
            // They were counted when they were read first.
            Self::Streamed(streamed) if !streamed.is_weighed() => {
                let rows = streamed.rows() as f64;
                Ok((rows > 0.0).then(|| streamed.positive() as f64 / rows))
            }
            _ => metrics::positive_rate(self.source()),
        }
    }

    pub(super) const fn unlabelled(&self) -> u64 {
        match self {
            Self::Loaded(loaded) => loaded.unlabelled,
            Self::Streamed(streamed) => streamed.unlabelled(),
        }
    }

    /// The types of columns that are other than what the lock's inputs give.
    pub(super) fn types(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Loaded(loaded) => &loaded.types,
            Self::Streamed(streamed) => streamed.types(),
        }
    }

    /// What the rows are that were joined again from the lock's inputs.
    pub(super) fn rebuilt(&self) -> Option<&RowsDigest> {
        match self {
            Self::Loaded(loaded) => loaded.rebuilt.as_ref(),
            Self::Streamed(streamed) => streamed.rebuilt(),
        }
    }

    /// The least and the greatest moment.
    pub(super) fn moments(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        match self {
            Self::Loaded(loaded) => (loaded.first_moment, loaded.last_moment),
            Self::Streamed(streamed) => streamed.moments(),
        }
    }

    /// The features of a few rows.
    pub(super) fn first_rows(&self) -> RecordBatch {
        match self {
            Self::Loaded(loaded) => {
                let features = loaded.set.features();
                features.slice(0, features.num_rows().min(EXAMPLES))
            }
            Self::Streamed(streamed) => streamed.first_rows().clone(),
        }
    }

    /// Hands on the rows to learn from and those that validate, if some do: as the set itself says,
    /// else by the hash of their ids.
    pub(super) fn divide(
        &self,
        recipe: &Recipe,
        then: &mut dyn FnMut(&dyn TrainingSource, &dyn TrainingSource) -> Result<()>,
    ) -> Result<()> {
        if recipe.validation <= 0.0 {
            return Ok(());
        }
        match self {
            Self::Loaded(loaded) => match recipe.held_out(loaded)? {
                Some((training, held_out)) => then(&training, &held_out),
                None => Ok(()),
            },
            Self::Streamed(streamed) if streamed.is_divided() => {
                then(&streamed.side(false), &streamed.side(true))
            }
            Self::Streamed(streamed) => {
                let share = (recipe.validation, recipe.split_seed);
                let divided = Divided::new(streamed, recipe.kept_together(), share)?;
                then(&divided.training(), &divided.validation())
            }
        }
    }
}

impl Recipe {
    /// What stays on one side of a split.
    pub(super) const fn kept_together(&self) -> By {
        // The rows of a query stay together.
        if self.ranked_by.is_some() { By::Group } else { By::Row }
    }
}
