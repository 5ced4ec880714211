//! Windows that end at the moment of a request, from partial aggregates.
//!
//! ```text
//! ic:VIEW~t:{TAG}ENTITY         the entity's tiles: a state of each aggregate for each span of time
//! ic:VIEW~c:{TAG}ENTITY TILE    the events of one tile, from which its states are made
//! ic:VIEW~p:{TAG}ENTITY         events that were pushed and that the tiles do not have yet
//! ```
//!
//! A window is the states of the tiles that lie inside it, and the single events of the tiles at its
//! ends. The states are the kernel's, exact and the same whatever way they took, so a value has the
//! bits that computing the view gives for the moment (Carbone et al. 2016, "Cutty: Aggregate Sharing
//! for User-Defined Windows"; tiles of Chronon are rounded at the older end, these are not).
//!
//! A pushed event counts until the tiles of its entity come from a state of the table that has it. The
//! entity's tiles say how far in each queue that state is; what is after that is added to them.

mod answer;
mod event;
mod fill;
mod key;
mod origin;
mod overlay;
mod spec;
mod stored;
#[cfg(test)]
mod tests;
mod verify;

pub use answer::TileRows;
pub(crate) use fill::bring;
pub(crate) use origin::tile_source;
pub(crate) use overlay::append;
pub use spec::TileView;
pub(crate) use verify::verify;
