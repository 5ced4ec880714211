//! Which feature rows a set of changed events can have touched.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::row::{RowConverter, Rows, SortField};
use icecore_catalog::RowTest;
use icecore_core::{Emit, Error, FeatureView, Predicate, Result, TimeRange, Timestamp};
use icecore_kernel::Interner;

use crate::output::within;
use crate::source::{moment_type, reach};

/// Moments, both ends inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Interval {
    pub(crate) const EVER: Self = Self { from: i64::MIN, to: i64::MAX };

    const fn contains(self, moment: i64) -> bool {
        self.from <= moment && moment <= self.to
    }

    /// The smallest interval around both.
    fn hull(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// As a range of which the end is outside.
    pub(crate) fn range(self) -> TimeRange {
        let from = (self.from > i64::MIN).then(|| Timestamp::from_micros(self.from));
        let to = (self.to < i64::MAX).then(|| Timestamp::from_micros(self.to + 1));
        TimeRange { from, to }
    }
}

/// How far an event acts and how far a row looks, in one view.
#[derive(Debug, Clone, Copy)]
struct Sight {
    /// Absent for a lifetime.
    reach: Option<i64>,
    /// Whether the other events of a day decide which rows there are.
    whole_days: bool,
}

impl Sight {
    fn of(view: &FeatureView) -> Self {
        let reach = reach(view).map(|reach| reach.micros());
        Self { reach, whole_days: matches!(view.emit, Emit::LastPerDay) }
    }

    /// The moments of the rows that an event at this moment can have a part in.
    fn rows_of(self, event: i64) -> Interval {
        let from = if self.whole_days { day_start(event) } else { event };
        let to = self.reach.map_or(i64::MAX, |reach| event.saturating_add(reach));
        Interval { from, to }
    }

    /// The moments of the events that decide the rows of an interval.
    fn events_of(self, rows: Interval) -> Interval {
        let from = self.reach.map_or(i64::MIN, |reach| rows.from.saturating_sub(reach));
        let to = if self.whole_days { day_end(rows.to) } else { rows.to };
        Interval { from, to }
    }
}

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

const fn day_start(moment: i64) -> i64 {
    moment.saturating_sub(moment.rem_euclid(DAY))
}

const fn day_end(moment: i64) -> i64 {
    moment.saturating_add(DAY - 1 - moment.rem_euclid(DAY))
}

/// Entities with the moments at which their rows have to be computed again.
pub(crate) struct Affected {
    keys: Vec<String>,
    time: String,
    key_types: Vec<DataType>,
    /// Absent where the key is one text.
    converter: Option<RowConverter>,
    /// The keys, and the moments of each by its number.
    entities: Interner,
    moments: Vec<Interval>,
    /// Moments at which the rows of all entities do.
    everyone: Option<Interval>,
    sight: Sight,
}

impl fmt::Debug for Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Affected").field("entities", &self.entities()).finish_non_exhaustive()
    }
}

impl Affected {
    /// Nobody, in a view with join keys of these types.
    pub(crate) fn new(
        view: &FeatureView,
        keys: Vec<String>,
        key_types: Vec<DataType>,
    ) -> Result<Self> {
        let converter = match key_types.as_slice() {
            [DataType::Utf8] => None,
            types => {
                let fields = types.iter().cloned().map(SortField::new).collect();
                Some(RowConverter::new(fields)?)
            }
        };
        Ok(Self {
            keys,
            time: view.event_timestamp.clone(),
            key_types,
            converter,
            entities: Interner::default(),
            moments: Vec::new(),
            everyone: None,
            sight: Sight::of(view),
        })
    }

    /// Entities with moments of their own.
    pub(crate) const fn entities(&self) -> usize {
        self.moments.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.moments.is_empty() && self.everyone.is_none()
    }

    /// Adds the rows that these events have a part in: keys, then the time. Events without a key or
    /// a time have none.
    pub(crate) fn add_events(&mut self, events: &RecordBatch) -> Result<()> {
        let keys = self.key_bytes(events.columns())?;
        let times = times(events.columns().get(self.keys.len()))?;
        for row in 0..events.num_rows() {
            if let Some(key) = keys.of(row)
                && times.is_valid(row)
            {
                let interval = self.sight.rows_of(times.value(row));
                self.add(key, interval);
            }
        }
        Ok(())
    }

