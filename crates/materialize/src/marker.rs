//! What a store was last filled with, and which run is filling it. It is kept in the store itself,
//! so that a store that was emptied, or another one, is known for what it is.
//!
//! It is a row, because a row is written only where nothing newer is. Each step of a run begins
//! with writing it under a greater number than before: of two that begin at once one comes too
//! late, and whoever was taken over from finds out before its next write, and ends. A run that said
//! a short time ago that it goes on is left alone by those that were not told to take over.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use icecore_core::{
    Error, ErrorKind, OnlineChange, OnlineStore, PinnedTable, Result, RowVersion, Timestamp,
};
use icecore_online::row_prefix;
use serde::{Deserialize, Serialize};
use tracing::debug;

use crate::report::MaterializeOptions;

/// How often a run says that it goes on.
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// A run that has said nothing for so long is taken not to have come to its end.
const SILENCE_MAX: Duration = Duration::from_secs(120);
/// Older than every marker.
const NOTHING: RowVersion =
    RowVersion { event: Timestamp::from_micros(0), created: Timestamp::from_micros(i64::MIN) };

/// How far a view is in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    /// The state of the table that the store has; absent before the first time.
    pub(crate) source: Option<PinnedTable>,
    /// The state that a job was on its way to. Until it arrives, rows of both may be there.
    pub(crate) towards: Option<PinnedTable>,
    /// The schema of the rows.
    pub(crate) schema: u32,
    /// What else decides about rows: where their keys and times come from.
    pub(crate) shape: String,
    /// The time of the job that wrote it.
    pub(crate) at: Timestamp,
    /// When that job last said that it goes on. Kept by [`Claim`], as is `birth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) alive: Option<Timestamp>,
    /// Stays the same from run to run, until the store is emptied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) birth: Option<u64>,
    /// Of tiles: the number of the last step that came to its end.
    #[serde(default)]
    pub(crate) generation: u64,
    /// Of tiles: how far in each queue of pushed events they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) covered: BTreeMap<String, u64>,
}

impl Marker {
    pub(crate) async fn read(store: &dyn OnlineStore, view: &str) -> Result<Option<Self>> {
        Ok(find_one(store, view).await?.marker)
    }

    /// Those of several views, in one round trip.
    pub(crate) async fn read_all(
        store: &dyn OnlineStore,
        views: &[&str],
    ) -> Result<Vec<Option<Self>>> {
        Ok(find(store, views).await?.into_iter().map(|found| found.marker).collect())
    }

    /// Whether a job is on its way that said so a short time ago. One that was killed since looks
    /// the same.
    pub(crate) fn is_running(&self, now: Timestamp) -> bool {
        self.towards.is_some() && self.silence(now) < SILENCE_MAX
    }

    /// For how long nothing was heard of the job.
    fn silence(&self, now: Timestamp) -> Duration {
        let micros = now.micros().saturating_sub(self.heard().micros());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// When something was heard of the job for the last time.
    fn heard(&self) -> Timestamp {
        self.alive.unwrap_or(self.at)
    }

    /// What there is to begin from where a job of an earlier release has said something, too: it
    /// knows nothing of this marker, and fills the view from its own. So nobody can tell what is
    /// there.
    fn beside(self, old: &Self) -> Self {
        // Of those that are on their way, the one that was heard last may have to be waited for.
        let both = [&self, old].into_iter().filter(|marker| marker.towards.is_some());
        let (towards, at, alive) = match both.max_by_key(|marker| marker.heard()) {
            Some(last) => (last.towards.clone(), last.at, last.alive),
            None => (None, self.at, self.alive),
        };
        Self { source: None, towards, at, alive, ..self }
    }
}

/// What a store says about a view.
#[derive(Debug)]
struct Found {
    version: RowVersion,
    /// What cannot be read is as good as nothing: the whole table is read then.
    marker: Option<Marker>,
    /// Whether there is one where earlier releases kept it.
    is_old: bool,
}

impl Found {
    fn of_row(row: &Bytes) -> Self {
        let json = row.get(RowVersion::LEN..).unwrap_or_default();
        Self {
            version: RowVersion::of_row(row).unwrap_or(NOTHING),
            marker: serde_json::from_slice(json).ok(),
            is_old: false,
        }
    }

    /// Earlier releases kept the marker as a value.
    fn of_value(marker: Option<Marker>) -> Self {
        // A run that they did not end wrote tiles under the number that came next.
        let number = marker.as_ref().map_or(0, |marker| marker.generation.saturating_add(1));
        let event = Timestamp::from_micros(i64::try_from(number).unwrap_or(i64::MAX));
        Self { version: RowVersion { event, ..NOTHING }, is_old: marker.is_some(), marker }
    }

