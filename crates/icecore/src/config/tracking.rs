//! Where runs and models are recorded.

use std::path::{Path, PathBuf};

use icecore_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::CatalogConfig;

/// Where runs and models are recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackingConfig {
    /// `catalog`: in the database of a SQLite catalog, or in `.icecore/tracking.db` beside any other
    /// catalog. Or `sqlite:PATH`, the path relative to the project.
    pub uri: String,
    /// Where the files of runs are: a directory, relative to the project.
    pub artifacts: String,
}

impl Default for TrackingConfig {
    fn default() -> Self {
        Self { uri: "catalog".to_owned(), artifacts: ".icecore/artifacts".to_owned() }
    }
}

impl TrackingConfig {
    /// The file of the database of runs and models of the project in `dir`.
    ///
    /// # Errors
    ///
    /// `Unsupported` for any other address.
    pub(crate) fn database(&self, dir: &Path, catalog: &CatalogConfig) -> Result<PathBuf> {
        if self.uri == "catalog" {
            let own = || dir.join(".icecore").join("tracking.db");
            return Ok(catalog.database(dir).unwrap_or_else(own));
        }
        let path = self.uri.strip_prefix("sqlite:").ok_or_else(|| {
            Error::unsupported(format!(
                "`tracking.uri` is `{}`: runs and models are recorded in SQLite files only",
                redacted(&self.uri)
            ))
            .with_help("write `catalog` (the default) or `sqlite:PATH`")
        })?;
        Ok(dir.join(path.strip_prefix("//").unwrap_or(path)))
    }

    /// The directory of the files of runs.
    ///
    /// # Errors
    ///
    /// `Unsupported` for an address of another kind, which would become a directory of that name.
    pub(crate) fn artifacts(&self, dir: &Path) -> Result<PathBuf> {
        let path = self.artifacts.strip_prefix("file://").unwrap_or(&self.artifacts);
        if has_scheme(path) {
            return Err(Error::unsupported(format!(
                "`tracking.artifacts` is `{}`: the files of runs are kept in a directory only",
                redacted(path)
            ))
            .with_help("name a directory, for example one on a disk that is shared"));
        }
        Ok(dir.join(path))
    }
}

/// Whether a text begins as an address does: `s3://bucket`, `s3:/bucket`. One letter and a colon
/// name a drive.
fn has_scheme(text: &str) -> bool {
    text.split_once(":/").is_some_and(|(scheme, _)| {
        scheme.len() > 1
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// A URI without what stands between `//` and `@`.
fn redacted(uri: &str) -> String {
    match (uri.find("//"), uri.rfind('@')) {
        (Some(slashes), Some(at)) if slashes + 2 < at => {
            format!("{}***{}", &uri[..slashes + 2], &uri[at..])
        }
        _ => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(uri: &str, artifacts: &str) -> TrackingConfig {
        TrackingConfig { uri: uri.to_owned(), artifacts: artifacts.to_owned() }
    }

    #[test]
    fn an_address_of_a_bucket_is_no_directory() {
        let dir = Path::new("/p");
        for refused in ["s3://bucket/x", "s3:/bucket/x", "gs://b", "https://me:pw@host/x"] {
            let error = config("catalog", refused).artifacts(dir).unwrap_err();
            assert!(error.to_string().contains("tracking.artifacts"), "{error}");
            assert!(!error.to_string().contains("me:pw"), "{error}");
        }
        let relative = |artifacts| config("catalog", artifacts).artifacts(dir).unwrap();
        assert_eq!(relative(".icecore/artifacts"), Path::new("/p/.icecore/artifacts"));
        assert_eq!(relative("file:///mnt/runs"), Path::new("/mnt/runs"));
        assert_eq!(relative("runs/a:b"), Path::new("/p/runs/a:b"));
    }

    #[test]
    fn another_database_of_runs_is_refused_by_the_name_of_its_setting() {
        let (dir, mut catalog) = (Path::new("/p"), CatalogConfig::default());
        let error = config("http://me:pw@host", "a").database(dir, &catalog).unwrap_err();
        assert!(error.to_string().contains("`tracking.uri` is `http://***@host`"), "{error}");
        let of =
            |uri: &str, catalog: &CatalogConfig| config(uri, "a").database(dir, catalog).unwrap();
        assert_eq!(of("sqlite:runs.db", &catalog), Path::new("/p/runs.db"));
        assert_eq!(of("catalog", &catalog), Path::new("/p/.icecore/catalog.db"));
        catalog.uri = "postgres://host/lake".to_owned();
        assert_eq!(of("catalog", &catalog), Path::new("/p/.icecore/tracking.db"));
    }
}
