//! What models compute with, as bytes.

use icecore_core::Result;

use super::read::Reader;
use super::{corrupt, machines, trees};
use crate::forest::TreeScorer;
use crate::linear::{ClassLink, LinearClasses, LinearLink, LinearScorer, LinearTerm, WEIGHT_MAX};
use crate::scorer::Scorer;

/// The most classes of a linear model.
const CLASSES_MAX: usize = 1_000;

/// Which payload an algorithm has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layout {
    Trees,
    TreesOfVersion1,
    Linear(LinearLink),
    LinearClasses(ClassLink),
    Bayes,
    Neighbors,
    Kernel,
}

pub(super) fn write(scorer: &Scorer, out: &mut Vec<u8>) {
    match scorer {
        Scorer::Trees(trees) => trees::write(trees.ensemble(), out),
        Scorer::Linear(linear) => write_linear(linear, out),
        Scorer::LinearClasses(classes) => {
            out.extend((classes.sums.len() as u32).to_le_bytes());
            classes.sums.iter().for_each(|linear| write_linear(linear, out));
        }
        Scorer::Bayes(bayes) => machines::write_bayes(bayes, out),
        Scorer::Neighbors(neighbors) => machines::write_neighbors(neighbors, out),
        Scorer::Kernel(kernel) => machines::write_kernel(kernel, out),
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
        Layout::Linear(link) => Scorer::Linear(read_linear(&mut reader, inputs, link)?),
        Layout::LinearClasses(link) => {
            let classes = reader.u32()? as usize;
            if !(2..=CLASSES_MAX).contains(&classes) {
                return Err(corrupt("it has no classes, or too many"));
            }
            let sum = |_| read_linear(&mut reader, inputs, LinearLink::Identity);
            let sums = (0..classes).map(sum).collect::<Result<_>>()?;
            Scorer::LinearClasses(LinearClasses { link, sums })
        }
        Layout::Bayes => Scorer::Bayes(machines::read_bayes(&mut reader, inputs)?),
        Layout::Neighbors => Scorer::Neighbors(machines::read_neighbors(&mut reader, inputs)?),
        Layout::Kernel => Scorer::Kernel(machines::read_kernel(&mut reader, inputs)?),
    };
    reader.end()?;
    Ok(scorer)
}

fn write_linear(linear: &LinearScorer, out: &mut Vec<u8>) {
    out.extend(linear.intercept.to_le_bytes());
    write_terms(&linear.terms, out);
}

pub(super) fn write_terms(terms: &[LinearTerm], out: &mut Vec<u8>) {
    out.extend((terms.len() as u32).to_le_bytes());
    for term in terms {
        for value in [term.center, term.scale, term.weight, term.missing_weight] {
            out.extend(value.to_le_bytes());
        }
    }
}

fn read_linear(reader: &mut Reader<'_>, inputs: usize, link: LinearLink) -> Result<LinearScorer> {
    let intercept = reader.bounded(WEIGHT_MAX)?;
    Ok(LinearScorer { link, intercept, terms: read_terms(reader, inputs)? })
}

pub(super) fn read_terms(reader: &mut Reader<'_>, inputs: usize) -> Result<Vec<LinearTerm>> {
    if reader.u32()? as usize != inputs {
        return Err(corrupt("it has other weights than its signature has inputs"));
    }
    let mut terms = Vec::with_capacity(inputs.min(reader.remaining()));
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
    Ok(terms)
}