    fn of_both(row: &Bytes, old: Option<Marker>) -> Self {
        let found = Self::of_row(row);
        let Some(old) = old else { return found };
        let marker = found.marker.map(|marker| marker.beside(&old));
        Self { marker, is_old: true, ..found }
    }
}

/// Never from a cache: whether rows are believed depends on it.
async fn find(store: &dyn OnlineStore, views: &[&str]) -> Result<Vec<Found>> {
    let keys: Vec<Bytes> = views.iter().map(|view| key(view)).collect();
    // A job of an earlier release may have begun beside the marker that is there, so both are read.
    let old_keys: Vec<String> = views.iter().map(|view| old_key(view)).collect();
    let (rows, old) = futures::try_join!(store.rows_now(&keys), store.get(&old_keys))?;
    let old = old.into_iter().map(|value| serde_json::from_slice::<Marker>(&value?).ok());
    let found = |(row, old): (Option<Bytes>, Option<Marker>)| match row {
        Some(row) => Found::of_both(&row, old),
        None => Found::of_value(old),
    };
    Ok(rows.into_iter().zip(old).map(found).collect())
}

async fn find_one(store: &dyn OnlineStore, view: &str) -> Result<Found> {
    let found = find(store, &[view]).await?.pop();
    found.ok_or_else(|| no_answer(store))
}

fn no_answer(store: &dyn OnlineStore) -> Error {
    Error::internal(format!("`{}` gives no answer", store.location()))
}

/// A run's hold on a view. It has it as long as nobody else has begun since.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    store: &'a dyn OnlineStore,
    view: &'a str,
    /// The version of the marker as this run has found it, or left it.
    version: RowVersion,
    is_old: bool,
    /// Whether the marker is one that this run has written.
    has_begun: bool,
    birth: u64,
    /// The time of the job, which began then.
    now: Timestamp,
    started: Instant,
    renew_every: Duration,
}

impl<'a> Claim<'a> {
    /// What there is to begin from. Nothing is held yet.
    ///
    /// # Errors
    ///
    /// `Conflict` while another run is on its way, unless this one is to take over from it. A job
    /// that takes longer than its schedule would else never come to its end. A dry run is in
    /// nobody's way.
    pub(crate) async fn open(
        store: &'a dyn OnlineStore,
        view: &'a str,
        (now, options): (Timestamp, &MaterializeOptions),
    ) -> Result<(Self, Option<Marker>)> {
        let Found { version, marker, is_old } = find_one(store, view).await?;
        if !options.take_over
            && !options.dry_run
            && let Some(marker) = marker.as_ref().filter(|marker| marker.is_running(now))
        {
            return Err(is_underway(view, marker));
        }
        let birth = marker.as_ref().and_then(|marker| marker.birth).unwrap_or_else(random);
        let (started, renew_every, has_begun) = (Instant::now(), RENEW_EVERY, false);
        let claim =
            Self { store, view, version, is_old, has_begun, birth, now, started, renew_every };
        Ok((claim, marker))
    }

