//! The demo's data: generated payments or real purchases, as files that a user could have.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use futures::stream;
use icecore_core::{BatchStream, Date, Error, ErrorKind, Result};
use icecore_testkit::{Cdnow, PaymentOptions, Payments};
use serde::{Deserialize, Serialize};

use crate::args::DemoArgs;

/// Generated events come in one file for so many days: as many commits as a nightly job would make
/// in as many months.
const DAYS_PER_FILE: usize = 30;

/// Which world a demo project holds. It is written last, so that a half-made one is made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct World {
    /// About how many events were asked for; absent for real data.
    rows: Option<u64>,
    /// The seed; absent for real data.
    seed: Option<u64>,
    /// The file that real data came from.
    source: Option<PathBuf>,
    /// Files of events, in order of arrival.
    pub(super) events: Vec<PathBuf>,
    /// The file of outcomes.
    pub(super) outcomes: PathBuf,
    /// The days on which outcomes were observed.
    pub(super) observation_days: Vec<Date>,
    /// The date to score: the first midnight that knows all events.
    pub(super) scoring_date: Date,
    /// Lines of real data that could not be read.
    pub(super) malformed: Vec<String>,
}

impl World {
    /// The world that the project in `dir` holds, made if it is not there yet.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the project holds another world.
    pub(super) async fn make(dir: &Path, args: &DemoArgs) -> Result<Self> {
        let data = dir.join("data");
        let marker = data.join("world.json");
        let wanted = Self {
            rows: args.data.is_none().then_some(args.rows),
            seed: args.data.is_none().then_some(args.seed),
            source: args
                .data
                .as_deref()
                .map(std::path::absolute)
                .transpose()
                .map_err(unwritable)?,
            events: Vec::new(),
            outcomes: data.join("outcomes.parquet"),
            observation_days: Vec::new(),
            scoring_date: Date::from_days(0),
            malformed: Vec::new(),
        };
        if let Ok(text) = fs::read(&marker) {
            let found: Self = serde_json::from_slice(&text).map_err(|error| {
                Error::corrupt(format!("cannot read `{}`", marker.display())).with_source(error)
            })?;
            if found.is_same_as(&wanted) {
                return Ok(found);
            }
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("`{}` holds a demo of other data", dir.display()),
            )
            .with_note("its rows, its seed or its file differ")
            .with_help("name another directory with `--dir DIR`"));
        }
        fs::create_dir_all(&data).map_err(unwritable)?;
        let world = match &args.data {
            Some(file) => wanted.read(file, &data).await?,
            None => wanted.generate(args, &data).await?,
        };
        let text = serde_json::to_vec_pretty(&world).map_err(|error| {
            Error::internal("cannot write the demo's marker").with_source(error)
        })?;
        let partial = marker.with_extension("partial");
        fs::write(&partial, text)
            .and_then(|()| fs::rename(&partial, &marker))
            .map_err(unwritable)?;
        Ok(world)
    }

    /// Whether the data is real.
    pub(super) const fn is_real(&self) -> bool {
        self.source.is_some()
    }

    fn is_same_as(&self, wanted: &Self) -> bool {
        (self.rows, self.seed, &self.source) == (wanted.rows, wanted.seed, &wanted.source)
    }

    /// Real purchases.
    async fn read(mut self, file: &Path, data: &Path) -> Result<Self> {
        let cdnow = Cdnow::read(file)?;
        let events = data.join("events.parquet");
        write(vec![cdnow.events], &events).await?;
        write(vec![cdnow.outcomes], &self.outcomes).await?;
        self.events = vec![events];
        self.observation_days = cdnow.observation_days;
        self.scoring_date = cdnow.last_day;
        self.malformed = cdnow
            .malformed
            .iter()
            .map(|error| match error.location() {
                Some(location) => format!("{location}: {error}"),
                None => error.to_string(),
            })
            .collect();
        Ok(self)
    }

    /// Generated payments, one day in memory at a time.
    async fn generate(mut self, args: &DemoArgs, data: &Path) -> Result<Self> {
        let options =
            PaymentOptions { rows: args.rows, seed: args.seed, ..PaymentOptions::default() };
        let payments = Payments::new(options);
        write(vec![payments.outcomes()], &self.outcomes).await?;
        let mut days = payments.events();
        for number in 1.. {
            let batches: Vec<RecordBatch> = days.by_ref().take(DAYS_PER_FILE).collect();
            if batches.is_empty() {
                break;
            }
            let file = data.join(format!("events-{number:02}.parquet"));
            write(batches, &file).await?;
            self.events.push(file);
        }
        self.observation_days = payments.observation_days();
        self.scoring_date = options.end;
        Ok(self)
    }
}

/// Writes batches to a file that is there whole or not at all.
async fn write(batches: Vec<RecordBatch>, path: &Path) -> Result<()> {
    let Some(schema) = batches.first().map(RecordBatch::schema) else {
        return Err(Error::internal(format!("nothing to write to `{}`", path.display())));
    };
    let rows = BatchStream::new(schema, stream::iter(batches.into_iter().map(Ok)));
    let partial = path.with_extension("partial");
    icecore::files::write_parquet(rows, &partial).await?;
    fs::rename(&partial, path).map_err(unwritable)
}

fn unwritable(error: std::io::Error) -> Error {
    Error::unavailable("cannot write the demo's data").with_source(error)
}
