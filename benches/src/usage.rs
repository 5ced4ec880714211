//! What a process used so far, as the system counts it.

use std::fs;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

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
    cpu: Option<ProcessTime>,
}

/// Begins to measure.
#[must_use]
pub fn start() -> Started {
    Started { at: Instant::now(), cpu: ProcessTime::try_now().ok() }
}

impl Started {
    /// What the work cost until now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        // The clock that Python's `time.process_time` reads, so that peers are measured alike.
        let cpu = self.cpu.and_then(|since| since.try_elapsed().ok());
        let cpu_seconds = cpu.as_ref().map_or(0.0, Duration::as_secs_f64);
        Usage { seconds: self.at.elapsed().as_secs_f64(), cpu_seconds, peak_mib: peak_mib() }
    }
}

fn peak_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
