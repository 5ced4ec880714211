//! A Redis server for the length of a test.
#![expect(clippy::expect_used, clippy::panic, reason = "a test cannot go on without its server")]
#![expect(clippy::print_stderr, reason = "a skipped test must say so")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The environment variable that turns a missing service into a failure: set it to `1` where
/// services are known to be installed, so that their tests cannot be skipped unnoticed.
const REQUIRE: &str = "ICECORE_REQUIRE_SERVICES";

/// A `redis-server` of its own on loopback, empty, without persistence, killed when dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    tls_port: Option<u16>,
    bus_port: Option<u16>,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts a server, or says on stderr that the test is skipped if there is none installed.
    ///
    /// # Panics
    ///
    /// If the server does not start, and if it is not installed while the environment variable
    /// `ICECORE_REQUIRE_SERVICES` is `1`.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// As [`start`](Self::start), with more arguments, such as `--requirepass`.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        Self::start_as(&arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    fn start_as(arguments: &[String]) -> Option<Self> {
        // Another process may take the port between asking for it and using it.
        for _ in 0..5 {
            let port = free_port();
            match spawn(port, arguments) {
                Ok(child) => {
                    let arguments = arguments.to_vec();
                    let mut server =
                        Self { child, port, tls_port: None, bus_port: None, arguments };
                    if answers(&mut server.child, port) {
                        return Some(server);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(),
                Err(error) => panic!("cannot start `redis-server`: {error}"),
            }
        }
        panic!("`redis-server` did not answer in five attempts");
    }

    /// Starts a server that also speaks TLS, with these files for its certificate and key.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_tls(cert: &str, key: &str) -> Option<Self> {
        let port = free_port().to_string();
        let mut server = Self::start_with(&[
            "--tls-port",
            &port,
            "--tls-cert-file",
            cert,
            "--tls-key-file",
            key,
            "--tls-ca-cert-file",
            cert,
            "--tls-auth-clients",
            "optional",
        ])?;
        server.tls_port = port.parse().ok();
        Some(server)
    }

    /// The port on which the server speaks TLS.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[must_use]
    pub const fn tls_port(&self) -> u16 {
        self.tls_port.expect("a server that was started with TLS")
    }

    /// Starts a server that can be one of a cluster, and has no slots yet. `dir` is for what it
    /// remembers of the cluster.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_cluster_node(dir: &std::path::Path) -> Option<Self> {
        let bus_port = free_port();
        let nodes = dir.join(format!("nodes-{bus_port}.conf")).display().to_string();
        let mut server = Self::start_with(&[
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            &nodes,
            "--cluster-port",
            &bus_port.to_string(),
        ])?;
        server.bus_port = Some(bus_port);
        Some(server)
    }

    /// Where other servers of a cluster reach this one: its host, port and bus port.
    #[must_use]
    pub fn cluster_place(&self) -> String {
        format!("127.0.0.1 {} {}", self.port, self.bus_port.unwrap_or(0))
    }

    /// Starts a sentinel with this configuration file, which it rewrites.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_sentinel(config: &std::path::Path) -> Option<Self> {
        Self::start_as(&[config.display().to_string(), "--sentinel".to_owned()])
    }

    /// The server's port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address of its database 0, without user and password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Kills the server. What it held is lost.
    pub fn stop(&mut self) {
        end(&mut self.child);
    }

    /// Starts the server again on the same port, empty.
    ///
    /// # Panics
    ///
    /// If the server does not start.
    pub fn restart(&mut self) {
        end(&mut self.child);
        self.child = spawn(self.port, &self.arguments).expect("`redis-server` starts again");
        assert!(answers(&mut self.child, self.port), "`redis-server` answers again");
    }

    /// Makes the server hang: connections stay, answers do not come.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Sends one command in Redis's inline form, such as `TTL key`, and returns the raw answer's
    /// first line.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    #[must_use]
    pub fn command(&self, line: &str) -> String {
        command(self.port, line).expect("`redis-server` answers")
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().expect("`kill` runs");
        assert!(status.success(), "`kill {signal}` works");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        end(&mut self.child);
        let _ = std::fs::remove_file(std::env::temp_dir().join(file_name(self.port)));
    }
}

/// Whether a test may not be skipped because its service is missing.
pub(crate) fn is_required() -> bool {
    std::env::var(REQUIRE).as_deref() == Ok("1")
}

fn missing() -> Option<RedisServer> {
    assert!(
        !is_required(),
        "`redis-server` is not installed, and `{REQUIRE}=1` forbids to skip its tests"
    );
    eprintln!("SKIPPED: `redis-server` is not installed; `apt-get install redis-server` has it");
    None
}

/// A port that nobody uses at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn spawn(port: u16, arguments: &[String]) -> io::Result<Child> {
    let mut command = Command::new("redis-server");
    // A configuration file comes first.
    let (file, options) = match arguments.split_first() {
        Some((file, options)) if !file.starts_with("--") => (Some(file), options),
        _ => (None, arguments),
    };
    command.args(file).args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    if file.is_none() {
        command.args(["--save", "", "--appendonly", "no"]).arg("--dir").arg(std::env::temp_dir());
        // A replica saves what its master sends, and any server loads what it finds: neither may
        // happen under a name that another one knows.
        command.args(["--repl-diskless-load", "swapdb", "--dbfilename", &file_name(port)]);
    }
    command.args(options).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

fn file_name(port: u16) -> String {
    format!("icecore-test-{}-{port}.rdb", std::process::id())
}

fn answers(child: &mut Child, port: u16) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return false;
        }
        // A server with a password answers `-NOAUTH`, which is an answer.
        if command(port, "PING").is_ok_and(|answer| !answer.starts_with("-LOADING")) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn command(port: u16, line: &str) -> io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(format!("{line}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut byte = [0_u8];
    while !answer.ends_with(b"\r\n") && stream.read(&mut byte)? == 1 {
        answer.extend_from_slice(&byte);
    }
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&answer).trim_end().to_owned())
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
