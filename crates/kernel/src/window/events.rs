//! The events of one call, checked.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
use icecore_core::{Error, ErrorKind, Result};

use super::EntityEvents;

/// Events whose rows fit `u32`, lie in order, and have a value in every input and mask.
#[derive(Debug)]
pub(crate) struct Events<'a> {
    pub(crate) times: &'a [i64],
    pub(crate) entities: &'a [Range<usize>],
    inputs: &'a [ArrayRef],
    masks: &'a [BooleanArray],
}

/// The number of no row.
pub(crate) const NO_ROW: u32 = u32::MAX;

impl<'a> Events<'a> {
    pub(crate) fn try_new(events: EntityEvents<'a>, types: &[DataType]) -> Result<Self> {
        let EntityEvents { times, entities, inputs, masks } = events;
        if times.len() >= NO_ROW as usize {
            return Err(too_many("events"));
        }
        let typed = inputs.iter().map(Array::data_type).eq(types);
        let inputs_fit = inputs.iter().all(|input| input.len() == times.len());
        let masks_fit = masks.iter().all(|mask| mask.len() == times.len());
        if !typed || !inputs_fit || !masks_fit {
            return Err(Error::internal("the inputs of a window kernel do not fit its events"));
        }
        let mut end = 0;
        for entity in entities {
            let rows = times.get(entity.clone());
            if entity.start < end || !rows.is_some_and(<[i64]>::is_sorted) {
                return Err(Error::internal("events are not sorted by entity and time"));
            }
            end = entity.end;
        }
        Ok(Self { times, entities, inputs, masks })
    }

    pub(crate) fn input(&self, index: usize) -> Result<&'a ArrayRef> {
        self.inputs.get(index).ok_or_else(|| Error::internal(format!("there is no input {index}")))
    }

    pub(crate) fn mask(&self, index: usize) -> Result<&'a BooleanArray> {
        self.masks.get(index).ok_or_else(|| Error::internal(format!("there is no mask {index}")))
    }
}

pub(crate) fn too_many(what: &str) -> Error {
    Error::new(ErrorKind::LimitExceeded, format!("more than 4294967294 {what} in one block"))
        .with_help("compute a shorter range of time, or emit rows less often")
}
