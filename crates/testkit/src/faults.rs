//! Storage and catalogs that fail as real ones do, in ways that a seed decides.
//!
//! A [`Weather`] says what becomes of each call: it works, is slow, is refused, times out, or works
//! while its answer is lost; or the whole process dies in the midst of it. [`FaultyStore`] and
//! [`FaultyPointers`] put files and pointers of tables into such weather. What a call meets depends
//! on the seed, on what is called, and on how often it was called before, so independent calls may
//! change places without changing each other's fate.

mod life;
mod pointers;
mod store;
mod weather;

pub use life::Life;
pub use pointers::{FaultyPointers, MemoryPointers, Swapped};
pub use store::{FaultyStore, MemoryStore};
pub(crate) use weather::hash;
pub use weather::{Fate, Rates, Weather};