    /// The view.
    pub(crate) const fn view(&self) -> &'a str {
        self.view
    }

    /// The number of the step that has begun: greater than those of all steps before. It is not
    /// below the time of the job, so rows whose marker was lost have smaller ones, too.
    pub(crate) fn number(&self) -> u64 {
        u64::try_from(self.version.event.micros()).unwrap_or(0)
    }

    /// Begins a step, and takes the view over from whoever had it.
    ///
    /// # Errors
    ///
    /// `Conflict` if somebody else has begun since the marker was read.
    pub(crate) async fn begin(&mut self, marker: &Marker) -> Result<()> {
        let next = self.version.event.micros().saturating_add(1);
        // The number tells steps apart; this does, too, where a store is emptied between them.
        let created = Timestamp::from_micros(random().cast_signed());
        let event = Timestamp::from_micros(self.now.micros().max(next));
        let version = RowVersion { event, created };
        self.write(marker, version).await
    }

    /// Says what the store has now.
    ///
    /// # Errors
    ///
    /// `Conflict` if somebody else has begun since.
    pub(crate) async fn end(&mut self, marker: &Marker) -> Result<()> {
        self.write(marker, self.version).await
    }

    /// Fails if the view is not this run's any more. This is asked before every write; a write that
    /// is on its way while another run begins is not caught by it.
    ///
    /// # Errors
    ///
    /// `Conflict` if somebody else has begun, or the store was emptied.
    pub(crate) async fn hold(&self) -> Result<()> {
        match self.check().await? {
            Some(marker) if marker.silence(self.present()) >= self.renew_every => {
                self.put(&marker, self.version, self.present()).await
            }
            _ => Ok(()),
        }
    }

    /// Says that nobody has to wait for this run any more: it has failed, or is stopped. Where that
    /// cannot be said either, they wait until it has been silent for long.
    async fn let_go(&self) {
        // Before it has begun, what is there is another one's.
        if !self.has_begun {
            return;
        }
        let Ok(Some(marker)) = self.check().await else { return };
        let silence = i64::try_from(SILENCE_MAX.as_micros()).unwrap_or(i64::MAX);
        let alive = Timestamp::from_micros(self.now.micros().saturating_sub(silence));
        if let Err(error) = self.put(&marker, self.version, alive).await {
            debug!(view = self.view, %error, "the view was not let go");
        }
    }

    /// What a run is told that has lost its view.
    pub(crate) fn lost(&self) -> Error {
        let view = self.view;
        let message = format!("another materialization of `{view}` is running or has taken over");
        Error::new(ErrorKind::Conflict, message)
            .with_note("a store that is emptied during a run looks the same")
            .with_help("run it again when that has ended")
    }

    async fn write(&mut self, marker: &Marker, version: RowVersion) -> Result<()> {
        // A store that was emptied takes any row, so it is looked at first.
        self.check().await?;
        self.put(marker, version, self.present()).await?;
        (self.version, self.has_begun) = (version, true);
        if self.is_old {
            self.store.delete(&[old_key(self.view)]).await?;
            self.is_old = false;
        }
        Ok(())
    }

    /// The marker, if it is as this run has left it.
    async fn check(&self) -> Result<Option<Marker>> {
        let found = self.find().await?;
        match found.version == self.version {
            true => Ok(found.marker),
            false => Err(self.lost()),
        }
    }

    /// What is there. What an earlier release says beside the row changes nothing for a run that
    /// is on its way; the next one looks.
    async fn find(&self) -> Result<Found> {
        let rows = self.store.rows_now(&[key(self.view)]).await?;
        match rows.into_iter().next().ok_or_else(|| no_answer(self.store))? {
            Some(row) => Ok(Found::of_row(&row)),
            None => find_one(self.store, self.view).await,
        }
    }

    /// Puts a marker in the place of the one that this run has left.
    async fn put(&self, marker: &Marker, version: RowVersion, alive: Timestamp) -> Result<()> {
        let (alive, birth) = (Some(alive), Some(self.birth));
        let marker = Marker { alive, birth, ..marker.clone() };
        let json = serde_json::to_vec(&marker)
            .map_err(|error| Error::internal("cannot write the marker").with_source(error))?;
        let mut row = BytesMut::with_capacity(RowVersion::LEN + json.len());
        row.put_slice(&version.to_bytes());
        row.put_slice(&json);
        let (key, row) = (key(self.view), Some(row.freeze()));
        let change = OnlineChange { key, row, until: self.version };
        if self.store.apply(vec![change]).await?.stale == 0 {
            return Ok(());
        }
        // A store repeats a request whose answer was lost, and then meets what it has written.
        match self.find().await?.version == version {
            true => Ok(()),
            false => Err(self.lost()),
        }
    }

    fn present(&self) -> Timestamp {
        let elapsed = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.now.micros().saturating_add(elapsed))
    }
}

/// Does the work of a run, and says meanwhile that it goes on. It ends where the view is lost, and
/// not where the store gives no answer once: the next write finds out whether that lasts.
pub(crate) async fn keep<T>(
    claim: Option<&Claim<'_>>,
    mut work: impl Future<Output = Result<T>> + Unpin,
) -> Result<T> {
    let Some(claim) = claim else { return work.await };
    loop {
        if let Ok(done) = tokio::time::timeout(claim.renew_every, &mut work).await {
            return done;
        }
        match claim.hold().await {
            Err(error) if error.kind() == ErrorKind::Conflict => return Err(error),
            Err(error) => debug!(view = claim.view, %error, "nobody was told that the run goes on"),
            Ok(()) => {}
        }
    }
}

/// What a run came to. Nobody has to wait for one that failed or was stopped.
pub(crate) async fn ended<T>(claim: &Claim<'_>, outcome: Result<T>) -> Result<T> {
    if outcome.is_err() {
        claim.let_go().await;
    }
    outcome
}

fn is_underway(view: &str, marker: &Marker) -> Error {
    let message = format!("another materialization of `{view}` is running");
    Error::new(ErrorKind::Conflict, message)
        .with_note(format!(
            "it began at {}, and said at {} that it goes on",
            marker.at,
            marker.heard()
        ))
        .with_help(format!(
            "run it again when that has ended, or take over from it: \
             `icecore online materialize {view} --take-over`"
        ))
}

fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// Names of views have no `~`, so no view's rows are found under this.
fn key(view: &str) -> Bytes {
    row_prefix(&format!("{view}~m"))
}

/// Where earlier releases kept the marker.
fn old_key(view: &str) -> String {
    format!("icecore:view:{view}")
}

#[cfg(test)]
mod tests;
