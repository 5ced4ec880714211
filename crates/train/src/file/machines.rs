//! Models that are neither trees nor sums, as bytes.

use icecore_core::{OutputKind, Result};

use super::corrupt;
use super::payload::{read_terms, write_terms};
use super::read::Reader;
use crate::bayes::{BayesScorer, EVIDENCE_MAX, Evidence};
use crate::kernel::{Kernel, KernelScorer, Meaning};
use crate::linear::WEIGHT_MAX;
use crate::neighbors::{NEIGHBORS_MAX, NeighborScorer};

const BYTES: usize = 8;

pub(super) fn write_bayes(bayes: &BayesScorer, out: &mut Vec<u8>) {
    out.extend(bayes.prior.to_le_bytes());
    for evidence in &bayes.evidence {
        match evidence {
            Evidence::Silent => out.push(0),
            Evidence::Normal(classes) => {
                out.push(1);
                numbers(&[classes[0].0, classes[0].1, classes[1].0, classes[1].1], out);
            }
            Evidence::Threshold { threshold, odds } => {
                out.push(2);
                numbers(&[*threshold, odds[0], odds[1]], out);
            }
        }
    }
}

pub(super) fn read_bayes(reader: &mut Reader<'_>, inputs: usize) -> Result<BayesScorer> {
    let prior = reader.bounded(EVIDENCE_MAX)?;
    let mut evidence = Vec::with_capacity(inputs.min(reader.remaining()));
    for _ in 0..inputs {
        evidence.push(match reader.u8()? {
            0 => Evidence::Silent,
            1 => {
                let mut class = || {
                    let (mean, variance) = (reader.bounded(f64::MAX)?, reader.bounded(f64::MAX)?);
                    if variance <= 0.0 {
                        return Err(corrupt("a variance in it is not positive"));
                    }
                    Ok((mean, variance))
                };
                Evidence::Normal([class()?, class()?])
            }
            2 => Evidence::Threshold {
                threshold: reader.number()?,
                odds: [reader.bounded(EVIDENCE_MAX)?, reader.bounded(EVIDENCE_MAX)?],
            },
            _ => return Err(corrupt("what an input says in it is not known")),
        });
    }
    Ok(BayesScorer { prior, evidence })
}

pub(super) fn write_neighbors(model: &NeighborScorer, out: &mut Vec<u8>) {
    out.push(u8::from(model.output == OutputKind::Value));
    out.push(u8::from(model.by_distance));
    out.extend((model.neighbors as u32).to_le_bytes());
    write_terms(&model.terms, out);
    out.extend((model.labels.len() as u64).to_le_bytes());
    numbers(&model.labels, out);
    numbers(&model.rows, out);
}

pub(super) fn read_neighbors(reader: &mut Reader<'_>, inputs: usize) -> Result<NeighborScorer> {
    let output = if flag(reader)? { OutputKind::Value } else { OutputKind::Probability };
    let by_distance = flag(reader)?;
    let neighbors = reader.u32()? as usize;
    let terms = read_terms(reader, inputs)?;
    let rows = rows_of(reader, inputs + 1)?;
    if neighbors == 0 || neighbors > NEIGHBORS_MAX || neighbors > rows {
        return Err(corrupt("it asks another number of neighbours than it has"));
    }
    let labels = list(reader, rows)?;
    if output == OutputKind::Probability && labels.iter().any(|l| *l != 0.0 && *l != 1.0) {
        return Err(corrupt("a label in it is neither 0 nor 1"));
    }
    let rows = list(reader, rows * inputs)?;
    Ok(NeighborScorer { output, neighbors, by_distance, terms, rows, labels })
}

pub(super) fn write_kernel(model: &KernelScorer, out: &mut Vec<u8>) {
    match model.kernel {
        Kernel::Linear => out.push(0),
        Kernel::Rbf { gamma } => {
            out.push(1);
            numbers(&[gamma], out);
        }
        Kernel::Polynomial { gamma, degree } => {
            out.push(2);
            numbers(&[gamma], out);
            out.extend(degree.to_le_bytes());
        }
    }
    match model.meaning {
        Meaning::Platt { factor, summand } => {
            out.push(0);
            numbers(&[factor, summand], out);
        }
        Meaning::Number { center, scale } => {
            out.push(1);
            numbers(&[center, scale], out);
        }
    }
    numbers(&[model.base], out);
    write_terms(&model.terms, out);
    out.extend((model.weights.len() as u64).to_le_bytes());
    numbers(&model.weights, out);
    numbers(&model.vectors, out);
}

pub(super) fn read_kernel(reader: &mut Reader<'_>, inputs: usize) -> Result<KernelScorer> {
    let kernel = match reader.u8()? {
        0 => Kernel::Linear,
        1 => Kernel::Rbf { gamma: positive(reader)? },
        2 => {
            let (gamma, degree) = (positive(reader)?, reader.u32()?);
            if !(1..=10).contains(&degree) {
                return Err(corrupt("its kernel has no such degree"));
            }
            Kernel::Polynomial { gamma, degree }
        }
        _ => return Err(corrupt("its kernel is not known")),
    };
    let meaning = match reader.u8()? {
        0 => Meaning::Platt {
            factor: reader.bounded(WEIGHT_MAX)?,
            summand: reader.bounded(WEIGHT_MAX)?,
        },
        1 => Meaning::Number { center: reader.bounded(f64::MAX)?, scale: positive(reader)? },
        _ => return Err(corrupt("what its sum means is not known")),
    };
    let base = reader.bounded(WEIGHT_MAX)?;
    let terms = read_terms(reader, inputs)?;
    let vectors = rows_of(reader, inputs + 1)?;
    let weights = list(reader, vectors)?;
    let vectors = list(reader, vectors * inputs)?;
    Ok(KernelScorer { kernel, meaning, terms, vectors, weights, base })
}

fn numbers(values: &[f64], out: &mut Vec<u8>) {
    for value in values {
        out.extend(value.to_le_bytes());
    }
}

/// A number of rows that can be there: each has this many numbers.
fn rows_of(reader: &mut Reader<'_>, numbers: usize) -> Result<usize> {
    let rows = usize::try_from(reader.u64()?).unwrap_or(usize::MAX);
    if rows > reader.remaining() / (BYTES * numbers) {
        return Err(corrupt("it has fewer rows than it says"));
    }
    Ok(rows)
}

fn list(reader: &mut Reader<'_>, count: usize) -> Result<Vec<f64>> {
    (0..count).map(|_| reader.bounded(WEIGHT_MAX)).collect()
}

fn positive(reader: &mut Reader<'_>) -> Result<f64> {
    let number = reader.bounded(f64::MAX)?;
    if number > 0.0 { Ok(number) } else { Err(corrupt("a number in it is not positive")) }
}

fn flag(reader: &mut Reader<'_>) -> Result<bool> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(corrupt("a choice in it is neither of two")),
    }
}
