//! Bugs that are built in on purpose, which the simulation has to find.
//!
//! They are there only with the feature `planted-bugs`, and then only on a thread that asked for one.
//! Each is a mistake that a lakehouse was seen to make.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlantedBug {
    /// A lost answer is taken for a conflict: the files of what may be stored are deleted.
    LostIsConflict,
    /// A lost answer is not looked for: the change is made again.
    LostIsRepeated,
    /// Files of a commit of which nobody knows whether it is stored are deleted.
    UnknownIsCleanedUp,
    /// Nobody looks what others changed since an overwrite was computed.
    NothingIsValidated,
    /// A clean takes files of any age, and so those of writers that have not committed yet.
    YoungIsGarbage,
}

#[cfg(feature = "planted-bugs")]
mod choice {
    use std::cell::Cell;

    use super::PlantedBug;

    thread_local! {
        static PLANTED: Cell<Option<PlantedBug>> = const { Cell::new(None) };
    }

    /// Plants a bug for what runs on this thread, or weeds it.
    pub fn plant(bug: Option<PlantedBug>) {
        PLANTED.set(bug);
    }

    pub(crate) fn has(bug: PlantedBug) -> bool {
        PLANTED.get() == Some(bug)
    }
}

#[cfg(not(feature = "planted-bugs"))]
mod choice {
    pub(crate) const fn has(_bug: super::PlantedBug) -> bool {
        false
    }
}

pub(crate) use choice::has;
#[cfg(feature = "planted-bugs")]
pub use choice::plant;
