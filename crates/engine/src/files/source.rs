//! A file read in blocks that end where a line or record ends.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use icecore_core::{Error, ErrorKind, Location, Result};

use super::cannot_read;

/// How much is read at once.
const CHUNK: usize = 1 << 20;
/// The longest line, or record over several lines.
pub(crate) const LINE_MAX: usize = 16 << 20;

/// Bytes of a file that are not parsed yet.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    is_ended: bool,
}

impl Source {
    /// Opens a text file and skips a byte order mark.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| cannot_read(path, error))?;
        let mut source = Self { path: path.to_owned(), file, bytes: Vec::new(), is_ended: false };
        source.more()?;
        match source.bytes.as_slice() {
            [0xEF, 0xBB, 0xBF, ..] => source.consume(3),
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
                return Err(Error::invalid(format!("`{}` is UTF-16", path.display()))
                    .at(source.location(1))
                    .with_help("save it as UTF-8"));
            }
            _ => {}
        }
        Ok(source)
    }

    /// What is there and not consumed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Whether the file has no bytes beyond [`bytes`](Self::bytes).
    pub(crate) const fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Reads on, at least doubling a block that was too short for one record.
    pub(crate) fn more(&mut self) -> Result<()> {
        let room = (LINE_MAX + 1).saturating_sub(self.bytes.len()).max(1);
        let wanted = CHUNK.max(self.bytes.len()).min(room) as u64;
        let mut limited = (&self.file).take(wanted);
        let read =
            limited.read_to_end(&mut self.bytes).map_err(|error| cannot_read(&self.path, error))?;
        self.is_ended = (read as u64) < wanted;
        Ok(())
    }

    /// Forgets the first bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
    }

    fn location(&self, line: usize) -> Location {
        Location { file: self.path.display().to_string(), line, column: 0 }
    }

    /// The error for a line that is longer than any line should be.
    pub(crate) fn too_long(&self, line: usize) -> Error {
        let message = format!("a line of `{}` is longer than 16 MiB", self.path.display());
        Error::new(ErrorKind::LimitExceeded, message).at(self.location(line))
    }
}
