//! Taking events.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::RecordBatch;
use icecore_core::{Clock, Error, ErrorKind, OnlineForm, Result};
use icecore_engine::Engine;
use icecore_features::Definitions;
use icecore_materialize::PushedEvents;
use icecore_online::FeatureStore;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::queue::{NewBatch, Queue, to_bytes};
use crate::source::{Lane, Plan};
use crate::{PushOptions, PushStatus, Target};

/// The longest key of a batch.
const KEY_MAX: usize = 256;
/// How long a push waits for the online store. What is late is written later.
const ONLINE_DEADLINE: Duration = Duration::from_secs(1);

/// Events of one push.
#[derive(Debug, Clone)]
pub struct Push {
    /// The push source.
    pub source: String,
    /// The events, by column.
    pub columns: BTreeMap<String, Vec<Value>>,
    /// Where they go.
    pub to: Target,
    /// A name for this batch: a repetition changes nothing.
    pub key: Option<String>,
}

impl Push {
    /// Pushes these events everywhere.
    pub fn new(source: impl Into<String>, columns: BTreeMap<String, Vec<Value>>) -> Self {
        Self { source: source.into(), columns, to: Target::default(), key: None }
    }
}

/// Whether the online store has events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnlineOutcome {
    /// It has them. Of a batch that was pushed before: it has had them, and has what became of
    /// them since.
    Written,
    /// It did not answer in time; they are written when it does.
    Later,
    /// It was not meant to have them, or there is none.
    None,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PushReceipt {
    /// The push source.
    pub source: String,
    /// Events that were accepted.
    pub rows: u64,
    /// The batch's place in the queue.
    pub position: u64,
    /// Whether the same batch was accepted before.
    pub repeated: bool,
    /// Whether the online store has them.
    pub online: OnlineOutcome,
}

/// Takes events for the push sources of a project.
#[derive(Debug)]
pub struct Pushes {
    pub(crate) engine: Engine,
    pub(crate) definitions: Arc<Definitions>,
    pub(crate) store: Option<FeatureStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: PushOptions,
    pub(crate) lanes: Vec<Lane>,
    /// Whether what is under way is to leave off.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Pushes {
    /// Takes events for all push sources of the definitions; their queues are folders of `dir`.
    #[must_use]
    pub fn new(
        (engine, definitions): (Engine, Arc<Definitions>),
        store: Option<FeatureStore>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        options: PushOptions,
    ) -> Self {
        let sources = definitions.push_sources.iter();
        let lane = |source: &icecore_core::PushSource| {
            Lane::new(source.clone(), dir.join(&source.name), &options)
        };
        let lanes = sources.map(lane).collect();
        let stopping = watch::Sender::new(false);
        Self { engine, definitions, store, clock, options, lanes, stopping }
    }

    /// The views that see the events of a source at once.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown source.
    pub fn views(&self, source: &str) -> Result<Vec<String>> {
        let table = &self.lane(source)?.source.table;
        Ok(self.definitions.views_of(table).map(|view| view.name.clone()).collect())
    }

    /// The push source whose events a view sees.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown view, and for one of whose table there is no source.
    pub fn source_of(&self, view: &str) -> Result<&str> {
        let known = &self.definitions.view(view)?.name;
        let sees = |lane: &&Lane| {
            self.definitions.views_of(&lane.source.table).any(|view| view.name == *known)
        };
        let lane = self.lanes.iter().find(sees).ok_or_else(|| {
            Error::not_found(format!("no push source has the events of feature view `{known}`"))
                .with_help("declare one, with the view's table: `[[push_source]]`, `table = \"…\"`")
        })?;
        Ok(&lane.source.name)
    }

    /// Where the queues stand.
    #[must_use]
    pub fn status(&self) -> Vec<PushStatus> {
        self.lanes.iter().map(Lane::status).collect()
    }

    /// Takes events. They are on the disk when this returns.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown source or column; `InvalidInput` with every value that does not
    /// fit as a [related](Error::related) error, and nothing accepted; `Conflict` for other events
    /// under a known key; `LimitExceeded` for too many rows; `Unavailable` while too many wait for
    /// their commit or for the online store, if the disk fails, and where another process has the
    /// queue.
    pub async fn push(&self, push: Push) -> Result<PushReceipt> {
        let lane = self.lane(&push.source)?;
        let count = push.columns.values().map(Vec::len).max().unwrap_or(0);
        self.check_count(count)?;
        let plan = lane.plan(&self.engine, &self.definitions).await?;
        let rows = plan.rows(&plan.known(push.columns))?;
        self.accept(lane, (&plan, rows), (push.to, push.key)).await
    }

