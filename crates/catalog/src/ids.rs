//! Where ids come from: of tables, snapshots, attempts and files.

use std::fmt;

use uuid::Uuid;

/// A source of ids.
///
/// # Contract
///
/// No two calls give the same bits, in this process or in any other that writes to the same tables.
/// A simulation derives them from its seed, so that it can be played again.
pub trait Ids: fmt::Debug + Send + Sync + 'static {
    /// Bits that were never given before, each as likely to be set as not.
    fn bits(&self) -> u128;
}

/// Ids from the operating system's random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn bits(&self) -> u128 {
        Uuid::new_v4().as_u128()
    }
}

/// A new uuid of version 4.
pub(crate) fn new_uuid(ids: &dyn Ids) -> Uuid {
    uuid::Builder::from_random_bytes(ids.bits().to_be_bytes()).into_uuid()
}
