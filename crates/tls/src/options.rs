//! Which certificates, and for which protocol.

use std::path::PathBuf;

use icecore_core::Result;

use crate::certificates::Certificates;

/// The files of a socket's certificates, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// The server's certificate, followed by those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC1.
    pub key: PathBuf,
    /// The authorities of clients' certificates. Absent: clients show none.
    pub client_ca: Option<PathBuf>,
}

impl TlsOptions {
    /// For clients without certificates.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into(), client_ca: None }
    }

    /// Only for clients with a certificate of these authorities (mutual TLS).
    #[must_use]
    pub fn with_client_ca(mut self, authorities: impl Into<PathBuf>) -> Self {
        self.client_ca = Some(authorities.into());
        self
    }

    /// Whether the files are there, and belong together.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for files that cannot be read, are no PEM, or do not belong together.
    pub fn check(&self) -> Result<()> {
        Certificates::load(self.clone(), Protocol::Http1).map(|_| ())
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca)
    }
}

/// What is spoken inside TLS; the handshake agrees on it (ALPN, RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which gRPC needs.
    Http2,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}
