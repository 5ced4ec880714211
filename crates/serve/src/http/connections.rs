//! How many connections there are at once, how long one may be silent, and how they end.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::{debug, warn};

use super::begun;
use super::entry::Entry;
use super::sending::Sending;
use crate::ServeOptions;

/// Room for connections.
#[derive(Debug, Clone)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    max: usize,
    /// Whether somebody was told that there is none.
    is_full: Arc<AtomicBool>,
    silence_max: Duration,
    stuck_max: Duration,
}

/// The place of a connection, given back when that is closed.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held")] Option<OwnedSemaphorePermit>);

impl Room {
    pub(super) fn new(options: &ServeOptions) -> Self {
        let max = options.connections_max.min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(max)),
            max,
            is_full: Arc::default(),
            silence_max: options.idle_timeout,
            stuck_max: options.send_timeout,
        }
    }

    /// A place for the connection that comes next. As long as there is none, connections wait in
    /// the system's queue.
    pub(super) async fn place(&self) -> Place {
        let places = Arc::clone(&self.places);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            self.is_full.store(false, Ordering::Relaxed);
            return Place(Some(place));
        }
        if !self.is_full.swap(true, Ordering::Relaxed) {
            warn!(max = self.max, "there are as many connections as may be: more have to wait");
        }
        Place(places.acquire_owned().await.ok())
    }

    pub(super) const fn silence(&self) -> Silence {
        Silence::new(self.silence_max)
    }

    /// A connection of a client that is left where it does not take what it is sent.
    pub(super) fn sending<S>(&self, stream: S) -> Sending<S> {
        Sending::new(stream, self.stuck_max)
    }
}

/// Ends a wait for a client that says nothing, or takes nothing, for too long. The timer is not set
/// again for each request: when it is over, it looks how long the client was silent.
#[derive(Debug)]
pub(super) struct Silence {
    max: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    pub(super) const fn new(max: Duration) -> Self {
        Self { max, timer: None }
    }

    /// Whether a client was silent for too long, of whom something was heard last at this moment.
    /// Wakes the task when that may be.
    pub(super) fn poll(&mut self, since: Instant, context: &mut Context<'_>) -> Poll<()> {
        let Some(end) = since.checked_add(self.max) else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

/// Connections that have come, with their places.
pub(super) trait Arrivals {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one. What is cancelled may be lost: nobody waits any more after a shutdown.
    fn next(&mut self) -> impl Future<Output = (Self::Stream, Place)> + Send;
}

/// Has the HTTP library answer the requests of all connections until `shutdown` is over, and then
/// those that are in flight.
pub(super) async fn answer_all(
    mut arrivals: impl Arrivals,
    entry: Entry,
    options: &ServeOptions,
    shutdown: impl Future<Output = ()>,
) {
    let (drain, draining) = watch::channel(false);
    let (open, mut left) = mpsc::channel::<()>(1);
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, place) = tokio::select! {
            arrived = arrivals.next() => arrived,
            () = &mut shutdown => break,
        };
        let (entry, mut draining, open) = (entry.clone(), draining.clone(), open.clone());
        let idle_timeout = options.idle_timeout;
        let stream = Sending::new(stream, options.send_timeout);
        tokio::spawn(async move {
            let mut library = http1::Builder::new();
            library.timer(TokioTimer::new()).header_read_timeout(idle_timeout);
            let stream = TokioIo::new(stream);
            let mut connection = pin!(library.serve_connection(stream, entry));
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = begun(&mut draining) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                debug!(%error, "a connection broke");
            }
            drop((open, place));
        });
    }
    drop((arrivals, open));
    let _ = drain.send(true);
    while left.recv().await.is_some() {}
}
