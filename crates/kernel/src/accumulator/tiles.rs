//! A window that slides over tiles.

use std::collections::VecDeque;

use icecore_core::Result;

use super::{Accumulator, Aggregation};

/// The state of a window that slides over tiles, such as one for each five minutes: new tiles come in
/// at one end, old ones leave at the other, and nothing has to be taken out of a state.
///
/// Two stacks of states (Tangwongsan, Hirzel and Schneider 2017, "Low-Latency Sliding-Window
/// Aggregation in Worst-Case Constant Time", section 3), so each tile is merged twice in its life
/// whatever the width of the window.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{ArrayRef, Int64Array};
/// # use arrow::datatypes::DataType;
/// # use icecore_core::AggregateFunction;
/// use icecore_kernel::{Aggregation, SlidingTiles};
///
/// # fn main() -> icecore_core::Result<()> {
/// let highest = Aggregation::try_new("highest", AggregateFunction::Max, Some(&DataType::Int64))?;
/// let bids: ArrayRef = Arc::new(Int64Array::from(vec![7, 3, 5]));
/// let bids = highest.values(Some(&bids))?;
///
/// let mut window = SlidingTiles::default();
/// for (row, start) in [0, 5, 10].into_iter().enumerate() {
///     let mut tile = highest.empty();
///     highest.add(&mut tile, &bids, row, start);
///     window.push(&highest, start, tile)?;
/// }
/// window.evict_before(&highest, 5)?;
/// let found = highest.finish(&[(&window.state(&highest)?, 10)])?;
/// assert_eq!(found.as_ref(), &Int64Array::from(vec![5]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct SlidingTiles {
    /// The older tiles, the oldest last, each with the state from it up to where the newer ones begin.
    older: Vec<(i64, Accumulator)>,
    /// The newer tiles, in order.
    newer: VecDeque<(i64, Accumulator)>,
    /// The state of all newer tiles.
    recent: Option<Accumulator>,
}

impl SlidingTiles {
    /// Adds a tile that starts no earlier than any before it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](icecore_core::ErrorKind::Internal) for the state of another aggregate.
    pub fn push(&mut self, of: &Aggregation, start: i64, tile: Accumulator) -> Result<()> {
        match &mut self.recent {
            Some(recent) => of.merge(recent, &tile)?,
            None => self.recent = Some(tile.clone()),
        }
        self.newer.push_back((start, tile));
        Ok(())
    }

    /// Leaves out the tiles that start before a moment.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn evict_before(&mut self, of: &Aggregation, moment: i64) -> Result<()> {
        while let Some((start, _)) = self.oldest(of)? {
            if *start >= moment {
                break;
            }
            self.older.pop();
        }
        Ok(())
    }

    /// The state of all tiles in the window.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn state(&self, of: &Aggregation) -> Result<Accumulator> {
        let mut state = match self.older.last() {
            Some((_, state)) => state.clone(),
            None => of.empty(),
        };
        if let Some(recent) = &self.recent {
            of.merge(&mut state, recent)?;
        }
        Ok(state)
    }

    /// The oldest tile, with the state from it on.
    fn oldest(&mut self, of: &Aggregation) -> Result<Option<&(i64, Accumulator)>> {
        if self.older.is_empty() {
            self.recent = None;
            let mut after = of.empty();
            while let Some((start, mut tile)) = self.newer.pop_back() {
                of.merge(&mut tile, &after)?;
                after = tile.clone();
                self.older.push((start, tile));
            }
        }
        Ok(self.older.last())
    }
}
