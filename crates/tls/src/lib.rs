//! TLS for the sockets that icecore listens on.
//!
//! A [`TlsListener`] accepts connections of a TCP listener and hands them on once they have shaken
//! hands: TLS 1.2 and 1.3, with a certificate from files, and, where [`TlsOptions::client_ca`] is
//! set, only for clients that show a certificate of that authority. Certificates that are renewed on
//! disk are taken up without a restart. Slow handshakes keep nobody waiting: they happen beside each
//! other, and each has a deadline.
//!
//! # Example
//!
//! ```no_run
//! use icecore_tls::{Protocol, TlsListener, TlsOptions};
//!
//! # async fn listen() -> icecore_core::Result<()> {
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:8443").await.unwrap();
//! let files = TlsOptions::new("server.pem", "server.key");
//! let mut listener = TlsListener::new(listener, files, Protocol::Http1)?;
//! let (connection, peer) = listener.accept().await;
//! println!("{peer} speaks {:?}", connection.get_ref().1.protocol_version());
//! # Ok(())
//! # }
//! ```
//!
//! # Stability
//!
//! A connection is a stream of `tokio-rustls`, whose version may change with any version of icecore.

mod accept;
mod certificates;
mod listener;
mod options;

pub use accept::accept;
pub use listener::{Connection, TlsListener};
pub use options::{Protocol, TlsOptions};
