//! The connection to the server: one for all requests, made when it is needed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt, Shared};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisError};

use super::RedisOptions;

pub(super) type Connecting = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

/// A connection that is replaced when it breaks.
///
/// A failed attempt is forgotten at once, whatever the reason was, so the next request tries anew:
/// a server that comes back, has loaded its data or got its password right is found.
pub(super) struct Line {
    client: Client,
    config: AsyncConnectionConfig,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    /// Tells the connection that broke from the one that replaced it meanwhile.
    generation: u64,
    connecting: Option<Connecting>,
}

impl Line {
    pub(super) fn new(client: Client, options: &RedisOptions) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.response_timeout));
        Self { client, config, slot: Mutex::default() }
    }

    /// Does one round trip. A connection that broke since the last one is replaced, once: every
    /// request of a store may be repeated.
    pub(super) async fn ask<T: FromRedisValue>(
        self: &Arc<Self>,
        request: &Pipeline,
    ) -> Result<T, RedisError> {
        let mut may_repeat = true;
        loop {
            let (generation, connecting) = self.current();
            let mut connection = connecting.await?;
            match request.query_async(&mut connection).await {
                Err(error) if error.is_unrecoverable_error() || error.is_timeout() => {
                    self.discard(generation);
                    if !(may_repeat && error.is_connection_dropped()) {
                        return Err(error);
                    }
                    may_repeat = false;
                }
                answer => return answer,
            }
        }
    }

    pub(super) fn current(self: &Arc<Self>) -> (u64, Connecting) {
        let mut slot = self.lock();
        let generation = slot.generation;
        let connecting = slot.connecting.get_or_insert_with(|| self.connect(generation));
        (generation, connecting.clone())
    }

    /// Connects in a task of its own: a request that gives up early must not undo the progress.
    fn connect(self: &Arc<Self>, generation: u64) -> Connecting {
        let line = Arc::clone(self);
        let task = tokio::spawn(async move {
            let made = line.client.get_multiplexed_async_connection_with_config(&line.config).await;
            if made.is_err() {
                line.discard(generation);
            }
            made
        });
        let cancelled = |_| RedisError::from(std::io::Error::from(std::io::ErrorKind::Interrupted));
        task.map(move |joined| joined.unwrap_or_else(|error| Err(cancelled(error))))
            .boxed()
            .shared()
    }

    fn discard(&self, generation: u64) {
        let mut slot = self.lock();
        if slot.generation == generation {
            *slot = Slot { generation: generation + 1, connecting: None };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
