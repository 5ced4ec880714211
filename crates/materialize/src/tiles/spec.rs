//! What the tiles of a view are.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef};
use icecore_core::{Closed, Error, FeatureView, PinnedTable, Result, Span, Window};
use icecore_engine::Engine;
use icecore_features::{Definitions, OnDemandPlan, ViewEvents};
use icecore_kernel::Aggregation;
use icecore_online::RowSchema;

use crate::view::ViewShape;

/// How long tiles may be.
const WIDTHS: [i64; 12] = [
    1_000_000,
    10_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
    3 * 3_600_000_000,
    6 * 3_600_000_000,
    12 * 3_600_000_000,
    86_400_000_000,
    7 * 86_400_000_000,
    30 * 86_400_000_000,
];
/// About so many tiles are in the widest window.
const TILES: i64 = 60;
/// What stands for the widest window of a view that has only lifetimes.
const LIFETIME_MICROS: i64 = 365 * 86_400_000_000;

/// An aggregate of which every tile has a state.
#[derive(Debug)]
pub(super) struct Measure {
    pub(super) aggregation: Aggregation,
    pub(super) input: Option<usize>,
    pub(super) mask: Option<usize>,
}

/// A window over one of them.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) measure: usize,
    pub(super) window: Window,
    pub(super) closed: Closed,
}

/// A view whose windows are computed from tiles, up to the moment of a request.
#[derive(Debug)]
pub struct TileView {
    pub(super) events: ViewEvents,
    /// What is kept of an event.
    pub(super) row: RowSchema,
    pub(super) measures: Vec<Measure>,
    pub(super) columns: Vec<Column>,
    pub(super) windows: Vec<FieldRef>,
    pub(super) derived: OnDemandPlan,
    pub(super) width: i64,
    /// Changes when states would mean something else.
    pub(super) spec: u64,
}

impl TileView {
    /// Plans the tiles of a view, from a state of its source.
    ///
    /// # Errors
    ///
    /// Every disagreement between the definition and the columns of the source.
    pub async fn open(
        engine: &Engine,
        definitions: &Definitions,
        view: &FeatureView,
        pin: &PinnedTable,
    ) -> Result<Self> {
        let events = ViewEvents::open(engine, definitions, view, pin).await?;
        let masks = events.masks.iter().map(|mask| Field::new(mask, DataType::Boolean, true));
        let fields: Vec<Field> =
            events.inputs.iter().map(|input| input.as_ref().clone()).chain(masks).collect();
        let row = RowSchema::try_new(&fields)?;
        let (mut measures, mut columns, mut windows) = (Vec::new(), Vec::new(), Vec::new());
        let mut text = String::new();
        let mut known: Vec<(icecore_core::AggregateFunction, Option<usize>, Option<usize>)> =
            Vec::new();
        for column in &events.columns {
            let input = column.input.and_then(|at| row.fields().get(at)).map(|f| f.data_type());
            let aggregation = Aggregation::try_new(&column.name, column.function.clone(), input)?;
            windows.push(Arc::clone(aggregation.output_field()));
            let same = (column.function.clone(), column.input, column.mask);
            let measure = known.iter().position(|other| *other == same).unwrap_or(known.len());
            if measure == known.len() {
                text.push_str(&format!("{same:?} {input:?}\n"));
                measures.push(Measure { aggregation, input: column.input, mask: column.mask });
                known.push(same);
            }
            columns.push(Column { measure, window: column.window, closed: column.closed });
        }
        let derived = events.derived(engine, &windows).await?;
        let width = width(&events);
        let keys: Vec<&str> = events.keys.iter().map(|key| key.name().as_str()).collect();
        let filter = view.filter.as_deref().unwrap_or_default();
        text.push_str(&format!("{width} {keys:?} {} {filter} {}", view.event_timestamp, row.id()));
        let spec = fnv(text.as_bytes());
        Ok(Self { events, row, measures, columns, windows, derived, width, spec })
    }

    /// The view's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.events.view.name
    }

    /// The columns that come out of a read: the features that the view's table has, in its order.
    #[must_use]
    pub fn fields(&self) -> Vec<FieldRef> {
        let names = icecore_features::stored_features(&self.events.view);
        let all = || self.windows.iter().chain(self.derived.fields());
        names.iter().filter_map(|name| all().find(|f| f.name() == name).cloned()).collect()
    }

    /// What a row of its features looks like.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a feature of a type that no store holds.
    pub fn shape(&self) -> Result<ViewShape> {
        let features = self.fields();
        Ok(ViewShape {
            view: self.name().to_owned(),
            keys: self.events.keys.clone(),
            event_timestamp: self.events.view.event_timestamp.clone(),
            created_timestamp: None,
            schema: RowSchema::try_new(features.iter().map(|field| -> &Field { field }))?,
            features,
            // Whether an entity had an event lately is part of the answer.
            ttl: None,
        })
    }

    /// The events among rows of the source.
    pub(crate) async fn events_of(
        &self,
        engine: &Engine,
        definitions: &Definitions,
        rows: &RecordBatch,
    ) -> Result<RecordBatch> {
        self.events.of_rows(engine, definitions, rows.clone()).await
    }

    /// The tile that a moment lies in.
    pub(super) const fn tile(&self, moment: i64) -> i64 {
        moment.div_euclid(self.width)
    }

    /// The first moment of a tile and the first one after it.
    pub(super) fn span(&self, tile: i64) -> (i128, i128) {
        let start = i128::from(tile) * i128::from(self.width);
        (start, start + i128::from(self.width))
    }

    /// The first tile that still has a part in anything from this moment on.
    pub(super) fn oldest(&self, now: i64) -> i64 {
        match self.events.reach {
            None => i64::MIN,
            Some(reach) => self.tile(now.saturating_sub(reach.micros())),
        }
    }

    pub(super) fn measure(&self, at: usize) -> Result<&Measure> {
        self.measures.get(at).ok_or_else(|| Error::internal("a window has no state"))
    }
}

fn width(events: &ViewEvents) -> i64 {
    let widest = events.view.widest_window().map_or(LIFETIME_MICROS, Span::micros);
    let fits = WIDTHS.iter().find(|width| widest / **width <= TILES);
    fits.or(WIDTHS.last()).copied().unwrap_or(LIFETIME_MICROS)
}

/// FNV-1a, the same for ever.
pub(super) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
