//! What goes to stderr, and to a collector of traces.

use std::io::IsTerminal;

use icecore::traces::Traces;
use icecore_core::Result;
use tokio::runtime::Handle;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Begins to log; and to record traces, where the environment names a collector.
pub(crate) fn start(verbose: u8, runtime: &Handle) -> Result<Option<Traces>> {
    let level = match verbose {
        0 => "error",
        1 => "icecore=info,warn",
        2 => "icecore=debug,info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("ICECORE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(filter);
    let traces = Traces::from_environment(runtime)?;
    tracing_subscriber::registry().with(traces.as_ref().map(Traces::layer)).with(stderr).init();
    Ok(traces)
}
