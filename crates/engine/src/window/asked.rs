//! The columns of events in one place: what the kernel takes, and what is asked of it.

use std::ops::Range;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::error::Result;
use icecore_core::Error;
use icecore_kernel::{EntityEvents, Questions, WindowKernel, WindowPiece, WindowRows};

use super::logical::external;
use super::{AskedRows, WindowNode};

/// The columns of events beside their keys and times, as the kernel takes them.
pub(super) struct Inputs {
    inputs: Vec<ArrayRef>,
    masks: Vec<BooleanArray>,
    asked: Option<Asked>,
}

struct Asked {
    rows: BooleanArray,
    known: Option<Vec<i64>>,
}

impl Inputs {
    /// Takes the columns inputs, masks, questions, knowledge apart.
    pub(super) fn of(node: &WindowNode, mut columns: Vec<ArrayRef>) -> Result<Self> {
        let mut rest = columns.split_off(node.inputs.len().min(columns.len()));
        let asked = rest.split_off(node.masks.len().min(rest.len()));
        let masks = rest.iter().map(|mask| mask.as_boolean().clone()).collect();
        let asked = match &node.asked {
            Some(AskedRows { known, .. }) => Some(Asked::of(&asked, known.is_some())?),
            None => None,
        };
        Ok(Self { inputs: columns, masks, asked })
    }

    pub(super) fn events<'a>(
        &'a self,
        times: &'a [i64],
        entities: &'a [Range<usize>],
    ) -> EntityEvents<'a> {
        EntityEvents { times, entities, inputs: &self.inputs, masks: &self.masks }
    }

    /// The rows of a piece: those that are asked for, or those that the spec emits.
    pub(super) fn rows(
        &self,
        node: &WindowNode,
        kernel: &WindowKernel,
        (events, piece): (&EntityEvents<'_>, &WindowPiece),
    ) -> Result<WindowRows> {
        let rows = match (&self.asked, &node.asked) {
            (Some(asked), Some(AskedRows { delay, .. })) => {
                let (asked, known) = (&asked.rows, asked.known.as_deref());
                let questions = Questions { asked, known, delay: *delay };
                kernel.answer(events, questions, piece.range)
            }
            _ => kernel.evaluate(events, piece.range),
        };
        rows.map_err(external)
    }
}

impl Asked {
    fn of(columns: &[ArrayRef], knows: bool) -> Result<Self> {
        let lost = || external(Error::internal("window events have lost what is asked of them"));
        let rows = columns.first().and_then(|rows| rows.as_boolean_opt()).ok_or_else(lost)?.clone();
        let known = match (columns.get(1), knows) {
            (Some(known), true) => {
                let known =
                    known.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(lost)?;
                // Questions have none, and nobody looks at it.
                Some(known.iter().map(|at| at.unwrap_or(i64::MAX)).collect())
            }
            (None, true) => return Err(lost()),
            (_, false) => None,
        };
        Ok(Self { rows, known })
    }
}
