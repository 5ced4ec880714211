//! Progress of long work: a spinner with what is being done on a terminal; elsewhere, where a log
//! keeps what is written, a line from time to time.

mod lines;

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use lines::Lines;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What one command shows while it works. It is gone once the work is done.
#[derive(Debug, Clone)]
pub(crate) enum Progress {
    Hidden,
    Spinner(ProgressBar),
    Lines(Lines),
}

impl Progress {
    /// Shows progress on stderr, unless the user asked for quiet.
    pub(crate) fn new(quiet: bool) -> Self {
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

    /// Says what is being done now.
    pub(crate) fn say(&self, what: impl Into<Cow<'static, str>>) {
        match self {
            Self::Hidden => {}
            Self::Spinner(bar) => {
                bar.set_message(what);
                bar.enable_steady_tick(Duration::from_millis(120));
            }
            Self::Lines(lines) => lines.say(what.into()),
        }
    }

    /// Shows nothing any more.
    pub(crate) fn done(&self) {
        match self {
            Self::Hidden => {}
            Self::Spinner(bar) => bar.finish_and_clear(),
            Self::Lines(lines) => lines.done(),
        }
    }
}
