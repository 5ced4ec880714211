//! Pointers to tables in memory, and pointers that one process sees through its weather.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use icecore_catalog::{PointerStore, Swap};
use icecore_core::{Error, ErrorKind, Result, TableName};

use super::weather::{hash, locked};
use super::{Fate, Weather};

/// A change of a pointer that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swapped {
    /// The table.
    pub table: TableName,
    /// Where its metadata was; `None` for a table that was created.
    pub from: Option<String>,
    /// Where it is; `None` for a table that was dropped.
    pub to: Option<String>,
}

/// Pointers in memory, which remember everything that ever happened to them.
#[derive(Debug, Default)]
pub struct MemoryPointers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    pointers: BTreeMap<TableName, String>,
    log: Vec<Swapped>,
}

impl MemoryPointers {
    /// Every change that happened, in the order in which it did.
    #[must_use]
    pub fn log(&self) -> Vec<Swapped> {
        locked(&self.0).log.clone()
    }

    /// How many changes happened.
    #[must_use]
    pub fn count(&self) -> usize {
        locked(&self.0).log.len()
    }
}

#[async_trait]
impl PointerStore for MemoryPointers {
    async fn list(&self) -> Result<Vec<TableName>> {
        Ok(locked(&self.0).pointers.keys().cloned().collect())
    }

    async fn find(&self, table: &TableName) -> Result<Option<String>> {
        Ok(locked(&self.0).pointers.get(table).cloned())
    }

    async fn create(&self, table: &TableName, location: &str) -> Swap {
        let mut state = locked(&self.0);
        if state.pointers.contains_key(table) {
            return Swap::Moved;
        }
        state.pointers.insert(table.clone(), location.to_owned());
        let (table, to) = (table.clone(), Some(location.to_owned()));
        state.log.push(Swapped { table, from: None, to });
        Swap::Done
    }

    async fn swap(&self, table: &TableName, from: &str, to: &str) -> Swap {
        let mut state = locked(&self.0);
        match state.pointers.get_mut(table) {
            Some(pointer) if pointer == from => to.clone_into(pointer),
            _ => return Swap::Moved,
        }
        let (from, to) = (Some(from.to_owned()), Some(to.to_owned()));
        state.log.push(Swapped { table: table.clone(), from, to });
        Swap::Done
    }

    async fn rename(&self, table: &TableName, to: &TableName, at: &str) -> Swap {
        let mut state = locked(&self.0);
        if state.pointers.contains_key(to) {
            let text = format!("there is a table `{to}` already");
            return Swap::Failed(Error::new(ErrorKind::AlreadyExists, text));
        }
        if state.pointers.get(table).is_none_or(|pointer| pointer != at) {
            return Swap::Moved;
        }
        state.pointers.remove(table);
        state.pointers.insert(to.clone(), at.to_owned());
        let at = Some(at.to_owned());
        state.log.push(Swapped { table: table.clone(), from: at.clone(), to: None });
        state.log.push(Swapped { table: to.clone(), from: None, to: at });
        Swap::Done
    }

    async fn remove(&self, table: &TableName, at: &str) -> Swap {
        let mut state = locked(&self.0);
        if state.pointers.get(table).is_none_or(|pointer| pointer != at) {
            return Swap::Moved;
        }
        state.pointers.remove(table);
        let from = Some(at.to_owned());
        state.log.push(Swapped { table: table.clone(), from, to: None });
        Swap::Done
    }
}

/// How long the effect of a call can stay away after its caller gave up.
const LATE_MAX: Duration = Duration::from_secs(120);

/// Pointers as one process sees them through its weather.
#[derive(Debug)]
pub struct FaultyPointers {
    inner: Arc<dyn PointerStore>,
    weather: Arc<Weather>,
}

impl FaultyPointers {
    /// Puts pointers into this weather.
    #[must_use]
    pub fn new(inner: Arc<dyn PointerStore>, weather: Arc<Weather>) -> Self {
        Self { inner, weather }
    }

    async fn read<T>(
        &self,
        what: &'static str,
        table: &str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match self.weather.fate(what, table).await {
            Fate::Refused | Fate::LostBefore | Fate::Lost => Err(closed()),
            Fate::DiesAfter => {
                self.weather.die().await;
                Err(closed())
            }
            _ => call.await,
        }
    }

    async fn change(&self, fate: Fate, call: impl Future<Output = Swap>) -> Swap {
        match fate {
            Fate::Refused => Swap::Failed(closed()),
            Fate::Conflict => Swap::Moved,
            Fate::LostBefore => Swap::Unknown(closed()),
            Fate::Lost => {
                let _ = call.await;
                Swap::Unknown(closed())
            }
            Fate::DiesAfter => {
                let _ = call.await;
                self.weather.die().await;
                Swap::Unknown(closed())
            }
            _ => call.await,
        }
    }
}

fn closed() -> Error {
    Error::unavailable("the connection to the catalog was closed")
}

#[async_trait]
impl PointerStore for FaultyPointers {
    async fn list(&self) -> Result<Vec<TableName>> {
        self.read("get list", "", self.inner.list()).await
    }

    async fn find(&self, table: &TableName) -> Result<Option<String>> {
        self.read("get pointer", table.as_str(), self.inner.find(table)).await
    }

    async fn create(&self, table: &TableName, location: &str) -> Swap {
        let fate = self.weather.fate("create", table.as_str()).await;
        self.change(fate, self.inner.create(table, location)).await
    }

    async fn swap(&self, table: &TableName, from: &str, to: &str) -> Swap {
        let fate = self.weather.fate("swap", to).await;
        if fate == Fate::Late {
            let (inner, timer) = (self.inner.clone(), self.weather.timer().clone());
            let (table, from, to) = (table.clone(), from.to_owned(), to.to_owned());
            let share = f64::from(u16::try_from(hash(&to) % 97).unwrap_or(0)) / 97.0;
            // It is on its way already, whatever becomes of its process.
            tokio::spawn(async move {
                timer.sleep(LATE_MAX.mul_f64(share)).await;
                let _ = inner.swap(&table, &from, &to).await;
            });
            return Swap::Unknown(closed());
        }
        self.change(fate, self.inner.swap(table, from, to)).await
    }

    async fn rename(&self, table: &TableName, to: &TableName, at: &str) -> Swap {
        let fate = self.weather.fate("rename", table.as_str()).await;
        self.change(fate, self.inner.rename(table, to, at)).await
    }

    async fn remove(&self, table: &TableName, at: &str) -> Swap {
        let fate = self.weather.fate("remove", table.as_str()).await;
        self.change(fate, self.inner.remove(table, at)).await
    }
}
