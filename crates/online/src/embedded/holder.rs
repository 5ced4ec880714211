//! A note beside the file that says who opened it last. The lock itself cannot tell.

use std::fs;
use std::path::{Path, PathBuf};

/// The note, taken away again when the store closes. A process that is killed leaves it behind,
/// which is why readers ask for it only where the lock says that somebody is there.
#[derive(Debug)]
pub(super) struct Holder {
    path: PathBuf,
    text: String,
}

impl Holder {
    /// Leaves the note. A store works without it, so a failure is not one of the store.
    pub(super) fn note(dir: &Path) -> Self {
        let program = std::env::current_exe()
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_else(|| "unknown".to_owned());
        let text = format!("process {} (`{program}`)", std::process::id());
        let path = dir.join("online.holder");
        let _ = fs::write(&path, &text);
        Self { path, text }
    }

    /// Who opened the store in this directory last.
    pub(super) fn read(dir: &Path) -> Option<String> {
        let text = fs::read_to_string(dir.join("online.holder")).ok()?;
        (!text.is_empty()).then_some(text)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // With shared access another process may have written its own over ours.
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
