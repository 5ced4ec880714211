//! What follows a commit, and may fail without harm: deleting metadata that is no longer named, and
//! the hint by which readers without a catalog find the metadata.

use bytes::Bytes;
use iceberg::table::Table;

use super::{Tables, metadata};

const DELETE_PROPERTY: &str = "write.metadata.delete-after-commit.enabled";
/// Not of the format: a table that is read without its catalog asks for it.
const HINT_PROPERTY: &str = "icecore.version-hint.enabled";

impl Tables {
    /// Does what a table's properties ask for after each of its commits.
    pub(super) async fn tidy_up(&self, table: &Table, forgotten: Vec<String>) {
        let is_on = |property: &str| {
            table.metadata().properties().get(property).is_some_and(|value| value == "true")
        };
        if is_on(DELETE_PROPERTY) {
            self.discard(&forgotten).await;
        }
        if is_on(HINT_PROPERTY)
            && let Some(location) = table.metadata_location()
        {
            self.write_hint(location).await;
        }
    }

    /// Writes the name of a metadata file, without its ending, next to it.
    async fn write_hint(&self, location: &str) {
        let Some((directory, file)) = location.rsplit_once('/') else { return };
        let name = file.strip_suffix(metadata::GZIP_SUFFIX);
        let Some(name) = name.or(file.strip_suffix(".metadata.json")) else { return };
        let path = format!("{directory}/version-hint.text");
        let written = match self.io.new_output(&path) {
            Ok(output) => output.write(Bytes::from(name.to_owned())).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!(file = path, %error, "could not write the hint of a table");
        }
    }
}
