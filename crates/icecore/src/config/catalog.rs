//! Where tables are.

use std::path::{Path, PathBuf};

use icecore_catalog::{CatalogAccess, CatalogOptions};
use icecore_core::Result;
use serde::{Deserialize, Serialize};

use super::{Secret, StorageConfig};

const WAREHOUSE_DEFAULT: &str = ".icecore/warehouse";

/// Where tables are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CatalogConfig {
    /// The catalog: `sqlite:PATH`, the path relative to the project; `postgres://USER@HOST/DATABASE`;
    /// or the `https://` address of a REST catalog.
    pub uri: String,
    /// The name that the catalog's rows carry; other readers must use the same.
    pub name: String,
    /// Where the files of tables are: a directory relative to the project, a URL such as
    /// `s3://bucket/warehouse`, or the name by which a REST catalog knows it.
    pub warehouse: String,
    /// The password of a database. `PGPASSWORD` works too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The bearer token that a REST catalog wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// `ID:SECRET`, with which a REST catalog gives out tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Secret>,
    /// What such a token is to be good for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Where such tokens are given out, if not at the catalog itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
}

impl Default for CatalogConfig {
    fn default() -> Self {
        Self {
            uri: "sqlite:.icecore/catalog.db".to_owned(),
            name: "icecore".to_owned(),
            warehouse: WAREHOUSE_DEFAULT.to_owned(),
            password: None,
            token: None,
            credential: None,
            scope: None,
            token_endpoint: None,
        }
    }
}

impl CatalogConfig {
    /// How to open the catalog of the project in `dir`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a size that has no form.
    pub(crate) fn options(&self, dir: &Path, storage: &StorageConfig) -> Result<CatalogOptions> {
        let uri = match self.database(dir) {
            Some(path) => format!("sqlite:{}", path.display()),
            None => self.uri.clone(),
        };
        let mut access = CatalogAccess::default();
        let reveal = |secret: &Option<Secret>| secret.as_ref().map(|it| it.reveal().to_owned());
        access.password = reveal(&self.password);
        access.token = reveal(&self.token);
        access.credential = reveal(&self.credential);
        access.scope.clone_from(&self.scope);
        access.token_endpoint.clone_from(&self.token_endpoint);
        Ok(CatalogOptions::new(uri, self.place(dir))
            .with_name(&self.name)
            .with_access(access)
            .with_storage(storage.options()?))
    }

    /// The file of an embedded catalog.
    pub(crate) fn database(&self, dir: &Path) -> Option<PathBuf> {
        let path = self.uri.strip_prefix("sqlite:")?;
        Some(dir.join(path.strip_prefix("//").unwrap_or(path)))
    }

    /// Where the files of tables are.
    fn place(&self, dir: &Path) -> String {
        let is_rest = self.uri.starts_with("http:") || self.uri.starts_with("https:");
        if is_rest && self.warehouse == WAREHOUSE_DEFAULT {
            // The server has one.
            return String::new();
        }
        match self.warehouse.strip_prefix("file://") {
            Some(path) => dir.join(path).display().to_string(),
            None if is_rest || self.warehouse.contains("://") => self.warehouse.clone(),
            None => dir.join(&self.warehouse).display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(uri: &str, warehouse: &str) -> (String, String) {
        let config = CatalogConfig {
            uri: uri.to_owned(),
            warehouse: warehouse.to_owned(),
            ..CatalogConfig::default()
        };
        let options = config.options(Path::new("/p"), &StorageConfig::default()).unwrap();
        (options.uri, options.warehouse)
    }

    #[test]
    fn paths_are_those_of_the_project_and_addresses_stay_as_they_are() {
        let default = WAREHOUSE_DEFAULT;
        for (uri, warehouse, expected) in [
            ("sqlite:c.db", default, ("sqlite:/p/c.db", "/p/.icecore/warehouse")),
            ("sqlite:///c.db", "file:///wh", ("sqlite:/c.db", "/wh")),
            ("postgres://h/d", "s3://lake/wh", ("postgres://h/d", "s3://lake/wh")),
            ("https://h/c", default, ("https://h/c", "")),
            ("https://h/c", "prod", ("https://h/c", "prod")),
            ("https://h/c", "file://wh", ("https://h/c", "/p/wh")),
        ] {
            let (uri, warehouse) = opened(uri, warehouse);
            assert_eq!((uri.as_str(), warehouse.as_str()), expected);
        }
    }
}
