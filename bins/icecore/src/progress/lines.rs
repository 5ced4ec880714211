//! A line about the work from time to time, for whoever reads a log.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Writes what is being done each time that so long has passed. A thread of its own does it: those
/// of the runtime may all be computing.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Default)]
struct State {
    what: Option<Cow<'static, str>>,
    is_over: bool,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    /// Begins; nothing is written before something was said.
    pub(crate) fn start(every: Duration, write: impl Fn(&str) + Send + 'static) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), over: Condvar::new() });
        let (begun, inner) = (Instant::now(), Arc::clone(&shared));
        // Where no thread can be had, there are no lines.
        let _ = thread::Builder::new().name("progress".to_owned()).spawn(move || {
            while let Some(what) = inner.wait(every) {
                if let Some(what) = what {
                    write(&format!("{what} [{} s]", begun.elapsed().as_secs()));
                }
            }
        });
        Self(shared)
    }

    pub(crate) fn say(&self, what: Cow<'static, str>) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).what = Some(what);
    }

    pub(crate) fn done(&self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.0.over.notify_all();
    }
}

impl Shared {
    /// What is being done once so long has passed, or `None` when the work is over.
    fn wait(&self, long: Duration) -> Option<Option<Cow<'static, str>>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.over.wait_timeout_while(state, long, |state| !state.is_over);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!state.is_over).then(|| state.what.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn work_that_takes_long_says_what_it_does_until_it_is_over() {
        let (send, lines) = mpsc::channel();
        let progress = Lines::start(Duration::from_millis(2), move |line| {
            let _ = send.send(line.to_owned());
        });
        progress.say("reading 3 files".into());
        let line = lines.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(line, "reading 3 files [0 s]");
        progress.say("writing".into());
        let written = lines.iter().find(|line| line.starts_with("writing"));
        assert!(written.is_some());
        progress.done();
        // The thread ends, and with it the sender.
        assert!(lines.iter().count() < 1000);
    }
}
