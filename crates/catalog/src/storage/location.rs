//! Where a file is: the URL that metadata holds, and the key by which the object store knows it.
//!
//! A key begins with where the file is: `file/tmp/wh/t/data/1.parquet`, `s3/bucket/t/data/1.parquet`.
//! So one store holds every table, wherever its files are.

use std::path::{Component, Path as FilePath, PathBuf};

use icecore_core::{Error, ErrorKind, Result};
use object_store::path::Path;

/// The schemes that are another spelling of one.
const SPELLINGS: [(&str, &str); 13] = [
    ("file", "file"),
    ("memory", "memory"),
    ("s3", "s3"),
    ("s3a", "s3"),
    ("s3n", "s3"),
    ("gs", "gs"),
    ("gcs", "gs"),
    ("az", "az"),
    ("azure", "az"),
    ("abfs", "az"),
    ("abfss", "az"),
    ("wasb", "az"),
    ("wasbs", "az"),
];

/// The first part of a key.
pub(super) const LOCAL: &str = "file";

/// The key of a file in the [object store](crate::IcebergCatalog::object_store).
///
/// # Errors
///
/// `Denied` for a scheme that is none of a file system, and for a path that is relative or climbs.
pub(crate) fn key_of(location: &str) -> Result<Path> {
    let Some((scheme, rest)) = location.split_once("://") else {
        let path = location.strip_prefix("file:").unwrap_or(location);
        return local_key(location, path);
    };
    let known = SPELLINGS.iter().find(|(spelling, _)| spelling.eq_ignore_ascii_case(scheme));
    let Some((_, scheme)) = known else {
        return Err(denied(location).with_note(format!("`{scheme}` is no scheme of files")));
    };
    if *scheme == LOCAL {
        return local_key(location, rest);
    }
    let rest = rest.trim_end_matches('/');
    let rest = if *scheme == "memory" { rest.trim_start_matches('/') } else { rest };
    if rest.is_empty() || rest.starts_with('/') {
        return Err(denied(location).with_note("it names no bucket"));
    }
    Path::parse(format!("{scheme}/{rest}")).map_err(|error| denied(location).with_source(error))
}

/// The key of a location that is known to have one. Making it costs more than knowing that, and not
/// every file that is planned is opened.
#[derive(Debug, Clone)]
pub(crate) enum FileKey {
    /// What is after this many bytes of the location, below [`LOCAL`].
    Plain(usize),
    Made(Path),
}

impl FileKey {
    /// # Errors
    ///
    /// As [`key_of`].
    pub(crate) fn of(location: &str) -> Result<Self> {
        let path = location.strip_prefix("file://").filter(|path| is_plain(path));
        match path {
            Some(path) => Ok(Self::Plain(location.len() - path.len())),
            None => key_of(location).map(Self::Made),
        }
    }

    /// The key; `location` is the one that it is of.
    pub(crate) fn path(&self, location: &str) -> Path {
        match self {
            Self::Made(key) => key.clone(),
            Self::Plain(skipped) => {
                let path = location.get(*skipped..).unwrap_or(location);
                let key = format!("{LOCAL}{path}");
                Path::parse(&key).unwrap_or_else(|_| Path::from(key))
            }
        }
    }
}

fn local_key(location: &str, path: &str) -> Result<Path> {
    if is_plain(path)
        && let Ok(key) = Path::parse(format!("{LOCAL}{path}"))
    {
        return Ok(key);
    }
    let path = local_path_of(location, path)?;
    let plain = Path::from_absolute_path(&path);
    let plain = plain.map_err(|error| denied(location).with_source(error))?;
    if plain.as_ref().is_empty() {
        return Ok(Path::from(LOCAL));
    }
    Path::parse(format!("{LOCAL}/{plain}")).map_err(|error| denied(location).with_source(error))
}

/// Whether a path is its own key: absolute, and of nothing that is written otherwise in one. A plan
/// asks this of each of its files.
fn is_plain(path: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().any(|byte| byte != b'.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte))
    };
    path.strip_prefix('/').is_some_and(|path| path.split('/').all(plain))
}

/// The path of a file that metadata names: `file:///a`, `file:/a` or `/a`.
///
/// # Errors
///
/// `Unsupported` for another scheme, `Denied` for a path that is relative or climbs.
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
    local_path_of(location, path)
}

fn local_path_of(location: &str, path: &str) -> Result<PathBuf> {
    let path = PathBuf::from(path);
    if path.is_absolute() && !path.components().any(|part| part == Component::ParentDir) {
        Ok(path)
    } else {
        Err(denied(location).with_note("it is not the absolute path of a file"))
    }
}

/// The key of a file below `file/`, as the local store knows it, and of others as their bucket does.
pub(super) fn split(key: &Path) -> Option<(&str, &str)> {
    let text = key.as_ref();
    match text.split_once('/') {
        Some((LOCAL, rest)) => Some((LOCAL, rest)),
        Some((scheme, rest)) => {
            let bucket = rest.find('/').unwrap_or(rest.len());
            let head = scheme.len() + 1 + bucket;
            Some((&text[..head], text[head..].trim_start_matches('/')))
        }
        None if text == LOCAL => Some((LOCAL, "")),
        None => None,
    }
}

/// The URL of a key.
pub(crate) fn location_of(key: &Path) -> String {
    let text = key.as_ref();
    match text.split_once('/') {
        Some((LOCAL, _)) => format!("file://{}", file_path(key).display()),
        Some(("memory", rest)) => format!("memory:///{rest}"),
        Some((scheme, rest)) => format!("{scheme}://{rest}"),
        None => text.to_owned(),
    }
}

/// The path of a key below `file/`.
pub(super) fn file_path(key: &Path) -> PathBuf {
    PathBuf::from(key.as_ref().strip_prefix(LOCAL).filter(|path| !path.is_empty()).unwrap_or("/"))
}

/// Resolves `.` and `..` by their letters: metadata must not hold a path that can leave its root.
pub(super) fn without_dots(path: &FilePath) -> PathBuf {
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

fn denied(location: &str) -> Error {
    Error::new(ErrorKind::Denied, format!("`{location}` is no place for a table's files"))
}
