//! A queue of processes on one machine, kept in locks of files: whoever holds a lock and dies gives
//! it back.
//!
//! Everybody who joins makes the next file in a directory, locks it, and waits for the locks of
//! those before. A file that is there and not locked is that of a process that died.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use icecore_core::{Error, Result};

use crate::blocking::blocking;
use crate::error::Context;
use crate::pointer::Place;

/// Pauses between looks at the one before, for each that is before.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSES_MAX: u32 = 20;
/// Looks before a writer that waits tries its luck: two minutes at the longest pause.
const LOOKS_MAX: u32 = 6_000;
/// The file under whose lock numbers are given out.
const COUNTER: &str = "next";

/// Queues by name, in a directory.
#[derive(Debug)]
pub(super) struct FileQueue {
    directory: PathBuf,
}

/// One's own file in a queue, locked.
struct Ticket {
    /// Locked as long as it is open.
    _file: File,
    path: PathBuf,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Gone before it is unlocked: one that is there and not locked is that of the dead.
        let _ = fs::remove_file(&self.path);
    }
}

impl FileQueue {
    pub(super) fn beside(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Waits for the turn in a queue.
    pub(super) async fn wait(&self, name: &str) -> Result<Place> {
        let directory = self.directory.join(format!("{:016x}", super::hash(name)));
        let cannot = || "cannot wait for a turn";
        let joined = {
            let directory = directory.clone();
            blocking(move || join(&directory)).await
        };
        let ticket = joined.context(cannot)?.context(cannot)?;
        for _ in 0..LOOKS_MAX {
            let before = before(&directory, ticket.number).context(cannot)?;
            match u32::try_from(before) {
                Ok(0) => return Ok(Place::held(ticket)),
                before => {
                    let pauses = before.unwrap_or(PAUSES_MAX).min(PAUSES_MAX);
                    tokio::time::sleep(PAUSE * pauses).await;
                }
            }
        }
        Err(Error::unavailable("the turn did not come"))
    }

    /// Whether somebody is in a queue.
    pub(super) fn has_any(&self, name: &str) -> bool {
        let directory = self.directory.join(format!("{:016x}", super::hash(name)));
        before(&directory, u64::MAX).is_ok_and(|count| count > 0)
    }
}

/// Joins a queue at its end.
fn join(directory: &Path) -> io::Result<Ticket> {
    fs::create_dir_all(directory)?;
    let open = |path: &Path| {
        File::options().read(true).write(true).create(true).truncate(false).open(path)
    };
    let counter = open(&directory.join(COUNTER))?;
    // Held for as long as it takes to make a file.
    counter.lock()?;
    let last = numbers(directory)?.into_iter().max().unwrap_or(0);
    let number = last + 1;
    let path = directory.join(number.to_string());
    let file = open(&path)?;
    file.lock()?;
    Ok(Ticket { _file: file, path, number })
}

/// How many living ones are before a number. Files of the dead are removed.
fn before(directory: &Path, own: u64) -> io::Result<usize> {
    let mut living = 0;
    for number in numbers(directory)?.into_iter().filter(|number| *number < own) {
        let path = directory.join(number.to_string());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => living += 1,
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {
                // It may be one that was made a moment ago and is about to be locked.
                if !is_being_made(directory)? {
                    let _ = fs::remove_file(&path);
                }
            }
        }
    }
    Ok(living)
}

/// Whether somebody is joining at this moment.
fn is_being_made(directory: &Path) -> io::Result<bool> {
    match File::open(directory.join(COUNTER))?.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The numbers in a queue. None where there is no queue.
fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        if let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push(number);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