    /// Adds all rows of the entities that pass, keys first.
    pub(crate) fn add_entities(
        &mut self,
        batch: &RecordBatch,
        chosen: impl Fn(&[u8]) -> bool,
    ) -> Result<()> {
        let keys = self.key_bytes(batch.columns())?;
        for row in 0..batch.num_rows() {
            if let Some(key) = keys.of(row).filter(|key| chosen(key)) {
                self.add(key, Interval::EVER);
            }
        }
        Ok(())
    }

    /// Adds the rows of all entities at these moments.
    pub(crate) fn add_everyone(&mut self, moments: Interval) {
        self.everyone = Some(self.everyone.map_or(moments, |known| known.hull(moments)));
    }

    fn add(&mut self, key: &[u8], interval: Interval) {
        let code = self.entities.code(key) as usize;
        match self.moments.get_mut(code) {
            Some(known) => *known = known.hull(interval),
            None => self.moments.push(interval),
        }
    }

    /// The keys of the entities, a column for each, where they are no more than so many: few enough
    /// to ask the source for their events alone.
    pub(crate) fn few(&self, entities_max: usize) -> Result<Option<Vec<ArrayRef>>> {
        let is_float = self.key_types.iter().any(DataType::is_floating);
        if self.everyone.is_some() || self.entities() > entities_max || is_float {
            return Ok(None);
        }
        let keys = (0..self.entities() as u32).map(|code| self.entities.value(code));
        let Some(converter) = &self.converter else {
            let keys: StringArray = keys.map(|key| std::str::from_utf8(key).ok()).collect();
            return Ok(Some(vec![Arc::new(keys)]));
        };
        let parser = converter.parser();
        Ok(Some(converter.convert_rows(keys.map(|key| parser.parse(key)))?))
    }

    /// All moments at which a row has to be computed again.
    pub(crate) fn hull(&self) -> Option<Interval> {
        let all = self.moments.iter().copied().chain(self.everyone);
        all.reduce(Interval::hull)
    }

    /// Which events decide such a row.
    pub(crate) fn decides(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let sight = self.sight;
        self.mask(batch.columns(), move |rows| sight.events_of(rows))
    }

    /// Which rows are such.
    pub(crate) fn is_affected(&self, columns: &[ArrayRef]) -> Result<BooleanArray> {
        self.mask(columns, |rows| rows)
    }

    fn mask(
        &self,
        columns: &[ArrayRef],
        widened: impl Fn(Interval) -> Interval,
    ) -> Result<BooleanArray> {
        let times = times(columns.get(self.keys.len()))?;
        let everyone = self.everyone.map(&widened);
        let keys = if self.moments.is_empty() { None } else { Some(self.key_bytes(columns)?) };
        let mut mask = BooleanBuilder::with_capacity(times.len());
        for row in 0..times.len() {
            let passes = times.is_valid(row) && {
                let moment = times.value(row);
                everyone.is_some_and(|everyone| everyone.contains(moment))
                    || keys.as_ref().is_some_and(|keys| {
                        let code = keys.of(row).and_then(|key| self.entities.find(key));
                        let own = code.and_then(|code| self.moments.get(code as usize));
                        own.is_some_and(|own| widened(*own).contains(moment))
                    })
            };
            mask.append_value(passes);
        }
        Ok(mask.finish())
    }

    /// The keys in a form that compares as bytes.
    fn key_bytes(&self, columns: &[ArrayRef]) -> Result<KeyBytes> {
        let mut keys = Vec::with_capacity(self.key_types.len());
        for (column, data_type) in columns.iter().zip(&self.key_types) {
            let same = column.data_type() == data_type;
            keys.push(if same { column.clone() } else { cast(column, data_type)? });
        }
        match (&self.converter, keys.as_slice()) {
            (Some(converter), _) => {
                let rows = converter.convert_columns(&keys)?;
                keys.retain(|key| key.null_count() > 0);
                Ok(KeyBytes::Rows(rows, keys))
            }
            (None, [texts]) => match texts.as_string_opt::<i32>() {
                Some(texts) => Ok(KeyBytes::Texts(texts.clone())),
                None => Err(Error::internal("a key is no text")),
            },
            (None, _) => Err(Error::internal("events lack their key")),
        }
    }
}

