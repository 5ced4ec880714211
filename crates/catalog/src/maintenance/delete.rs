//! Deleting files, many at a time.

use futures::{StreamExt, stream};
use iceberg::io::FileIO;

use super::reach::Named;

/// Deletions at once.
const DELETIONS_AT_ONCE: usize = 32;

/// What became of files that were to be deleted.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Locations that could not be deleted, with why, in order.
    pub(super) failed: Vec<(String, String)>,
}

/// Deletes files. One that cannot be deleted stops no other: a later clean finds it again.
pub(super) async fn delete(io: &FileIO, files: Vec<Named>) -> Deleted {
    let mut results = stream::iter(files)
        .map(async |file| {
            let result = io.delete(&file.location).await;
            (file, result)
        })
        .buffer_unordered(DELETIONS_AT_ONCE);
    let mut done = Deleted::default();
    while let Some((file, result)) = results.next().await {
        match result {
            Ok(()) => {
                done.files += 1;
                done.bytes += file.bytes;
            }
            Err(error) => {
                tracing::warn!(file = file.location, %error, "cannot delete a file");
                done.failed.push((file.location, error.to_string()));
            }
        }
    }
    done.failed.sort();
    done
}
