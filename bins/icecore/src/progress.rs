//! Progress of long work: a spinner with what is being done on a terminal; elsewhere, where a log
//! keeps what is written, a line from time to time.

mod lines;
mod pace;

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use lines::Lines;
use pace::Pace;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What one command shows while it works. It is gone once the work is done.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    place: Place,
    pace: Arc<Mutex<Pace>>,
}

/// Where it is shown.
#[derive(Debug, Clone)]
enum Place {
    Hidden,
    Spinner(ProgressBar),
    Lines(Lines),
}

impl Progress {
    /// Shows progress on stderr, unless the user asked for quiet.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { place: Place::new(quiet), pace: Arc::default() }
    }

    /// Says what is being done now.
    pub(crate) fn say(&self, what: impl Into<Cow<'static, str>>) {
        self.place.say(what.into());
    }

    /// Says what is being done now, which is a part of a whole whose size is known: so many parts
    /// are done, of so many. Once there is a pace, it says how long the rest takes.
    pub(crate) fn say_part(&self, what: impl Into<String>, done: u64, of: u64) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let left = pace.left(Instant::now(), done, of);
        drop(pace);
        let what = what.into();
        self.place.say(match left {
            Some(left) => format!("{what}, about {} left", pace::words(left)).into(),
            None => what.into(),
        });
    }

    /// Shows nothing any more.
    pub(crate) fn done(&self) {
        self.place.done();
    }
}

impl Place {
    fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Hidden;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Lines(Lines::start(LINE_EVERY, |line| {
                let _ = writeln!(std::io::stderr(), "{line}");
            }));
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
            bar.set_style(style);
        }
        Self::Spinner(bar)
    }

    fn say(&self, what: Cow<'static, str>) {
        match self {
            Self::Hidden => {}
            Self::Spinner(bar) => {
                bar.set_message(what);
                bar.enable_steady_tick(Duration::from_millis(120));
            }
            Self::Lines(lines) => lines.say(what),
        }
    }

    fn done(&self) {
        match self {
            Self::Hidden => {}
            Self::Spinner(bar) => bar.finish_and_clear(),
            Self::Lines(lines) => lines.done(),
        }
    }
}
