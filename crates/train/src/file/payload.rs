//! What models compute with, as bytes.

use icecore_core::Result;

use super::read::Reader;
use super::{corrupt, trees};
use crate::forest::TreeScorer;
use crate::linear::{LinearScorer, LinearTerm, WEIGHT_MAX};
use crate::model::Scorer;

/// Which payload an algorithm has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layout {
    Trees,
    TreesOfVersion1,
    Linear,
}

pub(super) fn write(scorer: &Scorer, out: &mut Vec<u8>) {
    match scorer {
        Scorer::Trees(trees) => trees::write(trees.ensemble(), out),
        Scorer::Linear(linear) => write_linear(linear, out),
    }
}

/// Reads the payload of a model of this many inputs.
pub(super) fn read(bytes: &[u8], layout: Layout, inputs: usize) -> Result<Scorer> {
    let mut reader = Reader::new(bytes);
    let scorer = match layout {
        Layout::Trees => Scorer::Trees(TreeScorer::new(trees::read(&mut reader, inputs)?, inputs)),
        Layout::TreesOfVersion1 => {
            Scorer::Trees(TreeScorer::new(trees::read_version_1(&mut reader, inputs)?, inputs))
        }
        Layout::Linear => Scorer::Linear(read_linear(&mut reader, inputs)?),
    };
    reader.end()?;
    Ok(scorer)
}

fn write_linear(linear: &LinearScorer, out: &mut Vec<u8>) {
    out.extend(linear.intercept.to_le_bytes());
    out.extend((linear.terms.len() as u32).to_le_bytes());
    for term in &linear.terms {
        for value in [term.center, term.scale, term.weight, term.missing_weight] {
            out.extend(value.to_le_bytes());
        }
    }
}

fn read_linear(reader: &mut Reader<'_>, inputs: usize) -> Result<LinearScorer> {
    let intercept = reader.bounded(WEIGHT_MAX)?;
    if reader.u32()? as usize != inputs {
        return Err(corrupt("it has other weights than its signature has inputs"));
    }
    let mut terms = Vec::with_capacity(inputs);
    for _ in 0..inputs {
        let center = reader.bounded(f64::MAX)?;
        let scale = reader.bounded(f64::MAX)?;
        if scale <= 0.0 {
            return Err(corrupt("a deviation in it is not positive"));
        }
        let weight = reader.bounded(WEIGHT_MAX)?;
        let missing_weight = reader.bounded(WEIGHT_MAX)?;
        terms.push(LinearTerm { center, scale, weight, missing_weight });
    }
    Ok(LinearScorer { intercept, terms })
}
