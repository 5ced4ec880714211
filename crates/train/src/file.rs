//! The model file: one format for all algorithms.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `ICEMODEL` |
//! | 4 | the format's version, little-endian as all numbers |
//! | 4 | the length of the header |
//! | | the header, JSON: algorithm, parameters, signature, rows, provenance |
//! | 8 | the length of the payload |
//! | | the payload: what the model computes with |
//! | 32 | the SHA-256 of everything before it |
//!
//! Files of version 1 are read, too: their trees do not say how many rows their nodes had, so their
//! models cannot explain predictions.
//!
//! Equal models have equal bytes. The checksum tells accidents, not attacks: everything that is
//! read is checked as if nobody had written it in good faith.

mod machines;
mod payload;
mod read;
mod trees;

use std::sync::Arc;

use icecore_core::{Error, ErrorKind, Model, Result};
use sha2::{Digest, Sha256};

use crate::linear::{ClassLink, LinearLink};
use crate::model::{FittedModel, Header};
use crate::tree::CATEGORIES_MAX;
use crate::{bayes, gbdt, import, logistic, neighbors, preprocess, random_forest, regression, svm};
use payload::Layout;
use read::Reader;

const MAGIC: &[u8; 8] = b"ICEMODEL";
/// The version that is written.
const VERSION: u32 = 2;
/// The version before trees knew their rows, and before there were other objectives.
const VERSION_1: u32 = 1;
const CHECKSUM_BYTES: usize = 32;

/// The model's file.
pub(crate) fn encode(model: &FittedModel) -> Result<Vec<u8>> {
    let header = serde_json::to_vec(&model.header)
        .map_err(|error| Error::internal("cannot write the model's header").with_source(error))?;
    let mut payload = Vec::new();
    payload::write(&model.scorer, &mut payload);
    let mut bytes = Vec::with_capacity(header.len() + payload.len() + 64);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend(header);
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(payload);
    let checksum = Sha256::digest(&bytes);
    bytes.extend(checksum);
    Ok(bytes)
}

/// Reads a model's file.
///
/// # Errors
///
/// [`ErrorKind::DataCorrupt`] if the bytes are not a model that this crate wrote;
/// [`ErrorKind::Unsupported`] if a newer version wrote it.
pub fn decode_model(bytes: &[u8]) -> Result<Arc<dyn Model>> {
    Ok(Arc::new(decode(bytes)?))
}

/// The SHA-256, in hexadecimal, of what a model's file says but where its rows came from.
///
/// Two models of equal hash predict the same: the hash covers algorithm, parameters, signature
/// and payload. It leaves the provenance out, so that training again from the same rows in
/// another snapshot, such as one after a compaction, gives the same hash. Bytes that are no
/// model's file are hashed as they are.
#[must_use]
pub fn model_hash(bytes: &[u8]) -> String {
    let mut hasher = Sha256::new();
    match parts(bytes) {
        Ok((mut header, payload, version)) => {
            header.provenance.clear();
            hasher.update(MAGIC);
            hasher.update(version.to_le_bytes());
            hasher.update(serde_json::to_vec(&header).unwrap_or_default());
            hasher.update(payload);
        }
        Err(_) => hasher.update(bytes),
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<FittedModel> {
    let (header, payload, version) = parts(bytes)?;
    let layout = layout_of(&header.algorithm, version)?;
    let mut names: Vec<_> = header.signature.inputs.iter().map(|input| &input.name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(corrupt("an input is there twice"));
    }
    if !header.categories.values().all(|categories| categories.is_sound(CATEGORIES_MAX)) {
        return Err(corrupt("its categories are too many or out of order"));
    }
    let features = preprocess::origins(&header.steps, &header.signature.inputs)
        .map_err(|error| corrupt("its preprocessing does not fit").with_source(error))?;
    let scorer = payload::read(payload, layout, features.len())?;
    if header.signature.output != scorer.output() {
        return Err(corrupt("its output is none that its algorithm gives"));
    }
    FittedModel::new(header, scorer)
}

/// Which payload the models of an algorithm have.
fn layout_of(algorithm: &str, version: u32) -> Result<Layout> {
    Ok(match algorithm {
        gbdt::ALGORITHM | random_forest::ALGORITHM | import::ALGORITHM if version == VERSION_1 => {
            Layout::TreesOfVersion1
        }
        gbdt::ALGORITHM | random_forest::ALGORITHM | random_forest::EXTRA | import::ALGORITHM => {
            Layout::Trees
        }
        logistic::ALGORITHM | import::LOGISTIC => Layout::Linear(LinearLink::Logistic),
        import::LINEAR => Layout::Linear(LinearLink::Identity),
        import::SOFTMAX => Layout::LinearClasses(ClassLink::Softmax),
        import::SHARES => Layout::LinearClasses(ClassLink::Shares),
        regression::LINEAR | regression::RIDGE | regression::LASSO | regression::ELASTIC_NET => {
            Layout::Linear(LinearLink::Identity)
        }
        bayes::GAUSSIAN | bayes::BERNOULLI => Layout::Bayes,
        neighbors::CLASSIFIER | neighbors::REGRESSOR => Layout::Neighbors,
        svm::CLASSIFIER | svm::REGRESSOR => Layout::Kernel,
        other => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the model's algorithm `{other}` is not known"),
            )
            .with_candidates(other, crate::ALGORITHMS)
            .with_help("use the version of icecore that trained it, or a later one"));
        }
    })
}

/// The header and the payload of a file that is complete, and its version.
fn parts(bytes: &[u8]) -> Result<(Header, &[u8], u32)> {
    let mut reader = Reader::new(bytes);
    if reader.bytes(MAGIC.len())? != MAGIC {
        return Err(corrupt("it does not begin as one"));
    }
    let version = reader.u32()?;
    if version != VERSION && version != VERSION_1 {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("the model file has version {version}, and this icecore reads up to {VERSION}"),
        )
        .with_help("use the version of icecore that wrote it, or a later one"));
    }
    let header_length = reader.u32()? as usize;
    let header = reader.bytes(header_length)?;
    let payload_length = usize::try_from(reader.u64()?).map_err(|_| corrupt("it is cut off"))?;
    let payload = reader.bytes(payload_length)?;
    let checksum = reader.bytes(CHECKSUM_BYTES)?;
    reader.end()?;
    if Sha256::digest(&bytes[..bytes.len() - CHECKSUM_BYTES]).as_slice() != checksum {
        return Err(corrupt("its checksum differs"));
    }
    let header = serde_json::from_slice(header)
        .map_err(|error| corrupt("its header cannot be read").with_source(error))?;
    Ok((header, payload, version))
}

fn corrupt(why: &str) -> Error {
    Error::corrupt(format!("the model file is damaged: {why}"))
        .with_help("restore it from the registry, or train again from the run's pins")
}

#[cfg(test)]
mod tests;
