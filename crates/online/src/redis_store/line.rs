//! The connection to a server: one for all requests of a runtime, made when it is needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::future::{BoxFuture, FutureExt, Shared};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, FromRedisValue, Pipeline, RedisError,
    TlsCertificates,
};
use tokio::runtime::{Handle, Id};
use tokio::sync::oneshot;

use super::RedisOptions;
use super::place::{Kind, Place, at};

pub(super) type Connecting = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

/// Where a line leads to.
#[derive(Clone)]
enum End {
    /// Always to this server.
    Server(Client),
    /// To whichever server the sentinels call the master at the time.
    Master { sentinels: Vec<ConnectionInfo>, name: String, certificates: Option<TlsCertificates> },
}

/// A connection that is replaced when it breaks.
///
/// Each runtime that asks has one of its own, which ends with it: a thread that has its own runtime
/// waits for the server itself, and not for another thread that does.
///
/// A failed attempt is forgotten at once, whatever the reason was, so the next request tries anew:
/// a server that comes back, has loaded its data or got its password right is found.
pub(super) struct Line {
    end: End,
    config: AsyncConnectionConfig,
    slots: Mutex<HashMap<Id, Slot>>,
}

/// The connection of a runtime.
struct Slot {
    /// Tells the connection that broke from the one that replaced it meanwhile.
    generation: u64,
    connecting: Option<Connecting>,
    /// Dropped with this, which ends the task that waits for the runtime's end.
    _watched: oneshot::Sender<()>,
}

/// Forgets the connection of a runtime when the runtime drops its tasks.
struct Watch {
    line: Weak<Line>,
    runtime: Id,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(line) = self.line.upgrade() {
            line.lock().remove(&self.runtime);
        }
    }
}

impl Line {
    /// A line to the one server of a place, or to its master.
    pub(super) fn new(place: &Place, options: &RedisOptions) -> Result<Self, RedisError> {
        let end = match (&place.kind, place.seeds.first()) {
            (Kind::Sentinel { master }, _) => End::Master {
                sentinels: place.seeds.clone(),
                name: master.clone(),
                certificates: place.certificates.clone(),
            },
            (_, Some(seed)) => End::Server(client(seed.clone(), place.certificates.clone())?),
            (_, None) => {
                return Err(RedisError::from((
                    redis::ErrorKind::InvalidClientConfig,
                    "the address names no server",
                )));
            }
        };
        Ok(Self::to(end, options))
    }

    /// A line to one server of a place.
    pub(super) fn to_server(
        place: &Place,
        server: ConnectionInfo,
        options: &RedisOptions,
    ) -> Result<Self, RedisError> {
        Ok(Self::to(End::Server(client(server, place.certificates.clone())?), options))
    }

    fn to(end: End, options: &RedisOptions) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.response_timeout));
        Self { end, config, slots: Mutex::default() }
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
            let mut connection = match connecting.await {
                Ok(connection) => connection,
                Err(error) => {
                    // The attempt may have ended with its task, which then could not say so.
                    self.discard(generation);
                    return Err(error);
                }
            };
            match request.query_async(&mut connection).await {
                Err(error) if self.is_lost(&error) => {
                    self.discard(generation);
                    let is_repeated = error.is_connection_dropped() || is_demoted(&error);
                    if !(may_repeat && is_repeated) {
                        return Err(error);
                    }
                    may_repeat = false;
                }
                answer => return answer,
            }
        }
    }

    fn is_lost(&self, error: &RedisError) -> bool {
        // The sentinels have chosen another master meanwhile.
        let is_demoted = matches!(self.end, End::Master { .. }) && is_demoted(error);
        error.is_unrecoverable_error() || error.is_timeout() || is_demoted
    }

    pub(super) fn current(self: &Arc<Self>) -> (u64, Connecting) {
        let runtime = Handle::current().id();
        let mut begun = None;
        let mut slots = self.lock();
        let slot = slots.entry(runtime).or_insert_with(|| {
            let (watched, over) = oneshot::channel();
            begun = Some(over);
            Slot { generation: 0, connecting: None, _watched: watched }
        });
        let generation = slot.generation;
        let connecting = slot.connecting.get_or_insert_with(|| self.connect(generation)).clone();
        // A runtime that is ending drops what it is given, and the watch wants this lock then.
        drop(slots);
        if let Some(over) = begun {
            let watch = Watch { line: Arc::downgrade(self), runtime };
            tokio::spawn(async move {
                let _watch = watch;
                over.await
            });
        }
        (generation, connecting)
    }

    /// Connects in a task of its own: a request that gives up early must not undo the progress.
    fn connect(self: &Arc<Self>, generation: u64) -> Connecting {
        let line = Arc::clone(self);
        let task = tokio::spawn(async move {
            let made = line.end.connect(&line.config).await;
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

    /// Forgets the connection of this runtime, if it is still that one.
    pub(super) fn discard(&self, generation: u64) {
        if let Some(slot) = self.lock().get_mut(&Handle::current().id())
            && slot.generation == generation
        {
            (slot.generation, slot.connecting) = (generation + 1, None);
        }
    }

    /// How many runtimes have a connection.
    #[cfg(test)]
    pub(super) fn runtimes(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl End {
    async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, RedisError> {
        match self {
            Self::Server(client) => {
                client.get_multiplexed_async_connection_with_config(config).await
            }
            Self::Master { sentinels, name, certificates } => {
                let master = master(sentinels, name, certificates.as_ref(), config).await?;
                let client = client(master, certificates.clone())?;
                client.get_multiplexed_async_connection_with_config(config).await
            }
        }
    }
}

/// The server that the first sentinel to answer calls the master.
///
/// Sentinels are asked without a user: theirs are not those of the servers.
async fn master(
    sentinels: &[ConnectionInfo],
    name: &str,
    certificates: Option<&TlsCertificates>,
    config: &AsyncConnectionConfig,
) -> Result<ConnectionInfo, RedisError> {
    let mut failure = RedisError::from((redis::ErrorKind::Io, "no sentinel knows the master"));
    for sentinel in sentinels {
        let nobody = sentinel.clone().set_redis_settings(redis::RedisConnectionInfo::default());
        let asked = async {
            let client = client(nobody, certificates.cloned())?;
            let mut connection =
                client.get_multiplexed_async_connection_with_config(config).await?;
            let mut command = redis::cmd("SENTINEL");
            command.arg("get-master-addr-by-name").arg(name);
            command.query_async::<Option<(String, u16)>>(&mut connection).await
        };
        match asked.await {
            Ok(Some((host, port))) => return Ok(at(sentinel, &host, port)),
            Ok(None) => {}
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn client(
    info: ConnectionInfo,
    certificates: Option<TlsCertificates>,
) -> Result<Client, RedisError> {
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

/// Whether the server refuses to write because it is no master.
fn is_demoted(error: &RedisError) -> bool {
    let errors = error.clone().into_server_errors();
    errors.is_some_and(|errors| errors.iter().any(|(_, error)| error.code() == "READONLY"))
}
