//! A catalog that loses its answers.

use super::*;

/// What a pointer store does with the next swaps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Answer {
    /// It happens, and the answer comes.
    Given,
    /// It happens, and the answer is lost.
    LostAfter,
    /// It does not happen, and neither comes an answer.
    LostBefore,
    /// It happens only when the next one is asked for.
    Late,
    /// It fails for sure.
    Refused,
    /// It happens, the answer is lost, and then the catalog cannot be read.
    LostForGood,
}

#[derive(Debug)]
pub(super) struct FaultyPointers {
    pub(super) inner: SqlitePointers,
    pub(super) faults: Arc<Faults>,
    pub(super) answers: Mutex<Vec<Answer>>,
    pub(super) late: Mutex<Option<(String, String)>>,
    pub(super) blind: AtomicBool,
}

pub(super) fn lost() -> Error {
    Error::unavailable("the connection was closed")
}

#[async_trait]
impl PointerStore for FaultyPointers {
    async fn list(&self) -> Result<Vec<TableName>> {
        self.inner.list().await
    }
    async fn find(&self, table: &TableName) -> Result<Option<String>> {
        if self.blind.load(Ordering::SeqCst) { Err(lost()) } else { self.inner.find(table).await }
    }
    async fn create(&self, table: &TableName, location: &str) -> Swap {
        match self.next() {
            Answer::LostAfter => {
                assert!(matches!(self.inner.create(table, location).await, Swap::Done));
                Swap::Unknown(lost())
            }
            Answer::LostBefore => Swap::Unknown(lost()),
            _ => self.inner.create(table, location).await,
        }
    }
    async fn swap(&self, table: &TableName, from: &str, to: &str) -> Swap {
        let _ = self.faults.step().await;
        let late = self.late.lock().unwrap().take();
        if let Some((from, to)) = late {
            assert!(matches!(self.inner.swap(table, &from, &to).await, Swap::Done));
        }
        match self.next() {
            Answer::Given => self.inner.swap(table, from, to).await,
            Answer::Refused => Swap::Failed(lost()),
            Answer::LostBefore => Swap::Unknown(lost()),
            Answer::Late => {
                *self.late.lock().unwrap() = Some((from.to_owned(), to.to_owned()));
                Swap::Unknown(lost())
            }
            answer @ (Answer::LostAfter | Answer::LostForGood) => {
                assert!(matches!(self.inner.swap(table, from, to).await, Swap::Done));
                self.blind.store(answer == Answer::LostForGood, Ordering::SeqCst);
                Swap::Unknown(lost())
            }
        }
    }
    async fn rename(&self, table: &TableName, to: &TableName, at: &str) -> Swap {
        match self.next() {
            Answer::LostAfter => {
                assert!(matches!(self.inner.rename(table, to, at).await, Swap::Done));
                Swap::Unknown(lost())
            }
            Answer::LostBefore => Swap::Unknown(lost()),
            _ => self.inner.rename(table, to, at).await,
        }
    }
    async fn remove(&self, table: &TableName, at: &str) -> Swap {
        self.inner.remove(table, at).await
    }
}

impl FaultyPointers {
    fn next(&self) -> Answer {
        self.answers.lock().unwrap().pop().unwrap_or(Answer::Given)
    }
}
