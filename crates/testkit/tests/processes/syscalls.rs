//! A writer that is killed at each system call that changes a file.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::kills::check_clean;
use crate::lake::Lake;

/// System calls that change files.
const CHANGES: [&str; 12] = [
    "write",
    "pwrite64",
    "openat",
    "rename",
    "renameat2",
    "link",
    "unlink",
    "mkdir",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
];
const KILLED: i32 = 9;

/// Whether processes may be traced here.
fn can_trace() -> bool {
    let traced = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    traced.is_ok_and(|status| status.success())
}

#[test]
fn a_writer_killed_at_any_change_of_a_file_leaves_a_whole_table() {
    if !can_trace() {
        eprintln!("skipped: processes cannot be traced here");
        return;
    }
    let mut points = 0;
    for call in CHANGES {
        for number in 1.. {
            let lake = Lake::new();
            assert_eq!(lake.run("append", 1, 1).len(), 1);
            let before = lake.rows();
            let mut command = Command::new("strace");
            command.args(["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e"]);
            command.arg(format!("inject={call}:signal=SIGKILL:when={number}"));
            command.arg(env!("CARGO_BIN_EXE_table-worker"));
            lake.arguments(&mut command, "append", (2, 1));
            let mut child = command.spawn().unwrap();
            drop(child.stdin.take());
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let was_killed = output.status.signal() == Some(KILLED)
                || output.status.code() == Some(128 + KILLED);
            let rows = lake.rows();
            let new: Vec<_> = rows.iter().filter(|row| !before.contains(row)).collect();
            let where_ = format!("killed at {call} {number}: {said}");
            assert!(before.iter().all(|row| rows.contains(row)), "{where_}");
            match new[..] {
                [] => assert!(!said.starts_with("ok 0"), "{where_}"),
                [row] => assert_eq!(*row, (2_000_000, 2), "{where_}"),
                _ => panic!("{where_} {new:?}"),
            }
            check_clean(&lake);
            // Whoever comes next is not held up.
            assert_eq!(lake.run("append", 3, 1).len(), 1, "{where_}");
            if !was_killed {
                assert!(said.starts_with("ok 0"), "{where_}");
                break;
            }
            points += 1;
        }
    }
    eprintln!("killed at {points} points");
    assert!(points > 40, "{points}");
}
