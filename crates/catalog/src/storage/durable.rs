//! Writing a file so that it is either whole and lasting, or not there.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use icecore_core::{Error, Result};
use object_store::PutPayload;
use uuid::Uuid;

use crate::error::Context;

/// Runs blocking file calls where they hold up no async task.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
    message: impl FnOnce() -> String,
) -> Result<T> {
    match crate::blocking::blocking(work).await {
        Ok(result) => result.context(message),
        Err(error) => Err(error).context(message),
    }
}

/// Creates a directory and the ones above it, and makes them last.
pub(super) async fn create_directory(path: PathBuf) -> Result<()> {
    let shown = path.display().to_string();
    blocking(
        move || create_directory_blocking(&path),
        || format!("cannot create directory `{shown}`"),
    )
    .await
}

fn create_directory_blocking(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_directory_blocking(parent)?;
    }
    match fs::create_dir(path) {
        // Another writer was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
            return Ok(());
        }
        created => created?,
    }
    sync_directory(path.parent())
}

/// Makes the entries of a directory last.
fn sync_directory(path: Option<&Path>) -> io::Result<()> {
    match path {
        Some(path) => File::open(path)?.sync_all(),
        None => Ok(()),
    }
}

/// A file that is not yet visible under its name.
#[derive(Debug)]
struct Staged {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    published: bool,
}

impl Staged {
    fn create(target: PathBuf) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        create_directory_blocking(directory)?;
        let name = name.to_string_lossy();
        let temporary = directory.join(format!(".{name}.{}.tmp", Uuid::new_v4().simple()));
        let file = File::options().write(true).create_new(true).open(&temporary)?;
        Ok(Self { file, temporary, target, published: false })
    }

    fn publish(mut self, name: Name) -> io::Result<()> {
        self.file.sync_all()?;
        match name {
            Name::MayBeTaken => {
                fs::rename(&self.temporary, &self.target)?;
                self.published = true;
            }
            // Unlike a rename, a second link never takes the place of a file.
            Name::MustBeFree => match fs::hard_link(&self.temporary, &self.target) {
                Err(error) if has_no_links(&error) && !self.target.try_exists()? => {
                    fs::rename(&self.temporary, &self.target)?;
                    self.published = true;
                }
                linked => linked?,
            },
        }
        sync_directory(self.target.parent())
    }
}

/// Whether a file system has no links, as those of cameras and some networks.
fn has_no_links(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}

/// Whether a file may take the place of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    MayBeTaken,
    MustBeFree,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // Best effort: what remains after a crash has a name that nothing refers to.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// A file that is being written, piece by piece. Dropped before [`finish`](Self::finish), it
/// leaves nothing behind.
#[derive(Debug)]
pub(super) struct DurableFile {
    /// Absent after a failure and after the end. Pieces may be written side by side.
    staged: Option<Arc<Staged>>,
    written: u64,
}

impl DurableFile {
    pub(super) async fn create(target: PathBuf) -> Result<Self> {
        let shown = target.display().to_string();
        let staged =
            blocking(move || Staged::create(target), || format!("cannot create `{shown}`")).await?;
        Ok(Self { staged: Some(Arc::new(staged)), written: 0 })
    }

    /// Writes the next piece, which has its place from the moment of the call.
    pub(super) fn write(&mut self, piece: PutPayload) -> impl Future<Output = Result<()>> + use<> {
        let (staged, mut at) = (self.staged.clone(), self.written);
        self.written += piece.content_length() as u64;
        async move {
            let Some(staged) = staged else {
                return Err(Error::internal("a file was written to after its end"));
            };
            let shown = staged.target.display().to_string();
            let write = move || {
                piece.iter().try_for_each(|bytes| {
                    staged.file.write_all_at(bytes, at)?;
                    at += bytes.len() as u64;
                    Ok(())
                })
            };
            blocking(write, || format!("cannot write `{shown}`")).await
        }
    }

    /// Makes the file visible and lasting, once every piece is written.
    pub(super) async fn finish(&mut self, name: Name) -> io::Result<()> {
        let Some(staged) = self.staged.take().and_then(|staged| Arc::try_unwrap(staged).ok())
        else {
            return Err(io::Error::other("a file was finished twice, or while it was written"));
        };
        match crate::blocking::blocking(move || staged.publish(name)).await {
            Ok(published) => published,
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Forgets what was written.
    pub(super) fn abort(&mut self) {
        self.staged = None;
    }
}
