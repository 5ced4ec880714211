//! What a process used so far, as the system counts it.

use std::fs;
use std::time::Instant;

/// How long a tick of `/proc/self/stat` lasts: what Linux tells every program, whatever its own.
const TICK_SECONDS: f64 = 0.01;

/// What a piece of work cost.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Time that passed.
    pub seconds: f64,
    /// Time that cores worked, of all threads together.
    pub cpu_seconds: f64,
    /// The most memory that the process ever held, in MiB.
    pub peak_mib: f64,
}

/// A piece of work that has begun.
#[derive(Debug)]
pub struct Started {
    at: Instant,
    ticks: f64,
    nanos: f64,
}

/// Begins to measure.
#[must_use]
pub fn start() -> Started {
    Started { at: Instant::now(), ticks: ticked(), nanos: scheduled() }
}

impl Started {
    /// What the work cost until now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        // Ticks are coarse, and the exact times are those of threads that still live: the larger of
        // the two is nearer.
        let cpu_seconds = (ticked() - self.ticks).max(scheduled() - self.nanos);
        Usage { seconds: self.at.elapsed().as_secs_f64(), cpu_seconds, peak_mib: peak_mib() }
    }
}

fn ticked() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, in parentheses, may hold spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks =
        |place: usize| fields.split_whitespace().nth(place).and_then(|text| text.parse().ok());
    let used: f64 = ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0);
    used * TICK_SECONDS
}

fn scheduled() -> f64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    nanos.sum::<f64>() / 1e9
}

fn peak_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
