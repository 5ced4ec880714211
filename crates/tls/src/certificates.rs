//! From files to what a handshake needs, again whenever the files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use icecore_core::{Error, Result};
use tokio::time::Instant;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tracing::{info, warn};

use crate::{Protocol, TlsOptions};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The configuration of handshakes, as the files are now.
#[derive(Debug)]
pub(crate) struct Certificates {
    options: TlsOptions,
    protocol: Protocol,
    current: Arc<ServerConfig>,
    stamps: Vec<Option<SystemTime>>,
    looked_at: Instant,
}

impl Certificates {
    pub(crate) fn load(options: TlsOptions, protocol: Protocol) -> Result<Self> {
        let stamps = stamps(&options);
        let current = Arc::new(config(&options, protocol)?);
        Ok(Self { options, protocol, current, stamps, looked_at: Instant::now() })
    }

    /// The configuration for the next handshake. Files that were changed and cannot be used, such
    /// as those that are being written, are left for the next look.
    pub(crate) fn current(&mut self, now: Instant) -> Arc<ServerConfig> {
        if now.duration_since(self.looked_at) >= LOOK_EVERY {
            self.looked_at = now;
            let stamps = stamps(&self.options);
            if stamps != self.stamps {
                match config(&self.options, self.protocol) {
                    Ok(config) => {
                        info!(certificate = %self.options.certificate.display(), "renewed");
                        self.current = Arc::new(config);
                        self.stamps = stamps;
                    }
                    Err(error) => warn!(%error, "going on with the certificate from before"),
                }
            }
        }
        Arc::clone(&self.current)
    }
}

/// When each file was changed.
fn stamps(options: &TlsOptions) -> Vec<Option<SystemTime>> {
    let changed = |path: &PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
    options.files().map(changed).collect()
}

fn config(options: &TlsOptions, protocol: Protocol) -> Result<ServerConfig> {
    // Named, because two providers in one process would make the default one a matter of luck.
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("TLS has no versions").with_source(error))?;
    let builder = match &options.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let unfit = |error: &dyn std::fmt::Display| unfit("authorities", path, error);
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).map_err(|error| unfit(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| unfit(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(&options.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&options.key)
        .map_err(|error| unreadable("a private key", &options.key, &error))?;
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => Error::invalid(format!(
            "the key in `{}` is not that of the certificate in `{}`",
            options.key.display(),
            options.certificate.display()
        )),
        error => unfit("certificate", &options.certificate, &error),
    })?;
    config.alpn_protocols = vec![protocol.name().to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = |error: &pem::Error| unreadable("certificates", path, error);
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| read(&error))?.collect();
    let all = all.map_err(|error| read(&error))?;
    if all.is_empty() {
        return Err(read(&pem::Error::NoItemsFound));
    }
    Ok(all)
}

fn unreadable(what: &str, path: &Path, error: &pem::Error) -> Error {
    let error = match error {
        pem::Error::NoItemsFound => "the file has none".to_owned(),
        pem::Error::Io(error) => error.to_string(),
        // The library shows what it read, and in a file of keys that is nobody's business.
        _ => "the file is no PEM".to_owned(),
    };
    Error::invalid(format!("cannot read {what} from `{}`: {error}", path.display()))
        .with_help("files of `[serve.tls]` are PEM: `-----BEGIN CERTIFICATE-----` and the like")
}

fn unfit(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("the {what} in `{}` cannot be used: {error}", path.display()))
}
