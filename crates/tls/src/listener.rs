//! Connections that have shaken hands.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use icecore_core::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use crate::accept;
use crate::certificates::Certificates;
use crate::{Protocol, TlsOptions};

/// How long a handshake may take.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Handshakes at once; more connections wait in the system's queue.
const HANDSHAKES_MAX: usize = 1024;

/// A connection inside TLS.
pub type Connection = TlsStream<TcpStream>;

type Shaken = Option<(Connection, SocketAddr)>;

/// Accepts connections and shakes hands with them.
#[derive(Debug)]
pub struct TlsListener {
    listener: TcpListener,
    certificates: Certificates,
    handshakes: JoinSet<Shaken>,
}

impl TlsListener {
    /// Over a socket.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for files that cannot be read, are no PEM, or do not belong together.
    pub fn new(listener: TcpListener, options: TlsOptions, protocol: Protocol) -> Result<Self> {
        let certificates = Certificates::load(options, protocol)?;
        Ok(Self { listener, certificates, handshakes: JoinSet::new() })
    }

    /// The next connection that has shaken hands. Connections that fail to are dropped.
    ///
    /// Cancelling loses no connection.
    pub async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(shaken)) = ended {
                        return shaken;
                    }
                }
                (stream, peer) = accept(&self.listener), if self.handshakes.len() < HANDSHAKES_MAX => {
                    self.shake(stream, peer);
                }
            }
        }
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// What the system says of a socket that is closed.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn shake(&mut self, stream: TcpStream, peer: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "cannot set TCP_NODELAY");
        }
        let acceptor = TlsAcceptor::from(self.certificates.current(Instant::now()));
        self.handshakes.spawn(async move {
            match timeout(HANDSHAKE_DEADLINE, acceptor.accept(stream)).await {
                Ok(Ok(connection)) => Some((connection, peer)),
                Ok(Err(error)) => {
                    debug!(%peer, %error, "no handshake");
                    None
                }
                Err(_) => {
                    debug!(%peer, "a handshake takes too long");
                    None
                }
            }
        });
    }
}

#[cfg(test)]
mod tests;