/// The keys of rows as bytes.
enum KeyBytes {
    Texts(StringArray),
    /// And the key columns that have nulls.
    Rows(Rows, Vec<ArrayRef>),
}

impl KeyBytes {
    /// The key of a row, unless a part of it is null.
    #[inline]
    fn of(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Texts(texts) => texts.is_valid(row).then(|| texts.value(row).as_bytes()),
            Self::Rows(rows, nullable) => {
                let is_whole = nullable.iter().all(|key| key.is_valid(row));
                is_whole.then(|| rows.row(row).data())
            }
        }
    }
}

/// The rows of a feature table that are replaced.
impl RowTest for Affected {
    fn columns(&self) -> Vec<String> {
        self.keys.iter().cloned().chain([self.time.clone()]).collect()
    }

    fn implied(&self) -> Option<Predicate> {
        Some(within(&self.time, self.hull()?.range()))
    }

    fn passes(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        self.is_affected(rows.columns())
    }
}

fn times(column: Option<&ArrayRef>) -> Result<TimestampMicrosecondArray> {
    let column = column.ok_or_else(|| Error::internal("events have no time"))?;
    let column = cast(column, &moment_type())?;
    let times = column.as_primitive_opt::<TimestampMicrosecondType>();
    times.cloned().ok_or_else(|| Error::internal("the time of events is no time"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::Definitions;
    use crate::fixture::VIEWS;

    fn batch(rows: &[(Option<&str>, i64, i64)]) -> RecordBatch {
        let users = rows.iter().map(|row| row.0).collect::<StringArray>();
        let other = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
        let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.2));
        let schema = Schema::new(vec![
            Field::new("u", DataType::Utf8, true),
            Field::new("m", DataType::Int64, true),
            Field::new("t", moment_type(), true),
        ]);
        let times = times.with_timezone("+00:00");
        RecordBatch::try_new(
            Arc::new(schema),
            vec![Arc::new(users), Arc::new(other), Arc::new(times)],
        )
        .unwrap()
    }

    #[test]
    fn an_event_acts_on_its_entity_from_its_day_on_for_the_widest_window() {
        let definitions = Definitions::parse("f.toml", VIEWS).unwrap();
        let view = definitions.view("user_transaction_features").unwrap();
        let keys = vec!["u".to_owned(), "m".to_owned()];
        let mut affected =
            Affected::new(view, keys, vec![DataType::Utf8, DataType::Int64]).unwrap();
        assert!(affected.is_empty());
        let noon = 100 * DAY + DAY / 2;
        affected.add_events(&batch(&[(Some("a"), 1, noon), (None, 1, noon)])).unwrap();
        assert_eq!(affected.entities(), 1);
        let hull = Interval { from: 100 * DAY, to: noon + 90 * DAY };
        assert_eq!(affected.hull(), Some(hull));

        let rows = batch(&[
            (Some("a"), 1, 100 * DAY),
            (Some("a"), 1, 100 * DAY - 1),
            (Some("a"), 1, noon + 90 * DAY),
            (Some("a"), 1, noon + 90 * DAY + 1),
            (Some("a"), 2, noon),
            (Some("b"), 1, noon),
            (None, 1, noon),
        ]);
        let expected = [true, false, true, false, false, false, false].map(Some);
        let found = affected.passes(&rows).unwrap();
        assert_eq!(found, BooleanArray::from_iter(expected));
        // Such a row looks 90 days back, and its day is judged whole.
        let events = batch(&[
            (Some("a"), 1, 10 * DAY),
            (Some("a"), 1, 10 * DAY - 1),
            (Some("a"), 1, 191 * DAY - 1),
            (Some("a"), 1, 191 * DAY),
        ]);
        let found = affected.decides(&events).unwrap();
        assert_eq!(found, BooleanArray::from(vec![true, false, true, false]));
        affected.add_everyone(Interval { from: 0, to: 0 });
        assert!(affected.passes(&batch(&[(Some("b"), 1, 0)])).unwrap().value(0));
    }
}
