//! Files: nothing half written is ever visible under its final name.
//!
//! Reads go through [`object_store`]; writes to the local file system go to a temporary name in the
//! same directory, are synced, renamed, and the directory is synced, so a file that is there is whole
//! and survives a power cut.

mod durable;
mod local;

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use iceberg::io::{FileIO, FileIOBuilder};
use icecore_core::{Error, Result};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

pub(crate) use local::LocalStorageFactory;

/// Where new tables are put.
#[derive(Debug, Clone)]
pub(crate) struct Warehouse {
    /// A `file://` URL without a slash at the end.
    url: String,
}

impl Warehouse {
    /// Takes a directory, absolute or relative to the working directory, or a `file://` URL, and
    /// creates it.
    pub(crate) async fn open(location: &str) -> Result<Self> {
        let path = match location.split_once("://") {
            Some(("file", path)) => PathBuf::from(path),
            Some((scheme, _)) => {
                return Err(Error::unsupported(format!(
                    "warehouse `{location}` is on `{scheme}`, which icecore does not write to"
                ))
                .with_help("give a directory or a `file://` URL"));
            }
            None => PathBuf::from(location),
        };
        let path = std::path::absolute(&path).map_err(|error| {
            Error::invalid(format!("warehouse `{location}` is not a directory")).with_source(error)
        })?;
        let path = without_dots(&path);
        let text = path.to_str().ok_or_else(|| {
            Error::invalid(format!("warehouse `{}` is not UTF-8", path.display()))
        })?;
        let url = format!("file://{}", text.trim_end_matches('/'));
        durable::create_directory(path).await?;
        Ok(Self { url })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Resolves `.` and `..` by their letters: metadata must not hold a path that can leave its root.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// The files of tables, as Iceberg reads and writes them.
pub(crate) fn file_io() -> FileIO {
    FileIOBuilder::new(Arc::new(LocalStorageFactory)).build()
}

/// The files of tables, as Arrow and DataFusion read them. Keys are absolute paths.
pub(crate) fn object_store() -> Arc<dyn ObjectStore> {
    Arc::new(LocalFileSystem::new())
}

/// The path of a file that metadata names: `file:///a`, `file:/a` or `/a`.
///
/// # Errors
///
/// `Unsupported` for another scheme, `DataCorrupt` for a path that is relative or climbs.
pub(crate) fn local_path(location: &str) -> Result<PathBuf> {
    let path = match location.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None if location.contains("://") => {
            return Err(Error::unsupported(format!(
                "file `{location}` is not on the local file system"
            )));
        }
        None => location,
    };
    let path = PathBuf::from(path);
    if path.is_absolute() && !path.components().any(|part| part == Component::ParentDir) {
        Ok(path)
    } else {
        Err(Error::corrupt(format!("`{location}` is not an absolute path of a file")))
    }
}

/// The key of a file in [`object_store`].
///
/// # Errors
///
/// As [`local_path`].
pub(crate) fn object_path(location: &str) -> Result<object_store::path::Path> {
    let path = local_path(location)?;
    object_store::path::Path::from_absolute_path(&path).map_err(|error| {
        Error::corrupt(format!("`{location}` cannot be read as an object")).with_source(error)
    })
}

#[cfg(test)]
mod tests;
