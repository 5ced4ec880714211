//! Waiting between the tries of a commit.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

/// What a writer that collided waits with. A simulation, whose time is not that of a clock on the
/// wall, brings its own.
#[async_trait]
pub trait Timer: fmt::Debug + Send + Sync + 'static {
    /// Returns after this long.
    async fn sleep(&self, duration: Duration);
}

/// Waits as long as it takes.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemTimer;

#[async_trait]
impl Timer for SystemTimer {
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
