//! A PostgreSQL server for the length of a test.
#![expect(clippy::expect_used, clippy::panic, reason = "a test cannot go on without its server")]
#![expect(clippy::print_stderr, reason = "a skipped test must say so")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::redis_server::{free_port, is_required};

/// The user that the server runs as where the tests run as root, whom it refuses.
const SYSTEM_USER: &str = "postgres";

/// Runs a server until standard input ends, then stops it and removes its directory: whatever
/// becomes of the test, nothing is left.
const GUARD: &str = r#"dir=$1; shift; "$@" & server=$!; cat >/dev/null
kill -QUIT "$server"; wait "$server"; rm -rf "$dir""#;

/// A `postgres` of its own on loopback, in a directory of its own, stopped when dropped or when
/// the process that started it ends.
#[derive(Debug)]
pub struct PostgresServer {
    guard: Child,
    tools: PathBuf,
    port: u16,
    databases: AtomicU32,
}

impl PostgresServer {
    /// Starts a server, or says on stderr that the test is skipped if there is none installed.
    ///
    /// # Panics
    ///
    /// If the server does not start, and if it is not installed while the environment variable
    /// `ICECORE_REQUIRE_SERVICES` is `1`.
    #[must_use]
    pub fn start() -> Option<Self> {
        let Some(tools) = tools() else {
            assert!(!is_required(), "`postgres` is not installed, and its tests are required");
            eprintln!("SKIPPED: `postgres` is not installed; `apt-get install postgresql` has it");
            return None;
        };
        // Another process may take the port between asking for it and using it.
        for _ in 0..5 {
            let dir = directory();
            initialize(&tools, &dir);
            let port = free_port();
            let mut server = Self {
                guard: spawn(&tools, &dir, port),
                tools: tools.clone(),
                port,
                databases: AtomicU32::new(0),
            };
            if server.answers() {
                return Some(server);
            }
        }
        panic!("`postgres` did not answer in five attempts");
    }

    /// Makes an empty database and returns its address, `postgres://postgres@127.0.0.1:PORT/NAME`.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    #[must_use]
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("lake_{number}");
        self.execute("postgres", &format!("CREATE DATABASE {name}"));
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Executes a statement and returns what it says, columns separated by `|`.
    ///
    /// # Panics
    ///
    /// If the server does not answer, or refuses.
    pub fn execute(&self, database: &str, statement: &str) -> String {
        let output = self.psql(database, statement);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{statement}`: {said}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Ends every connection to a database of the server, as an administrator may at any moment.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub fn disconnect_all(&self) {
        self.execute(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname LIKE 'lake%' AND pid <> pg_backend_pid()",
        );
    }

    fn psql(&self, database: &str, statement: &str) -> Output {
        Command::new(self.tools.join("psql"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"])
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                database,
                "-c",
                statement,
            ])
            .stdin(Stdio::null())
            .output()
            .expect("`psql` runs")
    }

    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if self.psql("postgres", "SELECT 1").status.success() {
                return true;
            }
            if matches!(self.guard.try_wait(), Ok(Some(_))) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Where the server's programs are: on the path, or where Debian puts them.
fn tools() -> Option<PathBuf> {
    let complete = |dir: &Path| {
        ["initdb", "postgres", "psql"]
            .iter()
            .all(|tool| dir.join(tool).try_exists().unwrap_or(false))
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    places.extend(versions.map(|version| version.path().join("bin")));
    places.into_iter().find(|place| complete(place))
}

fn directory() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("icecore-postgres-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir(&dir).expect("the system has a place for temporary files");
    if is_root() {
        let status = Command::new("chown").arg(SYSTEM_USER).arg(&dir).status();
        assert!(status.is_ok_and(|status| status.success()), "there is no user `{SYSTEM_USER}`");
    }
    dir
}

fn initialize(tools: &Path, dir: &Path) {
    let output = as_user(&tools.join("initdb"))
        .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale", "C", "-D"])
        .arg(dir)
        .stdin(Stdio::null())
        .current_dir("/")
        .output()
        .expect("`initdb` runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`initdb`: {said}");
}

fn spawn(tools: &Path, dir: &Path, port: u16) -> Child {
    let server = as_user(&tools.join("postgres"));
    Command::new("sh")
        .args(["-c", GUARD, "sh"])
        .arg(dir)
        .arg(server.get_program())
        .args(server.get_args())
        .arg("-D")
        .arg(dir)
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", "", "-F"])
        .args(["-c", "max_connections=200", "-c", "synchronous_commit=off"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .expect("a shell starts")
}

/// A command of the server, as another user where this one is root.
fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--clear-groups", "--"])
        .arg(program);
    command
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("`id` runs");
    output.stdout.trim_ascii() == b"0"
}
