//! Views whose windows end at the spine's moments: computed from events when the spine is joined.

use arrow::array::{Array, RecordBatch};
use futures::StreamExt;
use icecore_core::{BatchStream, Error, Knowledge, PitOptions, Result};
use icecore_engine::{DataFrame, Engine};
use icecore_features::{AskedMoments, Definitions, MomentColumns, MomentRules, features_at};
use icecore_pit::MomentRows;
use serde::{Deserialize, Serialize};

use crate::lock::{DatasetPlan, LockedView};

/// The definition that windows were computed by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedWindows {
    /// The view and its entities, as a file of definitions has them.
    pub definition: String,
}

impl LockedWindows {
    /// The definitions that were locked.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the lock does not hold them.
    pub(crate) fn definitions(&self) -> Result<Definitions> {
        Definitions::parse("lock", &self.definition).map_err(|error| {
            Error::corrupt("the lock does not say how windows are computed").with_source(error)
        })
    }
}

/// The column that says whether a row's moment was answered.
pub(crate) fn answered_column(view: &str) -> String {
    format!("{view}__answered")
}

/// The features of a view at the moments of a spine.
pub(crate) async fn moment_rows(
    engine: &Engine,
    (plan, view, windows): (&DatasetPlan, &LockedView, &LockedWindows),
    spine: DataFrame,
    options: PitOptions,
) -> Result<MomentRows> {
    let definitions = windows.definitions()?;
    let own = definitions.view(view.view())?;
    let asked = AskedMoments::of(engine, spine, &view.keys, &plan.event_timestamp).await?;
    let rules = MomentRules {
        ttl: view.ttl,
        delay: view.delay,
        strict: view.strict || options.strict,
        by_created: view.knowledge == Knowledge::Created,
    };
    let rows = features_at(engine, (&definitions, own), &plan.pins(), &asked, rules).await?;
    Ok(MomentRows { rows, newest: MomentColumns::NEWEST.to_owned() })
}

/// Makes sure that every moment was answered, and takes the columns away that say so.
///
/// The spine is read once for its moments and once for its rows. If the two differ, a row would be
/// without features that it has.
pub(crate) fn all_answered(plan: &DatasetPlan, joined: BatchStream) -> Result<BatchStream> {
    let schema = joined.schema();
    let mut looked_at = Vec::new();
    for view in plan.views.iter().filter(|view| view.windows.is_some()) {
        let at = |name: &str| {
            let found = schema.column_with_name(name);
            found
                .map(|(at, _)| at)
                .ok_or_else(|| Error::internal(format!("a join gave no column `{name}`")))
        };
        let keys = view.keys.iter().map(|(_, spine)| spine.as_str());
        let given = keys.chain([plan.event_timestamp.as_str()]).map(at);
        looked_at.push((at(&answered_column(&view.name))?, given.collect::<Result<Vec<_>>>()?));
    }
    if looked_at.is_empty() {
        return Ok(joined);
    }
    let kept: Vec<usize> = (0..schema.fields().len())
        .filter(|at| looked_at.iter().all(|(answered, _)| answered != at))
        .collect();
    let output = schema.project(&kept)?.into();
    let rows = joined.map(move |batch| {
        let batch = batch?;
        for (answered, given) in &looked_at {
            check(&batch, *answered, given)?;
        }
        Ok(batch.project(&kept)?)
    });
    Ok(BatchStream::new(output, rows))
}

fn check(batch: &RecordBatch, answered: usize, given: &[usize]) -> Result<()> {
    let answered = batch.column(answered);
    let missing = (0..batch.num_rows()).any(|row| {
        answered.is_null(row) && given.iter().all(|column| batch.column(*column).is_valid(row))
    });
    match missing {
        false => Ok(()),
        true => Err(Error::invalid("the spine gives other rows each time it is read")
            .with_note("windows that end at the spine's moments are computed from a first reading")
            .with_help(
                "take `random()` and the like out of the spine, or write it to a table first",
            )),
    }
}
