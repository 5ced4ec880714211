//! Servers of `tests/python` for the length of a test: a REST catalog, and S3.
#![expect(clippy::expect_used, clippy::panic, reason = "a test cannot go on without its server")]
#![expect(clippy::print_stderr, reason = "a skipped test must say so")]

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::redis_server::is_required;

/// The environment variable with the interpreter that has the packages: `tests/run.sh` makes it.
const INTERPRETER: &str = "ICECORE_TEST_PYTHON";

/// A script that says where it serves, and ends when its standard input does: with this value or
/// with the process that holds it, whichever is first.
#[derive(Debug)]
struct PythonServer {
    child: Child,
    uri: String,
}

impl PythonServer {
    fn start<S: AsRef<str>>(script: &str, arguments: &[S]) -> Option<Self> {
        let Some(python) = std::env::var_os(INTERPRETER).map(PathBuf::from) else {
            assert!(!is_required(), "`{INTERPRETER}` is not set: run tests/run.sh");
            eprintln!("SKIPPED: `{INTERPRETER}` is not set; tests/run.sh makes the environment");
            return None;
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python").join(script);
        let mut child = Command::new(python)
            .arg(path)
            .args(arguments.iter().map(AsRef::as_ref))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the interpreter starts");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("the script can be read");
        let said: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("`{script}` said `{line}`: {error}"));
        let uri = said["uri"].as_str().expect("a script says where it serves").to_owned();
        Some(Self { child, uri })
    }

    fn send(&self, method: &str, path: &str, body: &str) -> io::Result<Value> {
        let address = self.uri.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).map_err(|error| io::Error::other(format!("{error}: {answer}")))
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An Iceberg REST catalog that is not ours, with switches for faults.
#[derive(Debug)]
pub struct RestServer {
    server: PythonServer,
}

impl RestServer {
    /// Starts a server over a warehouse directory, with the arguments of
    /// `tests/python/rest_server.py`, such as `--prefix lake` or `--credential client:secret`.
    /// Says on stderr that the test is skipped where there is no Python environment.
    ///
    /// # Panics
    ///
    /// If the server does not start, or may not be skipped.
    #[must_use]
    pub fn start(warehouse: &Path, arguments: &[&str]) -> Option<Self> {
        let mut all = vec![warehouse.display().to_string()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        Some(Self { server: PythonServer::start("rest_server.py", &all)? })
    }

    /// The address that clients are given, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.server.uri
    }

    /// Lets requests fail: an array of faults as `tests/python/rest_server.py` describes them, such
    /// as `[{"on": "commit", "do": "drop-reply", "times": 2}]`.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub fn fail(&self, faults: &Value) {
        self.server.send("POST", "/faults", &faults.to_string()).expect("the server answers");
    }

    /// Forgets the faults that have not happened.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub fn heal(&self) {
        self.server.send("DELETE", "/faults", "").expect("the server answers");
    }

    /// How many requests came, by kind, and how many faults hit: `{"pending", "hit", "requests"}`.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    #[must_use]
    pub fn counts(&self) -> Value {
        self.server.send("GET", "/faults", "").expect("the server answers")
    }
}

/// An S3-compatible server that is not ours, with one bucket. Any access key will do; the region
/// is `us-east-1`.
#[derive(Debug)]
pub struct S3Server {
    server: PythonServer,
    bucket: String,
}

impl S3Server {
    /// Starts a server, or says on stderr that the test is skipped where there is no Python
    /// environment.
    ///
    /// # Panics
    ///
    /// If the server does not start, or may not be skipped.
    #[must_use]
    pub fn start(bucket: &str) -> Option<Self> {
        let server = PythonServer::start("s3_server.py", &[bucket])?;
        Some(Self { server, bucket: bucket.to_owned() })
    }

    /// The endpoint, `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.server.uri
    }

    /// The bucket that is there.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }
}
