//! What stands before the HTTP library: requests that are answered in microseconds.
//!
//! For a score that is in memory, the HTTP library costs as much as all the rest. So a connection
//! begins here. A request for a score that has come whole is answered here, by the same code as
//! everywhere; the first one that is anything else takes the connection, with every byte of it, to
//! the library for good. No request with a body is read here, so where one ends and the next begins
//! is never in doubt. While a score that is not in memory is looked for, the other connections of
//! the thread go on.

mod memory;
mod parse;
mod rewound;
mod threads;
mod write;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::http::Method;
use axum::serve::Listener;
use icecore_core::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::warn;

use super::begun;
use super::entry::{score_span, scored};
use crate::ScoreService;
use memory::Desk;
use parse::{Room, next_score};
use rewound::Rewound;
use threads::{Arrival, Threads};
use write::{Dates, End, write};

/// Bytes that are read at once. A request that does not fit is not answered here.
const READ_BYTES: usize = 8 << 10;
/// Connections that wait to be taken over.
const QUEUE: usize = 1_024;

/// The connections that the library takes over.
#[derive(Debug)]
pub(super) struct Front {
    handed: mpsc::Receiver<Handed>,
    address: SocketAddr,
}

#[derive(Debug)]
struct Handed {
    /// What was read of it.
    before: Vec<u8>,
    stream: std::net::TcpStream,
    from: SocketAddr,
    on_its_way: OnItsWay,
}

/// Held as long as a connection is on this side.
type OnItsWay = mpsc::Sender<()>;

/// What connections begin with.
#[derive(Debug, Clone)]
struct Begin {
    service: Arc<ScoreService>,
    stopping: watch::Receiver<bool>,
    hand: mpsc::Sender<Handed>,
    on_its_way: OnItsWay,
}

impl Front {
    /// Takes connections, and a future that is over when, after a shutdown, none is left that was
    /// not closed or taken over.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the system gives no more threads.
    pub(super) fn start(
        service: Arc<ScoreService>,
        listener: TcpListener,
        address: SocketAddr,
        stopping: watch::Receiver<bool>,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        let (hand, handed) = mpsc::channel(QUEUE);
        let (on_its_way, mut left) = mpsc::channel(1);
        let begin = Begin { service, stopping, hand, on_its_way };
        let threads = Threads::start(&begin).map_err(|error| {
            Error::unavailable("cannot start threads for connections").with_source(error)
        })?;
        tokio::spawn(accept(listener, threads, begin));
        let over = async move { while left.recv().await.is_some() {} };
        Ok((Self { handed, address }, over))
    }
}

impl Listener for Front {
    type Io = Rewound;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Rewound, SocketAddr) {
        loop {
            let Some(handed) = self.handed.recv().await else {
                return std::future::pending().await;
            };
            match TcpStream::from_std(handed.stream) {
                Ok(stream) => {
                    let stream = Rewound::new(handed.before, stream, handed.on_its_way);
                    return (stream, handed.from);
                }
                Err(error) => warn!(%error, "cannot take a connection over"),
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn accept(mut listener: TcpListener, mut threads: Threads, begin: Begin) {
    let Begin { mut stopping, hand, on_its_way: _on_its_way, .. } = begin;
    loop {
        let (stream, from) = tokio::select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = begun(&mut stopping) => return,
            // The library is gone, and with it the service.
            () = hand.closed() => return,
        };
        // Answers are small, and waiting to fill a packet would cost more than all the rest.
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "cannot set TCP_NODELAY");
        }
        match stream.into_std() {
            Ok(stream) => threads.take((stream, from)),
            Err(error) => warn!(%error, "cannot take a connection"),
        }
    }
}

impl Begin {
    /// Converses, and hands the connection over when something comes that is not for here.
    async fn run(self, (stream, from): Arrival) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return warn!(%error, "cannot take a connection"),
        };
        if let Some((before, stream)) = self.converse(stream).await
            && let Ok(stream) = stream.into_std()
        {
            let handed = Handed { before, stream, from, on_its_way: self.on_its_way };
            let _ = self.hand.send(handed).await;
        }
    }

    /// Answers requests until one comes that is not for here: then what was read of it, and the
    /// connection.
    async fn converse(&self, mut stream: TcpStream) -> Option<(Vec<u8>, TcpStream)> {
        let (service, stopping) = (&self.service, &self.stopping);
        let mut ending = stopping.clone();
        let (mut ending, mut is_told) = (pin!(begun(&mut ending)), false);
        let (mut input, mut output) = (Vec::with_capacity(READ_BYTES), Vec::new());
        let (mut dates, mut desk) = (Dates::default(), Desk::default());
        loop {
            let read = poll_fn(|context| {
                if let Poll::Ready(read) = pin!(stream.read_buf(&mut input)).poll(context) {
                    return Poll::Ready(read.unwrap_or(0));
                }
                // It wakes this task, which is always the same, so it has to be told of it only
                // once.
                if is_told && !has_begun(stopping) {
                    return Poll::Pending;
                }
                is_told = true;
                ending.as_mut().poll(context).map(|()| 0)
            });
            if read.await == 0 {
                return None;
            }
            let mut rest = input.as_slice();
            while let Some(asked) = next_score(rest, &mut Room::new(), &service.routes) {
                let span = score_span(&Method::GET, asked.route);
                let mut is_last = asked.is_last || has_begun(stopping);
                let started = Instant::now();
                let end = End { date: dates.at(started, || service.now()), is_last };
                if !desk.answer(service, (&asked, &span, started), &mut output, end) {
                    let Some(head) = asked.head() else { break };
                    let reply = scored(service, &head, Some(span)).await;
                    is_last |= has_begun(stopping);
                    let date = dates.at(Instant::now(), || service.now());
                    write(&mut output, &reply, End { date, is_last });
                }
                rest = rest.get(asked.len..).unwrap_or_default();
                if is_last {
                    let _ = stream.write_all(&output).await;
                    return None;
                }
            }
            if !output.is_empty() {
                stream.write_all(&output).await.ok()?;
                output.clear();
            }
            if !rest.is_empty() {
                return Some((rest.to_vec(), stream));
            }
            input.clear();
        }
    }
}

/// Whether a shutdown has begun, of which this receiver was told nothing yet.
fn has_begun(stopping: &watch::Receiver<bool>) -> bool {
    stopping.has_changed().unwrap_or(true)
}

#[cfg(test)]
mod tests;
