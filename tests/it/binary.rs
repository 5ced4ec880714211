//! The binary as a black box.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The path of the binary: it is built into the folder above that of the tests.
pub(crate) fn icecore_path() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("icecore");
    assert!(
        path.try_exists().unwrap(),
        "`{}` is not there: run `cargo build --workspace --bins` first",
        path.display()
    );
    path
}

/// A command of the binary, in an environment of its own.
pub(crate) fn command<S: AsRef<str>>(arguments: &[S]) -> Command {
    let mut command = Command::new(icecore_path());
    for argument in arguments {
        command.arg(argument.as_ref());
    }
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ICECORE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).env("RUST_BACKTRACE", "0");
    command
}

/// Runs a command to its end.
pub(crate) fn run<S: AsRef<str>>(arguments: &[S]) -> Output {
    command(arguments).output().unwrap()
}

/// Runs a command of a project that must succeed, and returns its one document.
#[track_caller]
pub(crate) fn json(project: &Path, arguments: &[&str]) -> Value {
    let mut all = vec!["--project", project.to_str().unwrap(), "--json"];
    all.extend(arguments);
    let output = run(&all);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error} in `{}`", text(&output.stdout)))
}

/// Runs a command of a project that must fail; returns its exit status and what it said.
#[track_caller]
pub(crate) fn failure(project: &Path, arguments: &[&str]) -> (i32, String) {
    let mut all = vec!["--project", project.to_str().unwrap()];
    all.extend(arguments);
    let output = run(&all);
    assert!(!output.status.success(), "{arguments:?} succeeded: {}", text(&output.stdout));
    (output.status.code().unwrap_or(-1), text(&output.stderr))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A small demo project, made once for all tests that only read it.
pub(crate) fn demo() -> &'static Path {
    use std::sync::LazyLock;
    static DEMO: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("demo");
        make_demo(&project, &[]);
        (dir, project)
    });
    &DEMO.1
}

/// Runs the demo in a new project.
#[track_caller]
pub(crate) fn make_demo(project: &Path, more: &[&str]) -> Value {
    let mut arguments = vec!["--json", "demo", "--dir", project.to_str().unwrap()];
    if !more.contains(&"--data") {
        arguments.extend(["--rows", "20000"]);
    }
    arguments.extend(more);
    let output = run(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A copy of the demo project for a test that changes it. Tables know the place of their files by
/// absolute paths, so a copy must be made where it will be used: it is a demo of its own.
pub(crate) fn own_demo() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("demo");
    make_demo(&project, &[]);
    (dir, project)
}

/// The interpreter with the other readers, or `None` where it may be absent.
pub(crate) fn python() -> Option<PathBuf> {
    let found = std::env::var_os("ICECORE_TEST_PYTHON").map(PathBuf::from);
    let required = std::env::var("ICECORE_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
    assert!(found.is_some() || !required, "ICECORE_TEST_PYTHON is not set: run tests/run.sh");
    found
}

/// Runs a script of `tests/python` and returns the document that it prints.
#[track_caller]
pub(crate) fn script(python: &Path, name: &str, arguments: &[&str]) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name);
    let output = Command::new(python).arg(path).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
