//! Making a planned change current.

use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{Error, Result, TableName};

use super::numbered::numbered;
use super::{Backend, Tables, location_of, metadata};
use crate::planted::{self, PlantedBug};
use crate::pointer::{Place, Swap};
use crate::rest::Posted;

/// A change of one state of a table.
#[derive(Debug)]
pub(crate) struct Planned<'a> {
    pub(crate) name: &'a TableName,
    /// The state that it was planned on.
    pub(crate) head: &'a Table,
    pub(crate) requirements: Vec<TableRequirement>,
    pub(crate) updates: Vec<TableUpdate>,
    /// The same for every try of a commit.
    pub(crate) attempt: &'a str,
}

/// What became of a planned change.
#[derive(Debug)]
pub(crate) enum Stored {
    /// This is the table now.
    Done(Table),
    /// The table was in another state: nothing happened.
    Moved,
    /// It failed before anything could have happened.
    Failed(Error),
    /// Nobody knows whether it happened.
    Unknown(Error, Open),
}

/// A change that may yet turn out to have happened.
#[derive(Debug)]
pub(crate) struct Open {
    /// The metadata that it was planned on.
    from: String,
    /// The metadata that it wrote, where the catalog leaves that to the writer.
    to: Option<String>,
    requirements: Vec<TableRequirement>,
}

impl Open {
    /// Whether it is part of this state.
    pub(crate) fn is_in(&self, metadata: &TableMetadata, current: &str) -> bool {
        let is = |location: &String| {
            location == current
                || metadata.metadata_log().iter().any(|entry| entry.metadata_file == *location)
        };
        self.to.as_ref().is_some_and(is)
    }

    /// Whether it can still happen to a table that is in this state.
    pub(crate) fn may_come(&self, metadata: &TableMetadata, current: &str) -> bool {
        match self.to {
            Some(_) => self.from == current,
            None => self.requirements.iter().all(|needed| needed.check(Some(metadata)).is_ok()),
        }
    }

    /// The files that only this change refers to.
    pub(crate) fn files(&self) -> Vec<String> {
        self.to.iter().cloned().collect()
    }
}

impl Tables {
    /// Makes a planned change current if the table is still in the state that it was planned on.
    /// The metadata file of a change that did not happen is deleted.
    ///
    /// # Errors
    ///
    /// `Conflict` if the state does not meet a requirement; what failed before the swap.
    pub(crate) async fn commit(&self, planned: Planned<'_>) -> Result<Stored> {
        let Planned { name, head, requirements, updates, attempt } = planned;
        tracing::trace!(table = %name, attempt, updates = updates.len(), "commits");
        metadata::check(name, head.metadata(), &requirements)?;
        let from = location_of(head)?.to_owned();
        let pointers = match &self.backend {
            Backend::Pointers(pointers) => pointers,
            Backend::Rest(rest) => {
                let updates = numbered(head, &updates)?;
                let posted = rest.commit(name, &requirements, &updates).await;
                let open = Open { from, to: None, requirements };
                return Ok(self.settle(name, posted, open));
            }
        };
        let next = self.write_next(name, head, updates).await?;
        let stored = match pointers.swap(name, &from, &next.location).await {
            Swap::Done => {
                let forgotten = next.forgotten.clone();
                let table = self.adopt(next);
                self.tidy_up(&table, forgotten).await;
                return Ok(Stored::Done(table));
            }
            Swap::Unknown(_) if planted::has(PlantedBug::LostIsConflict) => Stored::Moved,
            Swap::Unknown(error) => {
                let open = Open { from, to: Some(next.location), requirements };
                return Ok(Stored::Unknown(error, open));
            }
            Swap::Moved => Stored::Moved,
            Swap::Failed(error) => Stored::Failed(error),
        };
        self.discard(std::slice::from_ref(&next.location)).await;
        Ok(stored)
    }

    /// What a server's answer says about a change.
    fn settle(&self, name: &TableName, posted: Posted, open: Open) -> Stored {
        match posted {
            Posted::Done(state) => match self.accept(name, *state) {
                Ok(table) => Stored::Done(table),
                Err(error) => Stored::Unknown(error, open),
            },
            Posted::Refused => Stored::Moved,
            Posted::Failed(error) => Stored::Failed(error),
            Posted::Unknown(error) => Stored::Unknown(error, open),
        }
    }

    /// Deletes files that nothing refers to. What stays behind does no harm.
    pub(crate) async fn discard(&self, files: &[String]) {
        for file in files {
            if let Err(error) = self.io.delete(file).await {
                tracing::warn!(file, %error, "could not delete a file of a commit that failed");
            }
        }
    }

    /// Waits behind the writers of other processes that collided on a table, where there are any
    /// or this one `collided` itself.
    pub(crate) async fn queue(&self, name: &TableName, collided: Collided) -> Place {
        // A server has its own ways to keep writers apart.
        let Backend::Pointers(pointers) = &self.backend else { return Place::default() };
        if collided == Collided::No && !pointers.has_queue(name).await {
            return Place::default();
        }
        match pointers.queue(name).await {
            Ok(place) => place,
            // Without a place a writer is as correct, only less patient.
            Err(error) => {
                tracing::debug!(table = %name, %error, "cannot queue for a commit");
                Place::default()
            }
        }
    }
}

/// Whether a commit lost against another one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collided {
    No,
    Yes,
}