    /// The same for rows at hand, of the table's columns.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub async fn push_rows(
        &self,
        source: &str,
        rows: RecordBatch,
        to: Target,
        key: Option<String>,
    ) -> Result<PushReceipt> {
        let lane = self.lane(source)?;
        self.check_count(rows.num_rows())?;
        let plan = lane.plan(&self.engine, &self.definitions).await?;
        if rows.schema().fields() != plan.columns.schema.fields() {
            return Err(Error::invalid(format!(
                "the rows do not have the columns of `{}`",
                lane.source.table
            )));
        }
        plan.check(&rows)?;
        self.accept(lane, (&plan, rows), (to, key)).await
    }

    async fn accept(
        &self,
        lane: &Lane,
        (plan, rows): (&Plan, RecordBatch),
        (to, key): (Target, Option<String>),
    ) -> Result<PushReceipt> {
        if let Some(key) = &key
            && (key.is_empty() || key.len() > KEY_MAX)
        {
            return Err(Error::invalid(format!("a key has 1 to {KEY_MAX} bytes")));
        }
        if to == Target::Online {
            self.check_online_alone(lane)?;
        }
        let queue = lane.queue()?;
        let count = rows.num_rows() as u64;
        let events = to_bytes(&plan.columns.sign(&rows)?)?;
        let at = self.clock.now();
        let content = match &key {
            Some(_) => to_bytes(&rows)?,
            None => events.clone(),
        };
        let new = NewBatch { key, to, at, rows: count as u32, events, content };
        let accepted = queue.append(new).await?;
        let mut receipt = PushReceipt {
            source: lane.source.name.clone(),
            rows: count,
            position: accepted.position,
            repeated: accepted.is_repeated,
            online: OnlineOutcome::None,
        };
        if !accepted.is_repeated {
            lane.accepted_rows.fetch_add(count, Ordering::Relaxed);
        }
        if self.store.is_none() && !accepted.is_repeated {
            // Nobody is promised that it is written later.
            queue.written(accepted.position);
        }
        if self.store.is_none() || !to.is_online() {
            return Ok(receipt);
        }
        receipt.online = match accepted.is_repeated {
            true => self.online_again(lane, &queue, accepted.position).await,
            false => self.online_now(lane, (plan, &queue), (accepted.position, &rows)).await,
        };
        Ok(receipt)
    }

    async fn online_now(
        &self,
        lane: &Lane,
        (plan, queue): (&Plan, &Queue),
        (position, rows): (u64, &RecordBatch),
    ) -> OnlineOutcome {
        let Some(_underway) = lane.underway(position) else { return OnlineOutcome::Later };
        let name = queue.name();
        let written = self.write_online(plan, &name, (position, rows));
        match tokio::time::timeout(ONLINE_DEADLINE, written).await {
            Ok(Ok(())) => {
                queue.written(position);
                OnlineOutcome::Written
            }
            failed => {
                tracing::warn!(source = lane.source.name, ?failed, "events are not online yet");
                OnlineOutcome::Later
            }
        }
    }

    /// What becomes of a batch that was pushed before. One that the store has had is not written
    /// again: its rows may have been corrected since, or deleted, and would be what they were. One
    /// that the store lacks is written as it is when others catch up.
    async fn online_again(&self, lane: &Lane, queue: &Queue, position: u64) -> OnlineOutcome {
        let Some(_underway) = lane.underway(position) else { return OnlineOutcome::Later };
        // A commit that is under way decides from where each view has it, and catches up then.
        let Ok(_alone) = lane.committing.try_lock() else { return OnlineOutcome::Later };
        let Some(batch) = queue.behind_at(position) else { return OnlineOutcome::Written };
        let is_in_table = batch.to.is_offline() && position < queue.committed_end();
        let written = self.write_needed(lane, queue, (&batch, is_in_table));
        match tokio::time::timeout(ONLINE_DEADLINE, written).await {
            Ok(Ok(true)) => OnlineOutcome::Written,
            failed => {
                tracing::debug!(source = lane.source.name, ?failed, "events are not online yet");
                OnlineOutcome::Later
            }
        }
    }

    async fn write_online(
        &self,
        plan: &Plan,
        queue: &str,
        (position, rows): (u64, &RecordBatch),
    ) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let events = PushedEvents { queue, position, rows, now: self.clock.now() };
        let of = (&self.engine, &*self.definitions);
        Box::pin(plan.views.apply(of, store, &events)).await?;
        Ok(())
    }

    pub(crate) fn lane(&self, source: &str) -> Result<&Lane> {
        let known = self.definitions.push_source(source)?;
        let lane = self.lanes.iter().find(|lane| lane.source.name == known.name);
        lane.ok_or_else(|| Error::internal("a push source has no queue"))
    }

    fn check_count(&self, rows: usize) -> Result<()> {
        let max = self.options.rows_max;
        if rows == 0 {
            return Err(Error::invalid("no event is pushed").with_help(
                "send a value of every column for each event: {\"df\": {\"column\": [1]}}",
            ));
        }
        if rows > max {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{rows} events are pushed at once, and {max} may be"),
            )
            .with_help("send them in several requests"));
        }
        Ok(())
    }

    /// Windows are those of the table: an event that never gets there would count only online.
    fn check_online_alone(&self, lane: &Lane) -> Result<()> {
        let mut views = self.definitions.views_of(&lane.source.table);
        match views.find(|view| view.online == OnlineForm::Tiles) {
            None => Ok(()),
            Some(view) => Err(Error::invalid(format!(
                "events of `{}` cannot go `online` alone",
                lane.source.name
            ))
            .with_note(format!("`{}` computes windows of them, online as offline", view.name))
            .with_help("push them `to` `online_and_offline`")),
        }
    }
}
