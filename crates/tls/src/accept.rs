//! Accepting connections, with TLS or without.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::warn;

/// How long to wait where the process has no file descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// The next connection of a socket. A connection that failed before it was accepted is passed over;
/// where the system can give none, that is said, and tried again a moment later.
///
/// Cancelling loses no connection.
pub async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept connections");
                sleep(EXHAUSTED).await;
            }
        }
    }
}

/// Whether an error is over with the connection that had it.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
