//! Feature rows as they were at each moment: one state of the table after the other.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;
use icecore_core::{Error, PinnedTable, Result, SnapshotCatalog, Timestamp};
use icecore_engine::Engine;

use crate::sorted::Rows;
use crate::source::{FeatureRows, FeatureSource, narrowed, preparing};
use crate::spine::Bounds;
use crate::table::JoinTable;

/// The states that led to a pin, oldest first, each with the moment of its commit.
#[derive(Debug, Clone)]
pub(crate) struct States {
    engine: Engine,
    pins: Vec<PinnedTable>,
    committed_at: Arc<[i64]>,
    schema: SchemaRef,
    /// Whether there were states before these, which have expired.
    expired: bool,
}

impl States {
    /// Finds the states that led to `pin`.
    pub(crate) async fn find(engine: &Engine, pin: &PinnedTable) -> Result<Self> {
        let catalog = engine.catalog();
        let schema = catalog.schema(pin).await?;
        let history = catalog.history(&pin.table).await?;
        let (mut states, mut next) = (Vec::new(), Some(pin.snapshot));
        while let Some(info) = history.iter().find(|info| Some(info.id) == next) {
            states.push((info.committed_at.micros(), info.id));
            next = info.parent;
        }
        states.reverse();
        // A clock that was set back between two commits does not reorder them.
        let mut latest = i64::MIN;
        let committed_at = states.iter().map(|(at, _)| {
            latest = latest.max(*at);
            latest
        });
        let committed_at: Arc<[i64]> = committed_at.collect();
        let pins = states.into_iter().map(|(_, snapshot)| PinnedTable { snapshot, ..pin.clone() });
        let expired = next.is_some() && pin.snapshot != PinnedTable::EMPTY;
        Ok(Self { engine: engine.clone(), pins: pins.collect(), committed_at, schema, expired })
    }

    /// The states that a spine of these bounds looks at, each with its number and the part of the
    /// bounds that falls in its time.
    fn looked_at(&self, bounds: &Bounds) -> Vec<(usize, Bounds)> {
        let Some((first, last)) = bounds.moments else { return Vec::new() };
        let ends = self.committed_at.iter().skip(1).map(|next| next - 1).chain([i64::MAX]);
        let times = self.committed_at.iter().copied().zip(ends).enumerate();
        times
            .filter_map(|(epoch, (from, to))| {
                let moments = (first.max(from), last.min(to));
                let bounds = Bounds { moments: Some(moments), keys: bounds.keys.clone() };
                (moments.0 <= moments.1).then_some((epoch, bounds))
            })
            .collect()
    }
}

#[async_trait]
impl FeatureSource for States {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn epochs(&self) -> Option<Arc<[i64]>> {
        Some(Arc::clone(&self.committed_at))
    }

    async fn plan(&self, _table: &Arc<JoinTable>) -> Result<Arc<dyn FeatureRows>> {
        // Which states are looked at is known when the spine was read.
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl FeatureRows for States {
    async fn read(
        &self,
        table: &Arc<JoinTable>,
        (bounds, _): (&Bounds, usize),
        _context: &Arc<TaskContext>,
    ) -> Result<Rows> {
        let oldest = self.committed_at.first().copied().unwrap_or(i64::MIN);
        if let (true, Some((first, _))) = (self.expired, bounds.moments)
            && first < oldest
        {
            let (view, at) = (&table.feature.view, Timestamp::from_micros);
            return Err(Error::not_found(format!(
                "the states of feature view `{view}` before `{}` have expired, and the spine \
                 begins at `{}`",
                at(oldest),
                at(first)
            ))
            .with_help("begin the spine later, or let the event or created timestamp decide"));
        }
        let schema = table.prepared_schema();
        let mut states = Vec::new();
        for (epoch, bounds) in self.looked_at(bounds) {
            let number = i64::try_from(epoch)
                .map_err(|error| Error::internal("too many states").with_source(error))?;
            states.push((number, self.pins[epoch].clone(), bounds));
        }
        // One after the other: each is opened when the one before it was read.
        let (engine, table) = (self.engine.clone(), Arc::clone(table));
        let states = futures::stream::iter(states.into_iter().map(Ok));
        let rows = states.and_then(move |(epoch, pin, bounds)| {
            let state = State { engine: engine.clone(), table: Arc::clone(&table), epoch };
            async move {
                let rows = state.read(&pin, &bounds).await;
                rows.map_err(|error| DataFusionError::External(error.into()))
            }
        });
        let rows = RecordBatchStreamAdapter::new(Arc::clone(&schema), rows.try_flatten());
        Ok(Rows { schema, partitions: vec![Box::pin(rows)] })
    }
}

/// One state that is being read.
struct State {
    engine: Engine,
    table: Arc<JoinTable>,
    epoch: i64,
}

impl State {
    async fn read(&self, pin: &PinnedTable, bounds: &Bounds) -> Result<SendableRecordBatchStream> {
        let frame = narrowed(self.engine.table(pin).await?, &self.table, bounds)?;
        let rows = frame.execute_stream().await.map_err(icecore_engine::from_datafusion)?;
        Ok(preparing(rows, &self.table, Some(self.epoch)))
    }
}
