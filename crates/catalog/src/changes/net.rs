//! The changes of one step.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use futures::TryStreamExt;
use icecore_core::{Error, Result};

use super::Step;
use super::emit::{Kind, Output};
use super::rows::{Reader, Side};
use super::tally::{Fingerprints, Part, Tally};

/// Why no more changes are made.
pub(super) enum Stop {
    NobodyListens,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<arrow::error::ArrowError> for Stop {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Failed(error.into())
    }
}

/// Hands on the changes of one step.
pub(super) async fn step(
    reader: &Reader,
    output: &Output,
    step: &Step,
    memory_bytes: usize,
) -> Result<(), Stop> {
    let difference = &step.difference;
    let only_one_side =
        difference.shifted.is_empty() && (difference.gone.is_empty() || difference.come.is_empty());
    if only_one_side {
        // Nothing can be struck out.
        let mut rows = reader.both(difference);
        while let Some((side, batch)) = rows.try_next().await? {
            output.rows(step, &batch, Kind::of(side)).await?;
        }
        return Ok(());
    }
    let width = reader.arrow.fields().len();
    let row = Fingerprints::of(&reader.arrow, (0..width).collect())?;
    let key = match output.key.as_slice() {
        [] => None,
        key => Some(Fingerprints::of(&reader.arrow, key.to_vec())?),
    };
    let netting = Netting { reader, output, step, row, key, memory_bytes };
    let mut parts = vec![Part::WHOLE];
    while let Some(part) = parts.pop() {
        if !netting.part(part).await? {
            // The first half goes first.
            let [first, second] = part.halves()?;
            parts.extend([second, first]);
        }
    }
    Ok(())
}

struct Netting<'a> {
    reader: &'a Reader,
    output: &'a Output,
    step: &'a Step,
    row: Fingerprints,
    /// Rows of one key have to be in one part.
    key: Option<Fingerprints>,
    memory_bytes: usize,
}

impl Netting<'_> {
    /// Hands on the changes of one part, or returns that it is too large.
    async fn part(&self, part: Part) -> Result<bool, Stop> {
        let mut tally = Tally::within(self.memory_bytes / 2);
        let mut rows = self.reader.both(&self.step.difference);
        while let Some((side, batch)) = rows.try_next().await? {
            let (numbers, parts) = self.numbers(&batch)?;
            for (number, by) in numbers.iter().zip(parts.as_ref().unwrap_or(&numbers)) {
                if part.has(*by) && !tally.count(*number, side) {
                    return Ok(false);
                }
            }
        }
        if tally.is_empty() {
            return Ok(true);
        }
        match &self.key {
            None => self.hand_on(part, tally).await,
            Some(_) => self.pair(part, tally).await,
        }
    }

    /// The numbers of rows, and those by which they are in parts if these are others.
    fn numbers(&self, batch: &RecordBatch) -> Result<(Vec<u128>, Option<Vec<u128>>)> {
        let parts = self.key.as_ref().map(|key| key.rows(batch)).transpose()?;
        Ok((self.row.rows(batch)?, parts))
    }

    /// The rows of a batch that are left after striking out.
    fn left(
        &self,
        part: Part,
        tally: &mut Tally,
        (side, batch): (Side, &RecordBatch),
    ) -> Result<RecordBatch> {
        let (numbers, parts) = self.numbers(batch)?;
        let rows = numbers.iter().zip(parts.as_ref().unwrap_or(&numbers));
        let wanted: BooleanArray =
            rows.map(|(number, by)| Some(part.has(*by) && tally.take(*number, side))).collect();
        Ok(filter_record_batch(batch, &wanted)?)
    }

    async fn hand_on(&self, part: Part, mut tally: Tally) -> Result<bool, Stop> {
        let mut rows = self.reader.both(&self.step.difference);
        while !tally.is_empty()
            && let Some((side, batch)) = rows.try_next().await?
        {
            let left = self.left(part, &mut tally, (side, &batch))?;
            if left.num_rows() > 0 {
                self.output.rows(self.step, &left, Kind::of(side)).await?;
            }
        }
        Ok(true)
    }

    /// Holds the rows that are left until those of one key can be paired.
    async fn pair(&self, part: Part, mut tally: Tally) -> Result<bool, Stop> {
        let mut rows = self.reader.both(&self.step.difference);
        let (mut gone, mut come, mut bytes) = (Vec::new(), Vec::new(), 0);
        while !tally.is_empty()
            && let Some((side, batch)) = rows.try_next().await?
        {
            let left = self.left(part, &mut tally, (side, &batch))?;
            if left.num_rows() == 0 {
                continue;
            }
            bytes += left.get_array_memory_size();
            if bytes > self.memory_bytes / 2 {
                return Ok(false);
            }
            match side {
                Side::Gone => gone.push(left),
                Side::Come => come.push(left),
            }
        }
        self.output.pairs(self.step, &gone, &come).await?;
        Ok(true)
    }
}
