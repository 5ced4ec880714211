//! Connecting to buckets: S3 and what speaks like it, Google Cloud Storage, Azure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, Error, ObjectStore, Result, RetryConfig};

/// How buckets are reached. What is not set comes from the environment, as with the tools of each
/// provider: `AWS_ACCESS_KEY_ID`, `AWS_REGION`, `GOOGLE_APPLICATION_CREDENTIALS`,
/// `AZURE_STORAGE_ACCOUNT_NAME` and so on.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketOptions {
    /// The address of an S3-compatible server, such as `https://minio.internal:9000`.
    pub endpoint: Option<String>,
    /// The region of the buckets.
    pub region: Option<String>,
    /// The key that signs requests to S3.
    pub access_key_id: Option<String>,
    /// The secret of that key.
    pub secret_access_key: Option<String>,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
    /// Put the bucket into the host's name instead of the path. Amazon wants it; most others do not.
    pub virtual_host: bool,
    /// Speak without encryption, to a server on one's own network.
    pub allow_http: bool,
    /// The file with the credentials of a Google service account.
    pub google_credentials: Option<String>,
    /// The address of a server that speaks like Google Cloud Storage.
    pub google_endpoint: Option<String>,
    /// The Azure storage account.
    pub azure_account: Option<String>,
    /// The key of that account.
    pub azure_key: Option<String>,
    /// The address of a server that speaks like Azure.
    pub azure_endpoint: Option<String>,
}

impl fmt::Debug for BucketOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketOptions")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("has_secret", &self.secret_access_key.is_some())
            .finish_non_exhaustive()
    }
}

/// Properties by which a REST catalog lends access to a table's files.
type Lent = BTreeMap<String, String>;

/// Makes the store of a bucket.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buckets {
    options: BucketOptions,
    /// What a catalog lent, by the key of what it is for: all that lies below.
    lent: Arc<Mutex<BTreeMap<String, Lent>>>,
}

impl Buckets {
    pub(crate) fn new(options: BucketOptions) -> Self {
        Self { options, lent: Arc::default() }
    }

    /// Takes credentials that a catalog lent for what lies below a key, and says whether they are
    /// new.
    pub(super) fn lend(&self, key: &Path, properties: Lent) -> bool {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        lent.insert(key.as_ref().to_owned(), properties.clone()) != Some(properties)
    }

    /// Forgets what was lent for keys at or below a table's, but for those that are lent now, and says
    /// which these were.
    pub(super) fn take_back(&self, table: &Path, now: &[Path]) -> Vec<String> {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_below = |key: &str| {
            let rest = key.strip_prefix(table.as_ref());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_gone = |key: &String| is_below(key) && now.iter().all(|now| now.as_ref() != key);
        let gone: Vec<String> = lent.keys().filter(|key| is_gone(key)).cloned().collect();
        gone.iter().for_each(|key| drop(lent.remove(key)));
        gone
    }

    /// The narrowest of the keys that credentials were lent for and that this one lies below.
    pub(super) fn lent_for(&self, key: &Path) -> Option<String> {
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut above = key.as_ref();
        while !lent.contains_key(above) {
            (above, _) = above.rsplit_once('/')?;
        }
        Some(above.to_owned())
    }

    /// Connects to the bucket of `scheme/bucket`, with the credentials that were lent for a key.
    pub(super) fn connect(&self, head: &str, lent_for: &str) -> Result<Arc<dyn ObjectStore>> {
        let lent = {
            let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
            lent.get(lent_for).cloned().unwrap_or_default()
        };
        match head.split_once('/') {
            Some(("s3", bucket)) => self.s3(bucket, &lent),
            Some(("gs", bucket)) => self.gs(bucket),
            Some(("az", container)) => self.azure(container),
            _ => Err(Error::NotSupported { source: format!("`{head}` is no bucket").into() }),
        }
    }

    fn s3(&self, bucket: &str, lent: &Lent) -> Result<Arc<dyn ObjectStore>> {
        let set = |value: &Option<String>, name: &str| lent.get(name).or(value.as_ref()).cloned();
        let options = &self.options;
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_virtual_hosted_style_request(options.virtual_host)
            .with_client_options(self.client())
            .with_retry(retry());
        if let Some(region) =
            lent.get("client.region").or(lent.get("s3.region")).or(options.region.as_ref())
        {
            builder = builder.with_region(region);
        }
        if let Some(id) = set(&options.access_key_id, "s3.access-key-id") {
            builder = builder.with_access_key_id(id);
        }
        if let Some(secret) = set(&options.secret_access_key, "s3.secret-access-key") {
            builder = builder.with_secret_access_key(secret);
        }
        if let Some(token) = set(&options.session_token, "s3.session-token") {
            builder = builder.with_token(token);
        }
        // Only the operator says which host gets requests: one that a catalog names is not asked.
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(Arc::new(builder.build()?))
    }

    fn gs(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
        let mut builder = GoogleCloudStorageBuilder::from_env()
            .with_bucket_name(bucket)
            .with_client_options(self.client())
            .with_retry(retry());
        if let Some(path) = &self.options.google_credentials {
            builder = builder.with_service_account_path(path);
        }
        if let Some(endpoint) = &self.options.google_endpoint {
            builder = builder.with_base_url(endpoint);
        }
        Ok(Arc::new(builder.build()?))
    }

    /// `container`, or `container@account.dfs.core.windows.net` as in `abfss://` URLs.
    fn azure(&self, container: &str) -> Result<Arc<dyn ObjectStore>> {
        let (container, host) = match container.split_once('@') {
            Some((container, host)) => (container, Some(host)),
            None => (container, None),
        };
        let mut builder = MicrosoftAzureBuilder::from_env()
            .with_container_name(container)
            .with_client_options(self.client())
            .with_retry(retry());
        let account = host.and_then(|host| host.split('.').next()).map(str::to_owned);
        if let Some(account) = account.or(self.options.azure_account.clone()) {
            builder = builder.with_account(account);
        }
        if let Some(key) = &self.options.azure_key {
            builder = builder.with_access_key(key);
        }
        if let Some(endpoint) = &self.options.azure_endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        Ok(Arc::new(builder.build()?))
    }

    fn client(&self) -> ClientOptions {
        ClientOptions::new()
            .with_allow_http(self.options.allow_http)
            .with_connect_timeout(Duration::from_secs(5))
            .with_timeout(Duration::from_secs(120))
    }
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 8,
        retry_timeout: Duration::from_secs(60),
    }
}
