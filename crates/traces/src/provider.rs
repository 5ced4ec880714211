//! From the environment to a layer.

use std::env;

use icecore_core::{Error, Result};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::client::Client;

/// Either of them turns traces on.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Spans on their way to a collector.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// As the environment says: `OTEL_EXPORTER_OTLP_ENDPOINT` and `…_HEADERS`, `OTEL_SERVICE_NAME`,
    /// `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`; nothing where there is no
    /// endpoint, or `OTEL_SDK_DISABLED` is `true`, or `OTEL_TRACES_EXPORTER` is `none`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an endpoint that is no address.
    pub fn from_environment(runtime: &Handle) -> Result<Option<Self>> {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is = |name: &str, value: &str| {
            env::var(name).is_ok_and(|set| set.trim().eq_ignore_ascii_case(value))
        };
        if !ENDPOINTS.iter().any(|name| is_set(name))
            || is("OTEL_SDK_DISABLED", "true")
            || is("OTEL_TRACES_EXPORTER", "none")
        {
            return Ok(None);
        }
        let unfit = |error: &dyn std::fmt::Display| {
            Error::invalid(format!("traces cannot be sent: {error}"))
                .with_help("set OTEL_EXPORTER_OTLP_ENDPOINT to an address such as http://localhost:4318, or unset it")
        };
        let client = Client::new(runtime.clone()).map_err(|error| unfit(&error))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .build()
            .map_err(|error| unfit(&error))?;
        let mut resource = Resource::builder()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if !is_set("OTEL_SERVICE_NAME") {
            resource = resource.with_service_name("icecore");
        }
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Some(Self { provider }))
    }

    /// What takes the spans of icecore's own crates to the collector.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let tracer = self.provider.tracer("icecore");
        // The spans of libraries, the exporter's own among them, are not what anybody asked for.
        let own = Targets::new().with_target("icecore", Level::INFO);
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(own)
    }

    /// Sends what is left, for as long as that may take, and no more after it.
    pub fn shutdown(self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}
