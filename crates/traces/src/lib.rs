//! What icecore did for a request or a command, as OpenTelemetry traces.
//!
//! [`Traces::from_environment`] reads the variables that the OpenTelemetry specification names
//! (`OTEL_EXPORTER_OTLP_ENDPOINT` turns it on), and gives a layer for `tracing`'s subscribers: every
//! span of icecore becomes one of a trace and is sent to a collector over OTLP (HTTP, protobuf), in
//! batches and beside the work. Where the variables are absent there is nothing, and spans cost
//! nothing. A collector that does not answer keeps nobody waiting: spans beyond the queue are dropped.
//!
//! [`continue_trace`] makes a span part of the caller's trace, by its `traceparent` header (W3C
//! Trace Context).
//!
//! # Example
//!
//! ```no_run
//! use icecore_traces::Traces;
//! use tracing_subscriber::layer::SubscriberExt;
//! use tracing_subscriber::util::SubscriberInitExt;
//!
//! # fn main() -> icecore_core::Result<()> {
//! let runtime = tokio::runtime::Runtime::new().unwrap();
//! let traces = Traces::from_environment(runtime.handle())?;
//! tracing_subscriber::registry().with(traces.as_ref().map(Traces::layer)).init();
//! runtime.block_on(async { /* serve */ });
//! if let Some(traces) = traces {
//!     traces.shutdown();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Stability
//!
//! Names of spans may change; attributes follow OpenTelemetry's semantic conventions.

mod client;
mod parent;
mod provider;

pub use parent::continue_trace;
pub use provider::Traces;
