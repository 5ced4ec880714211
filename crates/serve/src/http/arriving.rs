//! Bodies of requests that come, or do not.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use hyper::body::{Body as Frames, Bytes, Frame, SizeHint};
use tokio::time::Instant;

use super::connections::Silence;

/// Whether somebody waits for more of a body, or has given it up.
#[derive(Debug, Clone, Default)]
pub(super) struct Awaited(Arc<AtomicBool>);

impl Awaited {
    /// Where a request has ended: whether it has for want of its body.
    pub(super) fn is_true(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, is_awaited: bool) {
        self.0.store(is_awaited, Ordering::Relaxed);
    }
}

/// A body that fails where nothing of it comes for too long.
#[derive(Debug)]
struct Arriving {
    body: Body,
    silence: Silence,
    /// When something of the request came last.
    heard: Instant,
    awaited: Awaited,
}

/// The request with a body for whose parts nobody waits longer than this, and whether it is waited
/// for.
pub(super) fn arriving(request: Request, silence_max: Duration) -> (Request, Awaited) {
    let awaited = Awaited::default();
    if request.body().is_end_stream() {
        return (request, awaited);
    }
    let request = request.map(|body| {
        let (silence, heard) = (Silence::new(silence_max), Instant::now());
        Body::new(Arriving { body, silence, heard, awaited: awaited.clone() })
    });
    (request, awaited)
}

impl Frames for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.awaited.set(frame.is_pending());
        if frame.is_ready() {
            self.heard = Instant::now();
            return frame;
        }
        let since = self.heard;
        let late = || axum::Error::new(io::Error::from(io::ErrorKind::TimedOut));
        self.silence.poll(since, context).map(|()| Some(Err(late())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
