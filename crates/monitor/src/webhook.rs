//! Alerts to an address over HTTP.

use std::time::Duration;

use icecore_core::{Error, Result};
use serde_json::Value;

/// Nobody waits longer than this for a receiver of alerts.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends a document to a webhook. Redirects are not followed, and what the receiver answers is not
/// read beyond its status. The address may hold a secret, and is not in any message.
///
/// # Errors
///
/// `InvalidInput` for an address that is none of HTTP; `Unavailable` if the receiver does not
/// answer in ten seconds, or not with success.
pub async fn post(address: &str, document: &Value) -> Result<()> {
    let parsed = reqwest::Url::parse(address).ok();
    let parsed = parsed.filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = parsed
        .ok_or_else(|| Error::invalid("the webhook's address is none of `http` or `https`"))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let failed = |error: reqwest::Error| {
        // Without its address, which may hold a secret.
        Error::unavailable(format!("the webhook at `{host}` does not answer"))
            .with_source(error.without_url())
    };
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(failed)?;
    let answer = client.post(url).json(document).send().await.map_err(failed)?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(Error::unavailable(format!("the webhook at `{host}` answered {}", answer.status())))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn receiver(status: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/hook?secret=s3cret", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut part) = (Vec::new(), [0; 1024]);
            while !request.ends_with(b"}") {
                let read = stream.read(&mut part).unwrap();
                request.extend_from_slice(&part[..read]);
            }
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
            String::from_utf8(request).unwrap()
        });
        (address, served)
    }

    #[tokio::test]
    async fn a_webhook_gets_the_document_and_its_secret_stays_out_of_errors() {
        let document = serde_json::json!({"alerts": []});
        let (address, served) = receiver("204 No Content");
        post(&address, &document).await.unwrap();
        let request = served.join().unwrap();
        assert!(request.starts_with("POST /hook?secret=s3cret"), "{request}");
        assert!(request.ends_with("{\"alerts\":[]}"), "{request}");
        let (address, _) = receiver("302 Found\r\nlocation: http://127.0.0.1:1/");
        let error = post(&address, &document).await.unwrap_err();
        assert!(error.to_string().contains("302") && !format!("{error:?}").contains("s3cret"));
        let error = post("http://127.0.0.1:1/?token=s3cret", &document).await.unwrap_err();
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        assert!(post("file:///etc/passwd", &document).await.is_err());
    }
}
