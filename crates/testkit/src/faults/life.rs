//! A process that can die at any moment.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether a process lives. Calls of a dead one never return, as those of a killed process do not.
#[derive(Debug, Clone, Default)]
pub struct Life(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_dead: AtomicBool,
    died: Notify,
}

impl Life {
    /// Whether the process died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.0.is_dead.load(Ordering::SeqCst)
    }

    /// Kills the process.
    pub fn end(&self) {
        self.0.is_dead.store(true, Ordering::SeqCst);
        self.0.died.notify_waiters();
    }

    /// Returns when the process has died.
    pub async fn over(&self) {
        let died = self.0.died.notified();
        if !self.is_dead() {
            died.await;
        }
    }

    /// Goes on only if the process lives.
    pub async fn go_on(&self) {
        if self.is_dead() {
            pending::<()>().await;
        }
    }
}
