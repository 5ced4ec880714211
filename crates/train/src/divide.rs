//! A source's rows on two sides, by the hashes of ids.

use arrow::array::UInt64Array;
use arrow::datatypes::SchemaRef;
use icecore_core::{Error, PinnedTable, Result, TrainingSet, TrainingSource};

use crate::arithmetic::mix_pair;

/// By what rows are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Each row by its id.
    Row,
    /// The rows of a group stay together; where there are no groups, it is as [`Self::Row`].
    Group,
}

/// The rows of a source, some to learn from and a share to validate with: the same rows as
/// [`train_validation`](crate::split::train_validation) chooses of all of them.
#[derive(Debug)]
pub struct Divided<'a> {
    source: &'a dyn TrainingSource,
    by: By,
    seed: u64,
    bound: u64,
}

impl<'a> Divided<'a> {
    /// Divides a source, which is read once for it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the share is not between zero and one, or if a side would be empty; else
    /// whatever fails when the source is read.
    pub fn new(
        source: &'a dyn TrainingSource,
        by: By,
        (validation, seed): (f64, u64),
    ) -> Result<Self> {
        let mut hashes = Vec::new();
        source.read(&mut |part| {
            hashes.extend(ids(&part, by).values().iter().map(|id| mix_pair(seed, *id)));
            Ok(())
        })?;
        Ok(Self { source, by, seed, bound: bound(hashes, validation)? })
    }

    /// The rows to learn from.
    #[must_use]
    pub const fn training(&'a self) -> Side<'a> {
        Side { of: self, validates: false }
    }

    /// The rows to validate with.
    #[must_use]
    pub const fn validation(&'a self) -> Side<'a> {
        Side { of: self, validates: true }
    }
}

/// One side of a [`Divided`].
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    of: &'a Divided<'a>,
    validates: bool,
}

impl TrainingSource for Side<'_> {
    fn schema(&self) -> SchemaRef {
        self.of.source.schema()
    }

    fn provenance(&self) -> &[PinnedTable] {
        self.of.source.provenance()
    }

    fn read(&self, each: &mut dyn FnMut(TrainingSet) -> Result<()>) -> Result<()> {
        let Divided { source, by, seed, bound } = self.of;
        source.read(&mut |part| {
            let validates = |id: &u64| mix_pair(*seed, *id) <= *bound;
            let rows = (0_u64..).zip(ids(&part, *by).values());
            let rows =
                rows.filter_map(|(row, id)| (validates(id) == self.validates).then_some(row));
            let rows = UInt64Array::from_iter_values(rows);
            if rows.is_empty() { Ok(()) } else { each(part.take(&rows)?) }
        })
    }
}

fn ids(part: &TrainingSet, by: By) -> &UInt64Array {
    part.groups().filter(|_| by == By::Group).unwrap_or(part.row_ids())
}

/// About this share of a source's rows, in memory, chosen by the hashes of their ids; all of them
/// where it is one or more.
///
/// # Errors
///
/// Fails if they cannot be read.
pub fn sample(source: &dyn TrainingSource, by: By, share: f64) -> Result<TrainingSet> {
    if share >= 1.0 {
        return TrainingSet::collect(source);
    }
    // The conversion saturates.
    let bound = (share * 18_446_744_073_709_551_616.0) as u64;
    TrainingSet::collect(&Side { of: &Divided { source, by, seed: 0, bound }, validates: true })
}

/// The greatest hash of a row that validates: as many have lesser ones as the share says, rounded
/// up as scikit-learn does, and rows of one hash, which have one id, stay together.
pub(crate) fn bound(mut hashes: Vec<u64>, validation: f64) -> Result<u64> {
    if !(validation > 0.0 && validation < 1.0) {
        return Err(Error::invalid(format!("validation share `{validation}`"))
            .with_help("give a number above 0 and below 1, such as 0.2"));
    }
    let rows = hashes.len();
    let wanted = (validation * rows as f64).ceil() as usize;
    if (1..=rows).contains(&wanted) {
        let (_, bound, above) = hashes.select_nth_unstable(wanted - 1);
        let bound = *bound;
        if above.iter().any(|hash| *hash > bound) {
            return Ok(bound);
        }
    }
    hashes.sort_unstable();
    hashes.dedup();
    Err(Error::invalid(format!(
        "{rows} rows of {} ids cannot be divided into training and validation",
        hashes.len()
    )))
}
