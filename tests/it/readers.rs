//! Readers that are not ours, in one interpreter that is asked state by state.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value as Json;

use crate::binary::python;

/// `tests/python/read_state.py`, running.
#[derive(Debug)]
pub(crate) struct Readers {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Readers {
    /// `None` where the Python environment may be absent.
    pub(crate) fn start() -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/read_state.py");
        let mut child = Command::new(python()?)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, requests, answers })
    }

    /// What the other side says to a request, or its error as `(kind, message)`.
    pub(crate) fn ask(&mut self, request: &Json) -> Result<Json, (String, String)> {
        let requests = self.requests.as_mut().unwrap();
        writeln!(requests, "{request}").unwrap();
        requests.flush().unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Json = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{request}: `{line}` is no answer: {error}"));
        match answer.get("ok") {
            Some(state) => Ok(state.clone()),
            None => {
                let said = |field: &str| answer["error"][field].as_str().unwrap().to_owned();
                Err((said("kind"), said("message")))
            }
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        drop(self.requests.take());
        let _ = self.child.wait();
    }
}
