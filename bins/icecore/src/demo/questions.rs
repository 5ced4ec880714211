//! Questions to the running service, as a client would ask them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use icecore::Project;
use icecore_core::{Date, Error, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::Found;

/// How often each kind of question is asked to tell how long answers take.
const REPEATS: usize = 200;

/// Starts the service on a free port, asks it, and stops it.
pub(super) async fn ask(project: &Project, date: Date) -> Result<Vec<Found>> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(|error| Error::unavailable("cannot listen on loopback").with_source(error))?;
    let address = listener.local_addr().map_err(unanswered)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let service = project.service().await?;
    let serving = tokio::spawn(icecore::serve::serve(service, listener, async {
        let _ = stopped.await;
    }));
    let asked = ask_each(project, address, date).await;
    let _ = stop.send(());
    serving.await.map_err(|error| Error::internal("the service stopped").with_source(error))??;
    asked
}

async fn ask_each(project: &Project, address: SocketAddr, date: Date) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for (kind, filter) in [
        ("cached", Some("score_bucket = 'high'")),
        ("in the lakehouse", Some("score_bucket <> 'high'")),
        ("unknown", None),
    ] {
        let user = match filter {
            Some(filter) => user(project, date, filter).await?,
            None => Some("nobody".to_owned()),
        };
        let Some(user) = user else { continue };
        found.push(question(address, kind, &format!("/churn-score/{user}")).await?);
    }
    Ok(found)
}

/// A user whose score is of this kind.
async fn user(project: &Project, date: Date, filter: &str) -> Result<Option<String>> {
    let query = format!(
        "SELECT min(user_token) AS user_token FROM ml_predictions.churn_scores \
         WHERE churn_score_date = DATE '{date}' AND {filter}"
    );
    let answer = project.engine().sql(&query, &[]).await?.concat().await?;
    let rows = icecore::rows::to_json(&answer)?;
    Ok(rows.pointer("/0/user_token").and_then(Value::as_str).map(str::to_owned))
}

async fn question(address: SocketAddr, kind: &str, path: &str) -> Result<Found> {
    let mut connection = TcpStream::connect(address).await.map_err(unanswered)?;
    connection.set_nodelay(true).map_err(unanswered)?;
    let mut times = Vec::with_capacity(REPEATS);
    let mut answer = Value::Null;
    for _ in 0..REPEATS {
        let begun = Instant::now();
        answer = get(&mut connection, path).await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let [p50, p99] = [times[REPEATS / 2], times[REPEATS * 99 / 100]].map(milliseconds);
    Ok(Found {
        command: format!("serve    # and then: curl localhost:8080{path}"),
        lines: vec![
            answer.to_string(),
            format!("{kind}: p50 {p50:.2} ms, p99 {p99:.2} ms of {REPEATS}"),
        ],
        json: json!({ "kind": kind, "path": path, "answer": answer, "p50_ms": p50, "p99_ms": p99 }),
    })
}

/// A request on a connection that stays open; answers are short and have their length.
async fn get(connection: &mut TcpStream, path: &str) -> Result<Value> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.write_all(request.as_bytes()).await.map_err(unanswered)?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = tokio::time::timeout(Duration::from_secs(10), connection.read(&mut chunk))
            .await
            .map_err(|_| Error::unavailable("the service did not answer in 10 seconds"))?
            .map_err(unanswered)?;
        answer.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, value)| value.trim().parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                return serde_json::from_str(body).map_err(|error| {
                    Error::internal(format!("the service answered `{body}`")).with_source(error)
                });
            }
        }
        if read == 0 {
            return Err(Error::unavailable("the service closed the connection"));
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn unanswered(error: std::io::Error) -> Error {
    Error::unavailable("the service does not answer").with_source(error)
}
