//! The threads on which connections begin.
//!
//! Each has a runtime of its own, with its own connections to clients and to the cache: an answer
//! from either takes less time than to hand a task to another thread, or to wake one that looks for
//! tasks.

use std::io;
use std::net::TcpStream;
use std::thread::{self, available_parallelism};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use super::super::connections::Place;
use super::Begin;

/// A connection that nothing was read of, and its place.
pub(super) type Arrival = (TcpStream, Place);

/// The threads, one for every other core: what the lakehouse is asked is worked on by the others.
#[derive(Debug)]
pub(super) struct Threads {
    arrivals: Vec<mpsc::UnboundedSender<Arrival>>,
    next: usize,
}

impl Threads {
    /// Starts them. They end when this is dropped and no connection is left here, or when the
    /// library is gone.
    pub(super) fn start(begin: &Begin) -> io::Result<Self> {
        let count = available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        let arrivals = (0..count).map(|number| start_one(begin.clone(), number));
        Ok(Self { arrivals: arrivals.collect::<io::Result<_>>()?, next: 0 })
    }

    /// Lets a connection begin on the next thread.
    pub(super) fn take(&mut self, arrival: Arrival) {
        self.next = (self.next + 1) % self.arrivals.len();
        // A thread that is gone went with the library, and the connection goes with it.
        let _ = self.arrivals[self.next].send(arrival);
    }
}

fn start_one(begin: Begin, number: usize) -> io::Result<mpsc::UnboundedSender<Arrival>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (arrivals, arrived) = mpsc::unbounded_channel();
    thread::Builder::new()
        .name(format!("connections-{number}"))
        .spawn(move || run(&runtime, arrived, begin))?;
    Ok(arrivals)
}

fn run(runtime: &Runtime, mut arrived: mpsc::UnboundedReceiver<Arrival>, begin: Begin) {
    runtime.block_on(async move {
        let hand = begin.hand.clone();
        let serve = async move {
            while let Some(arrival) = arrived.recv().await {
                tokio::spawn(begin.clone().run(arrival));
            }
        };
        tokio::select! {
            // What has begun goes on for as long as somebody could take it over.
            () = serve => hand.closed().await,
            () = hand.closed() => {}
        }
    });
}
