//! The way to the collector.

use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use tokio::runtime::Handle;

/// How long a batch may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The workspace's HTTP client, for an exporter whose thread has no runtime of its own.
#[derive(Debug)]
pub(crate) struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

impl Client {
    pub(crate) fn new(runtime: Handle) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(DEADLINE)
            // What a collector is sent stays with it.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, runtime })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let request = reqwest::Request::try_from(request)?;
            let mut response = client.execute(request).await?;
            let mut parts = Response::builder().status(response.status());
            if let Some(headers) = parts.headers_mut() {
                *headers = std::mem::take(response.headers_mut());
            }
            // An answer says which spans were refused, and that is all.
            Ok::<_, reqwest::Error>((parts, response.bytes().await?))
        });
        let (parts, body) = sent.await??;
        Ok(parts.body(body)?)
    }
}
