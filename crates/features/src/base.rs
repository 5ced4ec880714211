//! From which state of a feature table one can go on.

use std::collections::BTreeMap;

use icecore_catalog::TableDescription;
use icecore_core::{
    Error, ErrorKind, FeatureView, PinnedTable, Result, SnapshotId, SnapshotInfo, TableName,
    Timestamp, WriteMode,
};
use icecore_engine::Engine;
use serde::{Deserialize, Serialize};

use crate::job::{COMPLETE, DEFINITION_HASH, INCREMENTAL_FROM, RANGE, SOURCES, VIEW, parse_range};

/// Table property: what the table holds, where no commit says it.
const STANDING: &str = "icecore.features.complete";

/// What a feature table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The sources that all its rows were computed from, and those that some of them were computed
    /// from since.
    pub(crate) sources: Vec<Vec<PinnedTable>>,
    /// Where the rows of a grid end.
    pub(crate) to: Option<Timestamp>,
}

/// Whether one can go on.
#[derive(Debug)]
pub(crate) enum Base {
    /// There is nothing yet.
    Nothing,
    /// From here.
    Found(Standing),
    /// No, for this reason.
    No(Error),
}

/// The property's value.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    view: String,
    definition_hash: String,
    snapshot: SnapshotId,
    sources: Vec<PinnedTable>,
    to: Option<Timestamp>,
}

/// What one snapshot says about itself.
enum Claim {
    /// Rows only moved to other files.
    Moved,
    /// All rows are of these sources.
    All(Standing),
    /// All rows are of these sources once what others did after this snapshot is, too.
    Since(Standing, SnapshotId),
    /// Some rows are.
    Some(Standing),
    /// Something that one cannot go on from.
    Other(Error),
}

/// Looks for a state to go on from, newest first.
pub(crate) async fn find(
    engine: &Engine,
    table: &TableName,
    view: &FeatureView,
    definition_hash: &str,
    history: &[SnapshotInfo],
) -> Result<Base> {
    let lineage: Vec<&SnapshotInfo> = history.iter().rev().filter(|s| s.on_main).collect();
    if lineage.is_empty() {
        return Ok(Base::Nothing);
    }
    let marker = marker(&engine.catalog().describe(table).await?);
    let marker = marker.filter(|m| m.view == view.name && m.definition_hash == definition_hash);
    let mut newer: Vec<Standing> = Vec::new();
    let mut until: Option<SnapshotId> = None;
    let mut of_all: Option<Standing> = None;
    for snapshot in lineage {
        if until == Some(snapshot.id) {
            break;
        }
        if of_all.is_none()
            && let Some(marker) = marker.as_ref().filter(|m| m.snapshot == snapshot.id)
        {
            of_all = Some(Standing { sources: vec![marker.sources.clone()], to: marker.to });
            break;
        }
        match claim(snapshot, view, definition_hash) {
            Claim::Moved => {}
            Claim::All(standing) if of_all.is_none() => {
                of_all = Some(standing);
                break;
            }
            Claim::Since(standing, base) if of_all.is_none() => {
                (of_all, until) = (Some(standing), Some(base));
            }
            Claim::All(standing) | Claim::Since(standing, _) | Claim::Some(standing) => {
                newer.push(standing);
            }
            Claim::Other(error) => return Ok(Base::No(error)),
        }
    }
    let Some(mut standing) = of_all else {
        return Ok(Base::No(nowhere(table)));
    };
    for other in newer {
        standing.to = standing.to.max(other.to);
        standing.sources.extend(other.sources);
    }
    standing.sources.dedup();
    Ok(Base::Found(standing))
}

fn nowhere(table: &TableName) -> Error {
    Error::invalid(format!("nothing says which state of the source `{table}` was computed from"))
        .with_note("only parts of it were computed, or the snapshots that say it were expired")
}

