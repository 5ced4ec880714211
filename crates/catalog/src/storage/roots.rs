//! Where the files of a table may be.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use iceberg::spec::TableMetadata;
use icecore_core::{Error, ErrorKind, Result};
use object_store::path::Path;

use super::durable::blocking;
use super::location::{LOCAL, file_path, key_of, location_of, split};

/// Properties that say where files go.
const PATH_PROPERTIES: [&str; 3] =
    ["write.data.path", "write.metadata.path", "write.folder-storage.path"];

/// The places that files may be in; everything else is refused, whatever metadata says.
#[derive(Debug, Default)]
pub(crate) struct Roots {
    keys: Mutex<BTreeSet<Path>>,
}

impl Roots {
    /// One place.
    ///
    /// # Errors
    ///
    /// `Denied` for a place that is no directory of files.
    pub(crate) fn at(location: &str) -> Result<Self> {
        let roots = Self::default();
        roots.add(location)?;
        Ok(roots)
    }

    /// These, and where a table's own metadata says that its files are.
    ///
    /// # Errors
    ///
    /// `Denied` if it names the root of the file system, a path that climbs, or no path at all.
    pub(crate) fn of(&self, metadata: &TableMetadata, metadata_location: &str) -> Result<Self> {
        let roots = Self { keys: Mutex::new(self.all()) };
        roots.add(metadata.location())?;
        for property in PATH_PROPERTIES {
            if let Some(path) = metadata.properties().get(property) {
                roots.add(path)?;
            }
        }
        // A table that was moved by its letters keeps its metadata where the catalog points.
        if let Some((table, _)) = metadata_location.rsplit_once("/metadata/") {
            roots.add(table)?;
        }
        Ok(roots)
    }

    /// Adds a place.
    ///
    /// # Errors
    ///
    /// As [`Self::at`].
    pub(crate) fn add(&self, location: &str) -> Result<()> {
        let key = key_of(location)?;
        match split(&key) {
            Some((LOCAL, "")) | None => Err(Error::new(
                ErrorKind::Denied,
                format!("`{location}` is too wide a place for a table's files"),
            )),
            Some(_) => {
                self.lock().insert(key);
                Ok(())
            }
        }
    }

    /// Adds the places of others.
    pub(crate) fn extend(&self, other: &Self) {
        let more = other.all();
        self.lock().extend(more);
    }

    fn all(&self) -> BTreeSet<Path> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<Path>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a file, which must be below one of the roots.
    ///
    /// # Errors
    ///
    /// `Denied` naming the file and the roots.
    pub(crate) fn key(&self, location: &str) -> Result<Path> {
        let key = key_of(location)?;
        self.check(&key)?;
        Ok(key)
    }

    /// Fails for a key that is below none of the roots.
    pub(crate) fn check(&self, key: &Path) -> Result<()> {
        let keys = self.lock();
        if keys.iter().any(|root| key.prefix_matches(root)) {
            return Ok(());
        }
        Err(outside(&location_of(key), keys.iter()))
    }

    /// Fails for a local file that a symbolic link leads out of the roots.
    pub(crate) async fn check_links(&self, key: &Path) -> Result<()> {
        if !matches!(split(key), Some((LOCAL, _))) {
            return Ok(());
        }
        let path = file_path(key);
        let roots: Vec<Path> = self.all().into_iter().collect();
        let inside = {
            let (path, roots) = (path.clone(), roots.clone());
            move || is_inside(path, &roots)
        };
        if blocking(inside, || format!("cannot look for `{}`", path.display())).await? {
            return Ok(());
        }
        Err(outside(&location_of(key), roots.iter()).with_note("a symbolic link leads out of them"))
    }
}

/// Whether the nearest thing that exists on the way to a path is, links followed, below a root.
fn is_inside(mut path: PathBuf, roots: &[Path]) -> io::Result<bool> {
    let local = |root: &&Path| matches!(split(root), Some((LOCAL, _)));
    let lexical: Vec<PathBuf> = roots.iter().filter(local).map(file_path).collect();
    let real = loop {
        match path.canonicalize() {
            Ok(real) => break real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A link to nothing would be followed by what is created in its place.
                if path.is_symlink() {
                    return Ok(false);
                }
                if lexical.contains(&path) || !path.pop() {
                    return Ok(true);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(true),
            Err(error) => return Err(error),
        }
    };
    Ok(lexical.iter().any(|root| {
        let root = root.canonicalize().unwrap_or_else(|_| root.clone());
        real.starts_with(root)
    }))
}

fn outside<'a>(location: &str, roots: impl Iterator<Item = &'a Path>) -> Error {
    let roots: Vec<String> = roots.map(|root| format!("`{}`", location_of(root))).collect();
    Error::new(ErrorKind::Denied, format!("`{location}` is outside of the table's files"))
        .with_note(format!("they are below {}", roots.join(", ")))
}
