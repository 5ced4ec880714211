//! Listening for clients.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use icecore_core::{Error, ErrorKind, Result};
use icecore_tls::{Protocol, TlsListener, TlsOptions};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use crate::auth::Bearer;
use crate::encrypted::encrypted;
use crate::service::Service;
use crate::source::FlightSource;

/// Who may ask, and for how much at once.
#[derive(Clone)]
#[non_exhaustive]
pub struct FlightOptions {
    /// The bearer token that requests carry; addresses other than loopback need one.
    pub token: Option<String>,
    /// The certificates of the socket; without, connections are not encrypted.
    pub tls: Option<TlsOptions>,
    /// The requests of one connection that are worked on at once.
    pub requests_max: usize,
    /// The bytes of a message that a client may send.
    pub message_bytes_max: usize,
}

impl Default for FlightOptions {
    fn default() -> Self {
        Self { token: None, tls: None, requests_max: 16, message_bytes_max: 16 << 20 }
    }
}

impl FlightOptions {
    /// Whether an address may be listened on: others reach it only with a token, or with a
    /// certificate of their own.
    ///
    /// # Errors
    ///
    /// `Denied` for an address other than loopback where neither is asked for.
    pub fn check_address(&self, address: SocketAddr) -> Result<()> {
        let asks_for_certificates = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if address.ip().to_canonical().is_loopback()
            || self.token.is_some()
            || asks_for_certificates
        {
            return Ok(());
        }
        let message = format!("`{address}` can be reached by others, and there is no token");
        Err(Error::new(ErrorKind::Denied, message)
            .with_help("set `serve.token` in icecore.toml, or listen on 127.0.0.1"))
    }

    /// Asks for this token.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Encrypts connections.
    #[must_use]
    pub fn with_tls(mut self, tls: TlsOptions) -> Self {
        self.tls = Some(tls);
        self
    }
}

impl fmt::Debug for FlightOptions {
    /// Does not show the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightOptions")
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("tls", &self.tls)
            .field("requests_max", &self.requests_max)
            .finish_non_exhaustive()
    }
}

/// Answers clients until `shutdown` ends, and then those that are still being answered.
///
/// # Errors
///
/// `Denied` for an address that [may not be listened on](FlightOptions::check_address);
/// `InvalidInput` for certificates that cannot be used; `Unavailable` if the listener fails.
pub async fn serve(
    source: Arc<dyn FlightSource>,
    listener: TcpListener,
    options: FlightOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let failed = |error| Error::unavailable("the listener failed").with_source(error);
    let address = listener.local_addr().map_err(failed)?;
    options.check_address(address)?;
    let service = FlightServiceServer::new(Service::new(source))
        .max_decoding_message_size(options.message_bytes_max);
    let service = InterceptedService::new(service, Bearer::new(options.token.as_deref()));
    let server = Server::builder()
        .concurrency_limit_per_connection(options.requests_max)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_service(service);
    let ended = match options.tls {
        Some(tls) => {
            let listener = TlsListener::new(listener, tls, Protocol::Http2)?;
            server.serve_with_incoming_shutdown(encrypted(listener), shutdown).await
        }
        None => {
            let incoming = TcpListenerStream::new(listener);
            server.serve_with_incoming_shutdown(incoming, shutdown).await
        }
    };
    ended.map_err(|error| Error::unavailable("the service stopped").with_source(error))
}
