//! The state of one aggregate over some events: what tiles and streams keep.
//!
//! The window kernel and this module compute the same aggregates in two ways. Over a block of sorted
//! events the kernel shares prefix sums and codes between windows; here a state takes events one by
//! one, in any order, is merged with others, and goes to bytes and back. Both end in the same exact
//! state, and so in the same bits.

mod codec;
mod datum;
mod finish;
mod state;
#[cfg(test)]
mod tests;
mod tiles;

use arrow::array::{Array, ArrayRef, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use icecore_core::{AggregateFunction, Error, Result};

use crate::hash::canonical::Canonical;
use crate::hash::hash_values;
use crate::window::{as_floats, histogram_classes, output_type};
use datum::Datum;
use state::State;
pub use tiles::SlidingTiles;

/// What is computed, over values of which type.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{ArrayRef, Float64Array};
/// # use arrow::datatypes::DataType;
/// # use icecore_core::AggregateFunction;
/// use icecore_kernel::Aggregation;
///
/// # fn main() -> icecore_core::Result<()> {
/// let spend = Aggregation::try_new("spend", AggregateFunction::Sum, Some(&DataType::Float64))?;
/// let amounts: ArrayRef = Arc::new(Float64Array::from(vec![0.1, 0.2, 0.3]));
/// let amounts = spend.values(Some(&amounts))?;
///
/// // Two tiles, one of which was away for a while.
/// let (mut today, mut yesterday) = (spend.empty(), spend.empty());
/// spend.add(&mut today, &amounts, 0, 2_000);
/// spend.add(&mut yesterday, &amounts, 1, 1_000);
/// spend.add(&mut yesterday, &amounts, 2, 1_500);
/// let yesterday = spend.from_bytes(&spend.to_bytes(&yesterday))?;
///
/// spend.merge(&mut today, &yesterday)?;
/// let total = spend.finish(&[(&today, 2_000)])?;
/// assert_eq!(total.as_ref(), &Float64Array::from(vec![0.6]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Aggregation {
    function: AggregateFunction,
    input: Option<DataType>,
    field: FieldRef,
}

/// The state of an aggregate over the events that were added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accumulator {
    state: State,
}

/// Values of an input in the form in which states take them.
#[derive(Debug)]
pub struct AccumulatorValues {
    /// Absent where rows are looked at instead.
    canonical: Option<Canonical>,
    nulls: Option<NullBuffer>,
    /// What the function needs of each value instead of the value.
    derived: Derived,
}

#[derive(Debug)]
enum Derived {
    Nothing,
    Hashes(UInt64Array),
    Floats(Vec<f64>),
    Classes(Vec<u32>),
}

impl Aggregation {
    /// Checks the function against the type of its input.
    ///
    /// # Errors
    ///
    /// As [`WindowKernel::try_new`](crate::WindowKernel::try_new), naming the aggregate.
    pub fn try_new(
        name: &str,
        function: AggregateFunction,
        input: Option<&DataType>,
    ) -> Result<Self> {
        let (data_type, nullable) = output_type(name, &function, input)?;
        let field = Field::new(name, data_type, nullable).into();
        Ok(Self { function, input: input.cloned(), field })
    }

    /// The field of what comes out.
    #[must_use]
    pub const fn output_field(&self) -> &FieldRef {
        &self.field
    }

    /// The state over no events.
    #[must_use]
    pub fn empty(&self) -> Accumulator {
        Accumulator { state: State::empty(&self.function, self.input.as_ref()) }
    }

    /// Prepares an input, so that its rows can be added: absent where the aggregate has none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](icecore_core::ErrorKind::Internal) for an input of another type than
    /// the aggregate has, and as [`hash_values`].
    pub fn values(&self, input: Option<&ArrayRef>) -> Result<AccumulatorValues> {
        if input.map(|input| input.data_type()) != self.input.as_ref() {
            let message = format!("`{}` is fed values of another type", self.field.name());
            return Err(Error::internal(message));
        }
        let Some(input) = input else {
            let derived = Derived::Nothing;
            return Ok(AccumulatorValues { canonical: None, nulls: None, derived });
        };
        let nulls = input.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        // Counting takes columns of types that have no canonical form.
        let canonical = match self.function.is_of_rows() {
            true => None,
            false => Some(Canonical::try_new(input)?),
        };
        let derived = match &self.function {
            AggregateFunction::ApproxCountDistinct => Derived::Hashes(hash_values(input)?),
            AggregateFunction::ApproxPercentile(_) | AggregateFunction::ApproxPercentiles(_) => {
                Derived::Floats(as_floats(input)?)
            }
            AggregateFunction::Histogram(edges) => match &canonical {
                Some(canonical) => Derived::Classes(histogram_classes(canonical, edges)?),
                None => Derived::Nothing,
            },
            _ => Derived::Nothing,
        };
        Ok(AccumulatorValues { canonical, nulls, derived })
    }

    /// Adds the event of a row, which happened at `time`. Nulls change nothing.
    pub fn add(&self, to: &mut Accumulator, values: &AccumulatorValues, row: usize, time: i64) {
        if values.is_there(row) {
            to.state.add(&self.function, values, row, time);
        }
    }

    /// Takes out an event that was added. Tells whether it could: the greatest, the least, the first,
    /// the last and sketches of distinct values do not know what they would be without one, and need
    /// [`SlidingTiles`] instead. One that was not added leaves a wrong state.
    pub fn remove(&self, from: &mut Accumulator, values: &AccumulatorValues, row: usize) -> bool {
        !values.is_there(row) || from.state.remove(values, row)
    }

    /// Adds everything that another state has seen.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Internal`](icecore_core::ErrorKind::Internal) for the state of another aggregate.
    pub fn merge(&self, to: &mut Accumulator, other: &Accumulator) -> Result<()> {
        if to.state.merge(&self.function, &other.state) {
            return Ok(());
        }
        Err(Error::internal(format!("`{}` is merged with another aggregate", self.field.name())))
    }

    /// What states say, each at a moment.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](icecore_core::ErrorKind::InvalidInput) for a sum that does not
    /// fit, naming the aggregate.
    pub fn finish(&self, states: &[(&Accumulator, i64)]) -> Result<ArrayRef> {
        finish::finish(self, states)
    }

    /// A compact form. States over the same events have the same bytes, whatever way they took.
    #[must_use]
    pub fn to_bytes(&self, state: &Accumulator) -> Vec<u8> {
        codec::write(&state.state)
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Bytes may come from anywhere: what is read
    /// takes little more memory than they do.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DataCorrupt`](icecore_core::ErrorKind::DataCorrupt) for anything else, the states
    /// of other aggregates among it.
    pub fn from_bytes(&self, bytes: &[u8]) -> Result<Accumulator> {
        let state = codec::read(&self.function, self.input.as_ref(), bytes);
        state.map(|state| Accumulator { state }).ok_or_else(|| {
            let name = self.field.name();
            Error::corrupt(format!("{} bytes are not a state of `{name}`", bytes.len()))
                .with_help("compute it again from its events")
        })
    }
}

impl AccumulatorValues {
    fn is_there(&self, row: usize) -> bool {
        self.nulls.as_ref().is_none_or(|nulls| row < nulls.len() && nulls.is_valid(row))
    }

    fn datum(&self, row: usize) -> Option<Datum> {
        Datum::of(self.canonical.as_ref()?, row)
    }
}
