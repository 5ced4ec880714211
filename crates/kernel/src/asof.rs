//! The as-of match of two sorted streams: which feature row each spine row sees.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use arrow::buffer::NullBuffer;
use arrow::row::Rows;
use icecore_core::{Error, Knowledge, Result};

/// What a spine row may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AsOfOptions {
    /// How old a feature row may be, in microseconds: `event >= moment - ttl`. Absent: any age.
    pub ttl_micros: Option<i64>,
    /// Whether a feature row whose event is exactly the moment stays out.
    pub strict: bool,
    /// Whether a feature row also has to be created by the moment (`created <= moment`).
    pub knowledge: Knowledge,
}

/// A batch of spine rows, sorted by (key, moment).
#[derive(Debug, Clone, Copy)]
pub struct Moments<'a> {
    /// The join keys, encoded by an [`arrow::row::RowConverter`] with default sort options.
    pub keys: &'a Rows,
    /// The moments, in microseconds.
    pub times: &'a [i64],
    /// Rows that join at all; those with a null key or a null moment do not.
    pub valid: Option<&'a NullBuffer>,
}

/// A batch of feature rows.
///
/// Sorted by (key, event, created, taken values) under [`Knowledge::Event`], and by
/// (key, greatest(event, created), event, created, taken values) under [`Knowledge::Created`]: of
/// rows with equal event and created, the last one wins.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    /// The join keys, encoded as those of the spine, by a converter for the same types.
    pub keys: &'a Rows,
    /// When the rows happened, in microseconds.
    pub events: &'a [i64],
    /// When the rows became known, in microseconds; absent where the table does not say, and then
    /// each row is known from its event on.
    pub created: Option<&'a [i64]>,
    /// Rows that join at all; those with a null key or a null time do not.
    pub valid: Option<&'a NullBuffer>,
}

/// What a matcher needs to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Every row of the spine batch has its answer. Call with the next one and the same candidates.
    NeedMoments,
    /// Every candidate of the batch was looked at, and the spine's next row may still see more.
    /// Call with the same spine batch and the next candidates, or [`AsOfMatcher::finish`].
    NeedCandidates,
}

/// Finds for each spine row the feature row that it sees: of the rows with its key that happened
/// and were known by its moment and are not older than the ttl, the one with the greatest
/// (event, created), the last of equal ones.
///
/// Both sides stream: the matcher keeps its place in both current batches and, across batches, the
/// best row of the current key. It answers with row numbers of the candidate stream, counted from
/// its first row over all batches. The caller keeps candidate batches for as long as
/// [`oldest_needed`](Self::oldest_needed) lies before their end.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::{array::{ArrayRef, StringArray}, datatypes::DataType, row::{RowConverter, SortField}};
/// # use icecore_kernel::{AsOfMatcher, AsOfOptions, Candidates, Moments, Progress};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let converter = RowConverter::new(vec![SortField::new(DataType::Utf8)])?;
/// let column = |keys: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(keys)) };
/// let spine = converter.convert_columns(&[column(vec!["ann", "ann", "bob"])])?;
/// let facts = converter.convert_columns(&[column(vec!["ann", "ann"])])?;
///
/// let mut matcher = AsOfMatcher::new(AsOfOptions::default());
/// let mut matches = Vec::new();
/// let moments = Moments { keys: &spine, times: &[5, 20, 20], valid: None };
/// let facts = Candidates { keys: &facts, events: &[4, 10], created: None, valid: None };
/// while matcher.advance(moments, facts, &mut matches)? == Progress::NeedCandidates {
///     matcher.finish(moments, &mut matches)?; // a stream would bring its next batch here
///     break;
/// }
/// assert_eq!(matches, [Some(0), Some(1), None]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AsOfMatcher {
    options: AsOfOptions,
    key: Option<Vec<u8>>,
    moment: i64,
    best: Option<Best>,
    /// The first row of the spine batch without an answer.
    next_moment: usize,
    /// The first candidate of the batch that was not looked at.
    next_candidate: usize,
    /// The number of candidates in the batches before this one.
    candidates_before: u64,
}

#[derive(Debug, Clone, Copy)]
struct Best {
    event: i64,
    created: i64,
    row: u64,
}

impl AsOfMatcher {
    /// A matcher at the start of both streams.
    #[must_use]
    pub const fn new(options: AsOfOptions) -> Self {
        Self {
            options,
            key: None,
            moment: i64::MIN,
            best: None,
            next_moment: 0,
            next_candidate: 0,
            candidates_before: 0,
        }
    }

