//! The HTTP service of a project, started as users start it. C86-C91 C164-C167

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::binary::{command, demo, json};

pub(crate) struct Service {
    child: Child,
    pub(crate) address: String,
}

impl Service {
    pub(crate) fn start(project: &Path, environment: &[(&str, &str)]) -> Self {
        let mut child =
            command(&["--project", project.to_str().unwrap(), "serve", "--listen", "127.0.0.1:0"])
                .envs(environment.iter().copied())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let listening: Value = serde_json::from_str(&line).unwrap();
        Self { child, address: listening["listening"].as_str().unwrap().to_owned() }
    }

    /// The status and the document of an answer to a request with a body.
    pub(crate) fn post(&self, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\
             {headers}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())))
    }

    /// The status and the body of an answer.
    pub(crate) fn get(&self, path: &str, headers: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// An answer from this source. A path that misses its deadline is passed over, as it must be,
    /// and on a busy machine that happens: the question is asked again.
    #[track_caller]
    fn json_from(&self, source: &str, path: &str) -> Value {
        let answers = std::iter::repeat_with(|| self.json(path)).take(50);
        let mut other = Value::Null;
        for answer in answers {
            if answer["source"] == source {
                return answer;
            }
            other = answer;
        }
        panic!("{path}: 50 answers, none from the {source}, the last one {other:#}");
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path, "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn user(filter: &str) -> (String, f64) {
    let query = format!(
        "SELECT user_token, churn_probability AS p FROM ml_predictions.churn_scores \
         WHERE {filter} ORDER BY 1 LIMIT 1"
    );
    let rows = json(demo(), &["sql", &query]);
    (rows[0]["user_token"].as_str().unwrap().to_owned(), rows[0]["p"].as_f64().unwrap())
}

#[test]
fn an_answer_comes_from_the_cache_then_the_lakehouse_then_the_default() {
    let service = Service::start(demo(), &[]);
    let (high, probability) = user("score_bucket = 'high'");
    let cached = service.json_from("cache", &format!("/churn-score/{high}"));
    assert_eq!(cached["user_token"].as_str().unwrap(), high);
    assert!((cached["churn_probability"].as_f64().unwrap() - probability).abs() <= 5e-5);

    let (low, probability) = user("score_bucket <> 'high'");
    let slow = service.json_from("lakehouse", &format!("/churn-score/{low}"));
    assert!((slow["churn_probability"].as_f64().unwrap() - probability).abs() <= 5e-5);
    assert_eq!(slow["score_date"], "2026-07-01");
    assert!(!slow["model_version"].is_null());

    let none = service.json_from("default", "/churn-score/nobody");
    assert_eq!(none["churn_probability"], 0.05);
    assert_eq!(none["latency_path"], "no_score_found");

    assert_eq!(service.get("/healthz", "").0, 200);
    let (status, metrics) = service.get("/metrics", "");
    assert_eq!(status, 200);
    for name in
        ["icecore_http_request_duration_seconds", "source=\"cache\"", "source=\"lakehouse\""]
    {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
    assert_eq!(service.get("/nowhere", "").0, 404);
}

// C164
#[test]
fn a_cache_that_is_down_is_no_error() {
    let service = Service::start(demo(), &[("ICECORE_ONLINE__URL", "redis://127.0.0.1:1/0")]);
    let (high, probability) = user("score_bucket = 'high'");
    let answer = service.json_from("lakehouse", &format!("/churn-score/{high}"));
    assert!((answer["churn_probability"].as_f64().unwrap() - probability).abs() <= 5e-5);
}

#[test]
fn a_token_is_asked_for_where_one_is_set() {
    let service = Service::start(demo(), &[("ICECORE_SERVE__TOKEN", "s3cret")]);
    assert_eq!(service.get("/churn-score/nobody", "").0, 401);
    assert_eq!(service.get("/churn-score/nobody", "Authorization: Bearer wrong\r\n").0, 401);
    assert_eq!(service.get("/churn-score/nobody", "Authorization: Bearer s3cret\r\n").0, 200);
}

#[test]
fn an_open_address_without_a_token_is_refused() {
    let (status, message) = crate::binary::failure(demo(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_ne!(status, 0);
    assert!(message.contains("token"), "{message}");
}
