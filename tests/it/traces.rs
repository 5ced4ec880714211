//! Traces, as a collector gets them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::binary::{command, demo};
use crate::service::Service;

/// Takes what is sent to `/v1/traces`; gives its address, and each span with its service's name.
fn collector() -> (String, Receiver<(String, Span)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = Vec::new();
            let mut length = 0;
            while !head.ends_with(b"\r\n\r\n") {
                let mut line = Vec::new();
                if stream.read_until(b'\n', &mut line).unwrap() == 0 {
                    return;
                }
                let text = String::from_utf8_lossy(&line).to_lowercase();
                if let Some(value) = text.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head.extend(line);
            }
            assert!(head.starts_with(b"POST /v1/traces "));
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            for resource in ExportTraceServiceRequest::decode(&*body).unwrap().resource_spans {
                let attributes = resource.resource.unwrap().attributes;
                let name = attributes.iter().find(|pair| pair.key == "service.name").unwrap();
                let name = format!("{:?}", name.value);
                for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    // The other end is gone once the test has seen enough.
                    let _ = sender.send((name.clone(), span));
                }
            }
            let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, receiver)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    span.attributes.iter().map(|pair| (pair.key.as_str(), format!("{:?}", pair.value))).collect()
}

#[test]
fn a_request_is_part_of_its_callers_trace() {
    let (address, spans) = collector();
    let environment =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "100")];
    let service = Service::start(demo(), &environment);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let header = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
    assert_eq!(service.get("/churn-score/nobody", &header).0, 200);
    let mut seen = Vec::new();
    while seen.iter().all(|(_, span): &(String, Span)| span.name != "GET /churn-score/{user_token}")
    {
        seen.push(spans.recv_timeout(Duration::from_secs(60)).unwrap());
    }
    let (name, request) = seen.last().unwrap();
    assert!(name.contains("icecore"), "{name}");
    assert_eq!(
        (hex(&request.trace_id), hex(&request.parent_span_id)),
        (trace.to_owned(), "00f067aa0ba902b7".to_owned())
    );
    let known = attributes(request);
    assert!(known["http.response.status_code"].contains("200"), "{known:?}");
    let inner = seen.iter().find(|(_, span)| span.name == "look up the score in the lakehouse");
    let (_, inner) = inner.unwrap();
    assert_eq!((&inner.trace_id, &inner.parent_span_id), (&request.trace_id, &request.span_id));
}

#[test]
fn a_command_is_a_trace_and_a_collector_that_is_gone_fails_none() {
    let (address, spans) = collector();
    let run = |address: &str| {
        let project = demo().to_str().unwrap();
        command(&["--project", project, "table", "list"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", address)
            .env("OTEL_SERVICE_NAME", "nightly")
            .output()
            .unwrap()
    };
    assert!(run(&address).status.success());
    let (name, span) = spans.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(name.contains("nightly"), "{name}");
    assert_eq!(span.name, "icecore table list");
    assert!(run("http://127.0.0.1:1").status.success());
    let refused = run("not an address");
    assert!(!refused.status.success());
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(message.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{message}");
}
