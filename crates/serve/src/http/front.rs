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
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::http::Method;
use icecore_core::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::warn;

use super::begun;
use super::connections::{Arrivals, Place, Room};
use super::entry::{score_span, scored};
use crate::ScoreService;
use memory::Desk;
use parse::{Headers, next_score};
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
}

#[derive(Debug)]
struct Handed {
    /// What was read of it.
    before: Vec<u8>,
    stream: std::net::TcpStream,
    place: Place,
    on_its_way: OnItsWay,
}

/// Held as long as a connection is on this side.
type OnItsWay = mpsc::Sender<()>;

/// What connections begin with.
#[derive(Debug, Clone)]
struct Begin {
    service: Arc<ScoreService>,
    room: Room,
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
        room: Room,
        stopping: watch::Receiver<bool>,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static)> {
        let (hand, handed) = mpsc::channel(QUEUE);
        let (on_its_way, mut left) = mpsc::channel(1);
        let begin = Begin { service, room, stopping, hand, on_its_way };
        let threads = Threads::start(&begin).map_err(|error| {
            Error::unavailable("cannot start threads for connections").with_source(error)
        })?;
        tokio::spawn(accept(listener, threads, begin));
        let over = async move { while left.recv().await.is_some() {} };
        Ok((Self { handed }, over))
    }
}

impl Arrivals for Front {
    type Stream = Rewound;

    async fn next(&mut self) -> (Rewound, Place) {
        loop {
            let Some(handed) = self.handed.recv().await else {
                return std::future::pending().await;
            };
            match TcpStream::from_std(handed.stream) {
                Ok(stream) => {
                    let stream = Rewound::new(handed.before, stream, handed.on_its_way);
                    return (stream, handed.place);
                }
                Err(error) => warn!(%error, "cannot take a connection over"),
            }
        }
    }
}

async fn accept(listener: TcpListener, mut threads: Threads, begin: Begin) {
    let Begin { mut stopping, room, hand, on_its_way: _on_its_way, .. } = begin;
    loop {
        let (stream, place) = tokio::select! {
            accepted = next_stream(&listener, &room) => accepted,
            () = begun(&mut stopping) => return,
            // The library is gone, and with it the service.
            () = hand.closed() => return,
        };
        // Answers are small, and waiting to fill a packet would cost more than all the rest.
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "cannot set TCP_NODELAY");
        }
        match stream.into_std() {
            Ok(stream) => threads.take((stream, place)),
            Err(error) => warn!(%error, "cannot take a connection"),
        }
    }
}

/// The next connection, once there is a place for it.
async fn next_stream(listener: &TcpListener, room: &Room) -> (TcpStream, Place) {
    let place = room.place().await;
    let (stream, _) = icecore_tls::accept(listener).await;
    (stream, place)
}

impl Begin {
    /// Converses, and hands the connection over when something comes that is not for here.
    async fn run(self, (stream, place): Arrival) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return warn!(%error, "cannot take a connection"),
        };
        if let Some((before, stream)) = self.converse(stream).await
            && let Ok(stream) = stream.into_std()
        {
            let handed = Handed { before, stream, place, on_its_way: self.on_its_way };
            let _ = self.hand.send(handed).await;
        }
    }

    /// Answers requests until one comes that is not for here: then what was read of it, and the
    /// connection.
    async fn converse(&self, stream: TcpStream) -> Option<(Vec<u8>, TcpStream)> {
        let mut stream = self.room.sending(stream);
        let (service, stopping) = (&self.service, &self.stopping);
        let mut ending = stopping.clone();
        let (mut ending, mut is_told) = (pin!(begun(&mut ending)), false);
        let (mut input, mut output) = (Vec::with_capacity(READ_BYTES), Vec::new());
        let (mut dates, mut desk) = (Dates::default(), Desk::default());
        let (mut silence, mut heard) = (self.room.silence(), Instant::now());
        loop {
            let read = poll_fn(|context| {
                if let Poll::Ready(read) = pin!(stream.read_buf(&mut input)).poll(context) {
                    return Poll::Ready(read.unwrap_or(0));
                }
                if silence.poll(heard, context).is_ready() {
                    return Poll::Ready(0);
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
            while let Some(asked) = next_score(rest, &mut Headers::new(), &service.routes) {
                let span = score_span(&Method::GET, asked.route);
                let mut is_last = asked.is_last || has_begun(stopping);
                let started = Instant::now();
                heard = started;
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
                return Some((rest.to_vec(), stream.into_inner()));
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