fn claim(snapshot: &SnapshotInfo, view: &FeatureView, definition_hash: &str) -> Claim {
    // Files are rewritten, rows are not.
    if snapshot.operation == "replace" {
        return Claim::Moved;
    }
    let field = |name: &str| snapshot.summary.get(name).map(String::as_str);
    if field(VIEW) != Some(&view.name) {
        return Claim::Other(foreign(snapshot, view, field(VIEW)));
    }
    if field(DEFINITION_HASH) != Some(definition_hash) {
        let error = Error::invalid(format!(
            "the definition of `{}` changed since its rows were computed",
            view.name
        ));
        let then = field(DEFINITION_HASH).unwrap_or("unknown");
        return Claim::Other(
            error
                .with_note(format!("snapshot `{}` is of definition {}", snapshot.id, short(then)))
                .with_note(format!("the definition now is {}", short(definition_hash))),
        );
    }
    let sources = field(SOURCES).and_then(|text| serde_json::from_str(text).ok());
    let Some(sources) = sources else {
        return Claim::Other(Error::corrupt(format!(
            "snapshot `{}` of the features of `{}` does not say what it read",
            snapshot.id, view.name
        )));
    };
    let to = field(RANGE).and_then(|text| parse_range(text).ok()).and_then(|range| range.to);
    let standing = Standing { sources: vec![sources], to };
    if field(COMPLETE) != Some("true") {
        // The other rows are gone.
        if view.write == WriteMode::Overwrite {
            return Claim::Other(Error::invalid(format!(
                "only a part of `{}` was computed, over everything else",
                view.name
            )));
        }
        return Claim::Some(standing);
    }
    match field(INCREMENTAL_FROM).and_then(|id| id.parse().ok()).map(SnapshotId::new) {
        Some(base) => Claim::Since(standing, base),
        None => Claim::All(standing),
    }
}

/// The error for a snapshot of others. Computing everything again removes what they wrote, so that
/// is not what to do about the rows of another view.
fn foreign(snapshot: &SnapshotInfo, view: &FeatureView, other: Option<&str>) -> Error {
    let name = &view.name;
    let what = match other {
        Some(other) => format!("feature view `{other}` wrote to it"),
        None => format!("others wrote to it ({})", snapshot.operation),
    };
    let error = Error::invalid(format!(
        "the rows of `{name}` are not only those of its definition: {what}"
    ))
    .with_note(format!("snapshot `{}`", snapshot.id));
    match other {
        None => error,
        Some(other) => error.with_help(format!(
            "name another `table` for `{name}`; only if `{other}` is no more, compute over its rows: `icecore features compute {name} --full`"
        )),
    }
}

/// A hash as people compare it.
pub(crate) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// What the table's properties say of what it holds, as it stands there; nothing if there is no
/// table.
pub(crate) async fn written_down(engine: &Engine, table: &TableName) -> Result<Option<String>> {
    match engine.catalog().describe(table).await {
        Ok(mut described) => Ok(described.properties.remove(STANDING)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn marker(table: &TableDescription) -> Option<Marker> {
    serde_json::from_str(table.properties.get(STANDING)?).ok()
}

/// The state of a view's table of which its properties say that it holds everything.
pub(crate) async fn settled(
    engine: &Engine,
    table: &TableName,
    view: &FeatureView,
) -> Result<Option<SnapshotId>> {
    match engine.catalog().describe(table).await {
        Ok(described) => {
            let marker = marker(&described).filter(|marker| marker.view == view.name);
            Ok(marker.map(|marker| marker.snapshot))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes down that a state of a table holds what these sources give, though no commit was needed.
pub(crate) async fn mark(
    engine: &Engine,
    table: &TableName,
    view: &FeatureView,
    definition_hash: &str,
    (snapshot, sources, to): (SnapshotId, &[PinnedTable], Option<Timestamp>),
) -> Result<()> {
    let marker = Marker {
        view: view.name.clone(),
        definition_hash: definition_hash.to_owned(),
        snapshot,
        sources: sources.to_vec(),
        to,
    };
    // Names and numbers always serialize.
    let text = serde_json::to_string(&marker).unwrap_or_default();
    let set = BTreeMap::from([(STANDING.to_owned(), text)]);
    engine.catalog().set_properties(table, set, Vec::new()).await
}
