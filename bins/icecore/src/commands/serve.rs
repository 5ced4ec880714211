//! `icecore serve`.

use std::io::Write;
use std::net::SocketAddr;

use icecore_core::{Error, Result};
use serde_json::json;
use tokio::net::TcpListener;

use super::Context;
use crate::args::ServeArgs;
use crate::report::Answer;

pub(super) async fn run(context: &Context, args: ServeArgs) -> Result<Answer> {
    let project = context.open().await?;
    let address = args.listen.unwrap_or_else(|| project.config().serve.listen.clone());
    let service = project.service().await?;
    let (listener, local) = listening(&address).await?;
    // Nobody is told to come before it is known that they may.
    service.check_address(local)?;
    announce(&local.to_string());
    let has_no_view = project.definitions().is_ok_and(|definitions| definitions.views.is_empty());
    if has_no_view && project.definition_names("scoring").is_ok_and(|names| names.is_empty()) {
        let note = "note: scoring/ and features/ have no definition: only models are answered";
        let _ = writeln!(std::io::stderr(), "{note}");
    }
    icecore::serve::serve(service, listener, stopped()).await?;
    Ok(Answer::new(json!({ "stopped": local.to_string() }), String::new()))
}

/// Listens.
pub(super) async fn listening(address: &str) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        if error.kind() == std::io::ErrorKind::InvalidInput {
            return Error::invalid(format!("`{address}` is not an address"))
                .with_source(error)
                .with_help("write HOST:PORT, such as `127.0.0.1:8080`");
        }
        Error::unavailable(format!("cannot listen on `{address}`"))
            .with_source(error)
            .with_help("choose another address with `--listen`; port 0 picks a free one")
    })?;
    let local = listener
        .local_addr()
        .map_err(|error| Error::internal("the listener has no address").with_source(error))?;
    Ok((listener, local))
}

/// Tells whoever started the service where it listens: the first line on stdout, as JSON always,
/// since its reader is a program.
pub(super) fn announce(address: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{}", json!({ "listening": address }));
    let _ = stdout.flush();
}

/// Ends when the process is asked to: by Ctrl-C, or by whatever runs services.
pub(super) async fn stopped() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        if let Ok(mut terminate) = terminate {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = interrupt.await;
}
