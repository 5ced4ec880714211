//! How the files of tables are reached.

use icecore_catalog::StorageOptions;
use icecore_core::Result;
use serde::{Deserialize, Serialize};

use super::{Secret, size};

/// How the files of tables are reached. What is not set comes from the environment, as with the
/// tools of each provider: `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS`,
/// `AZURE_STORAGE_ACCOUNT_NAME` and so on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// The address of a server that speaks like S3.
    pub endpoint: Option<String>,
    /// The region of buckets.
    pub region: Option<String>,
    /// The key that signs requests to S3.
    pub access_key_id: Option<String>,
    /// The secret of that key.
    pub secret_access_key: Option<Secret>,
    /// The token of temporary credentials.
    pub session_token: Option<Secret>,
    /// Put the bucket into the host's name instead of the path.
    pub virtual_host: bool,
    /// Speak without encryption, on a network of one's own.
    pub allow_http: bool,
    /// The file with the credentials of a Google service account.
    pub google_credentials: Option<String>,
    /// The address of a server that speaks like Google Cloud Storage.
    pub google_endpoint: Option<String>,
    /// The Azure storage account.
    pub azure_account: Option<String>,
    /// The key of that account.
    pub azure_key: Option<Secret>,
    /// The address of a server that speaks like Azure.
    pub azure_endpoint: Option<String>,
    /// The largest metadata file that is opened, such as `64MiB`.
    pub metadata_limit: Option<String>,
    /// The largest manifest and manifest list.
    pub manifest_limit: Option<String>,
    /// What these may be inflated to.
    pub inflated_limit: Option<String>,
    /// The largest footer of a Parquet file.
    pub footer_limit: Option<String>,
}

impl StorageConfig {
    /// These settings for the catalog.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a size that has no form.
    pub(crate) fn options(&self) -> Result<StorageOptions> {
        let mut options = StorageOptions::default();
        let reveal = |secret: &Option<Secret>| secret.as_ref().map(|it| it.reveal().to_owned());
        let buckets = &mut options.buckets;
        buckets.endpoint.clone_from(&self.endpoint);
        buckets.region.clone_from(&self.region);
        buckets.access_key_id.clone_from(&self.access_key_id);
        buckets.secret_access_key = reveal(&self.secret_access_key);
        buckets.session_token = reveal(&self.session_token);
        buckets.virtual_host = self.virtual_host;
        buckets.allow_http = self.allow_http;
        buckets.google_credentials.clone_from(&self.google_credentials);
        buckets.google_endpoint.clone_from(&self.google_endpoint);
        buckets.azure_account.clone_from(&self.azure_account);
        buckets.azure_key = reveal(&self.azure_key);
        buckets.azure_endpoint.clone_from(&self.azure_endpoint);
        let limits = &mut options.limits;
        for (text, limit) in [
            (&self.metadata_limit, &mut limits.metadata_bytes),
            (&self.manifest_limit, &mut limits.manifest_bytes),
            (&self.inflated_limit, &mut limits.inflated_bytes),
            (&self.footer_limit, &mut limits.footer_bytes),
        ] {
            if let Some(text) = text {
                *limit = size(text)?;
            }
        }
        Ok(options)
    }
}
