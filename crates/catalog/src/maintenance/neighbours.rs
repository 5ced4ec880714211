//! Whether a table's files are its own: another one may need those that it does not.

use futures::{StreamExt, stream};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, Result, TableName};

use super::place::Place;
use crate::tables::{Hidden, Tables, location_of};

/// Tables that the catalog is asked for at once.
const LOOKUPS_AT_ONCE: usize = 16;
/// Says whether files may be deleted that no state of a table needs.
pub(crate) const GC_ENABLED: &str = "gc.enabled";

/// Fails for a table whose files must not be deleted, as its property `gc.enabled` says: it may
/// have been made of the files of another table, which has them still.
///
/// # Errors
///
/// `InvalidInput` that says what to do.
pub(super) fn check_own(name: &TableName, head: &Table) -> Result<()> {
    match head.metadata().properties().get(GC_ENABLED) {
        // Whatever is not true is false, as Iceberg's own library reads it.
        Some(value) if !value.eq_ignore_ascii_case("true") => Err(Error::invalid(format!(
            "files of table `{name}` must not be deleted: its property `{GC_ENABLED}` is `{value}`"
        ))
        .with_note("they may be files of another table, as those of a snapshot that Spark makes")
        .with_help(format!(
            "if they are its own, set it to true: `icecore table set {name} {GC_ENABLED}=true`"
        ))),
        _ => Ok(()),
    }
}

/// Directories of other tables inside of this one's. The catalog says where the metadata of each
/// is, and only metadata that is beside this one's is read: there may be thousands of tables.
///
/// # Errors
///
/// `InvalidInput` if a table of another name has this one's files.
pub(super) async fn tables_inside(
    tables: &Tables,
    name: &TableName,
    head: &Table,
    hidden: Hidden,
) -> Result<Vec<Place>> {
    let own = Place::of(head.metadata().location());
    // It need not be below the table's location.
    let metadata = directory_of(location_of(head)?);
    let mut others = match tables.list_of(hidden).await {
        // Not even the namespaces may be looked at.
        Err(error) if hidden.passes(&error) => {
            tracing::warn!(table = %name, %error, "cannot see whether others have its files");
            Vec::new()
        }
        others => others?,
    };
    others.retain(|other| other != name);
    let mut found = stream::iter(others)
        .map(async |other| {
            let location = tables.pointer(&other).await;
            (other, location)
        })
        .buffered(LOOKUPS_AT_ONCE);
    let mut inside = Vec::new();
    while let Some((other, location)) = found.next().await {
        let location = match location {
            Err(error) if hidden.passes(&error) || is_broken(hidden, &error) => {
                tracing::warn!(table = %other, %error, "cannot see whose files a table has");
                continue;
            }
            location => location?,
        };
        let Some(directory) = location.as_deref().and_then(directory_of) else { continue };
        if directory == own
            || metadata.as_ref() == Some(&directory)
                && has_same(tables, &other, (head, hidden)).await?
        {
            return Err(shared(name, &other, head));
        }
        if directory.is_below(&own) {
            inside.push(directory);
        }
    }
    Ok(inside)
}

/// Whether an error is one of a table that nobody can open, which must not keep others from expiring.
fn is_broken(hidden: Hidden, error: &Error) -> bool {
    hidden == Hidden::IsSkipped
        && matches!(error.kind(), ErrorKind::DataCorrupt | ErrorKind::InvalidInput)
}

/// Whether a name leads to the same table, or to one in the same place: several tables may keep
/// their metadata in one directory.
async fn has_same(
    tables: &Tables,
    other: &TableName,
    (head, hidden): (&Table, Hidden),
) -> Result<bool> {
    let found = match tables.find(other).await {
        Err(error) if hidden.passes(&error) || is_broken(hidden, &error) => {
            tracing::warn!(table = %other, %error, "cannot see whose files a table has");
            None
        }
        found => found?,
    };
    let Some(other) = found else { return Ok(false) };
    let (other, own) = (other.metadata(), head.metadata());
    Ok(other.uuid() == own.uuid() || Place::of(other.location()) == Place::of(own.location()))
}

fn shared(name: &TableName, other: &TableName, head: &Table) -> Error {
    let location = head.metadata().location();
    Error::invalid(format!("tables `{name}` and `{other}` share the location `{location}`"))
        .with_note("files of one are no garbage of the other")
        .with_help("drop one of the two names: its files stay")
}

/// The table's directory, from where its metadata is.
fn directory_of(metadata_location: &str) -> Option<Place> {
    let Place { path, storage } = Place::of(metadata_location);
    let (directory, _) = path.rsplit_once('/')?;
    let directory = directory.strip_suffix("/metadata").unwrap_or(directory);
    Some(Place { path: directory.to_owned(), storage })
}
