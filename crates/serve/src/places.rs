//! How many requests are worked on at once.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A bound on what is worked on at once.
#[derive(Debug)]
pub(crate) struct Places {
    taken: AtomicUsize,
    max: usize,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a AtomicUsize);

impl Places {
    pub(crate) const fn new(max: usize) -> Self {
        Self { taken: AtomicUsize::new(0), max }
    }

    /// A place, if there is one left. Nobody waits for one, so there is nobody to be woken when one
    /// is left, and it may be counted by a number alone.
    pub(crate) fn take(&self) -> Option<Place<'_>> {
        let next = |taken: usize| (taken < self.max).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.is_ok().then(|| Place(&self.taken))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_places_and_those_that_are_left_are_taken_again() {
        let places = Places::new(2);
        let (one, two) = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none() && places.take().is_none());
        drop(one);
        let three = places.take();
        assert!(three.is_some() && places.take().is_none());
        drop((two, three));
        assert!(places.take().is_some());
        assert!(Places::new(0).take().is_none());
    }
}