    /// Appends the answers for as many spine rows as these batches decide: the number of the
    /// candidate row that each one sees, if any.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](icecore_core::ErrorKind::Internal) when slices of a batch differ in
    /// length or when the spine is not sorted.
    pub fn advance(
        &mut self,
        moments: Moments<'_>,
        candidates: Candidates<'_>,
        matches: &mut Vec<Option<u64>>,
    ) -> Result<Progress> {
        moments.check()?;
        candidates.check()?;
        while let Some(&moment) = moments.times.get(self.next_moment) {
            if moments.valid.is_some_and(|valid| valid.is_null(self.next_moment)) {
                matches.push(None);
                self.next_moment += 1;
                continue;
            }
            self.enter(moments.keys.row(self.next_moment).as_ref(), moment)?;
            self.look(candidates);
            if self.next_candidate == candidates.events.len() {
                self.next_candidate = 0;
                self.candidates_before += candidates.events.len() as u64;
                return Ok(Progress::NeedCandidates);
            }
            matches.push(self.answer());
            self.next_moment += 1;
        }
        self.next_moment = 0;
        Ok(Progress::NeedMoments)
    }

    /// Appends the answers for the rest of a spine batch when there are no more candidates. May be
    /// called for each further spine batch.
    ///
    /// # Errors
    ///
    /// As [`advance`](Self::advance).
    pub fn finish(&mut self, moments: Moments<'_>, matches: &mut Vec<Option<u64>>) -> Result<()> {
        moments.check()?;
        while let Some(&moment) = moments.times.get(self.next_moment) {
            if moments.valid.is_some_and(|valid| valid.is_null(self.next_moment)) {
                matches.push(None);
            } else {
                self.enter(moments.keys.row(self.next_moment).as_ref(), moment)?;
                matches.push(self.answer());
            }
            self.next_moment += 1;
        }
        self.next_moment = 0;
        Ok(())
    }

    /// The first row of the candidate stream that a later answer may still name. Batches that end
    /// at or before it can be dropped once the answers given so far are used.
    #[must_use]
    pub fn oldest_needed(&self) -> u64 {
        let next = self.candidates_before + self.next_candidate as u64;
        self.best.map_or(next, |best| best.row)
    }

    /// Makes the spine row's key the current one.
    fn enter(&mut self, key: &[u8], moment: i64) -> Result<()> {
        let order = self.key.as_deref().map_or(Ordering::Less, |current| current.cmp(key));
        match order {
            Ordering::Equal if moment >= self.moment => {}
            Ordering::Less => {
                let current = self.key.get_or_insert_default();
                current.clear();
                current.extend_from_slice(key);
                self.best = None;
            }
            Ordering::Equal | Ordering::Greater => {
                return Err(Error::internal("spine rows are not sorted by key and moment"));
            }
        }
        self.moment = moment;
        Ok(())
    }

    /// Takes in the candidates that the current spine row can see, up to the first that it cannot.
    fn look(&mut self, candidates: Candidates<'_>) {
        let Some(key) = self.key.as_deref() else { return };
        let last_event = match self.options.strict {
            true => self.moment.checked_sub(1),
            false => Some(self.moment),
        };
        while let Some(&event) = candidates.events.get(self.next_candidate) {
            let index = self.next_candidate;
            let known = candidates.created.and_then(|created| created.get(index).copied());
            if candidates.valid.is_none_or(|valid| valid.is_valid(index)) {
                match candidates.keys.row(index).as_ref().cmp(key) {
                    Ordering::Less => {}
                    Ordering::Greater => return,
                    Ordering::Equal => {
                        let hidden = last_event.is_none_or(|last| event > last)
                            || self.options.knowledge == Knowledge::Created
                                && known.is_some_and(|known| known > self.moment);
                        if hidden {
                            return;
                        }
                        let created = known.unwrap_or(event);
                        let row = self.candidates_before + index as u64;
                        if self.best.is_none_or(|b| (b.event, b.created) <= (event, created)) {
                            self.best = Some(Best { event, created, row });
                        }
                    }
                }
            }
            self.next_candidate += 1;
        }
    }

    /// What the current spine row sees. Every other row that it may see is as old or older, so when
    /// the best one is past its ttl, all are.
    fn answer(&self) -> Option<u64> {
        let oldest = self.options.ttl_micros.map(|ttl| self.moment.saturating_sub(ttl));
        let best = self.best.filter(|best| oldest.is_none_or(|oldest| best.event >= oldest));
        best.map(|best| best.row)
    }
}

impl Moments<'_> {
    fn check(&self) -> Result<()> {
        let rows = self.times.len();
        let valid = self.valid.is_none_or(|valid| valid.len() == rows);
        if self.keys.num_rows() == rows && valid {
            return Ok(());
        }
        Err(Error::internal("the columns of a spine batch differ in length"))
    }
}

impl Candidates<'_> {
    fn check(&self) -> Result<()> {
        let rows = self.events.len();
        let created = self.created.is_none_or(|created| created.len() == rows);
        let valid = self.valid.is_none_or(|valid| valid.len() == rows);
        if self.keys.num_rows() == rows && created && valid {
            return Ok(());
        }
        Err(Error::internal("the columns of a feature batch differ in length"))
    }
}
