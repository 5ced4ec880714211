//! Where a template writes to: so much and no more.

use std::io;

use icecore_core::{Error, ErrorKind, Result};

/// Bytes up to a limit.
#[derive(Debug)]
pub(super) struct Sink {
    bytes: Vec<u8>,
    limit: usize,
}

impl Sink {
    pub(super) const fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }

    pub(super) fn into_text(self) -> Result<String> {
        String::from_utf8(self.bytes)
            .map_err(|error| Error::internal("a template wrote what is no text").with_source(error))
    }
}

impl io::Write for Sink {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > self.limit {
            let error = Error::new(ErrorKind::LimitExceeded, "the template writes too much")
                .with_note(format!("it may write {} bytes", self.limit));
            return Err(io::Error::other(error));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
