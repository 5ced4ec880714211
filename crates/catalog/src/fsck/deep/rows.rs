//! The rows of a data file.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::row::OwnedRow;
use futures::TryStreamExt;
use iceberg::spec::{Datum, NestedFieldRef, PrimitiveType, Transform, Type};
use iceberg::table::Table;
use icecore_core::Result;

use super::{BATCH_ROWS, Wrong, check_count};
use crate::fsck::finding::FindingKind;
use crate::predicate::Value;
use crate::scan::{FileTask, TaskRead, read_task};
use crate::storage::{KnownFile as _, ListedFile};
use crate::transform::Function;
use crate::write::RowOrder;

/// Reads a file, and says what is wrong with it and how many rows it has.
pub(super) async fn check(table: &Table, task: &FileTask) -> Result<(Wrong, u64)> {
    let columns = table.metadata().current_schema().clone();
    let read =
        TaskRead { columns, filter: None, positions: false, groups: None, batch_rows: BATCH_ROWS };
    let mut rows = read_task(table, task, &read);
    let mut check = Check::of(table, task)?;
    while let Some(batch) = rows.try_next().await? {
        check.batch(&batch)?;
    }
    Ok(check.end(&task.file))
}

struct Check<'a> {
    rows: u64,
    columns: Vec<Column<'a>>,
    partition: Vec<PartitionField<'a>>,
    order: Option<Order>,
    wrong: BTreeMap<(FindingKind, String), u64>,
}

/// A column with what is recorded of it.
struct Column<'a> {
    field: NestedFieldRef,
    of: PrimitiveType,
    place: usize,
    nulls: u64,
    recorded: Option<u64>,
    lower: Option<Cow<'a, Datum>>,
    upper: Option<Cow<'a, Datum>>,
}

/// A field of the partitioning with the value that all rows should have.
struct PartitionField<'a> {
    name: &'a str,
    place: usize,
    transform: Function,
    value: Option<Value<'a>>,
    /// Whether it counts years, months, days or hours.
    is_time: bool,
}

struct Order {
    keys: RowOrder,
    last: Option<OwnedRow>,
}

impl<'a> Check<'a> {
    fn of(table: &'a Table, task: &'a FileTask) -> Result<Self> {
        let metadata = table.metadata();
        let schema = metadata.current_schema();
        let mut columns = Vec::new();
        for (place, field) in schema.as_struct().fields().iter().enumerate() {
            let Type::Primitive(of) = field.field_type.as_ref() else { continue };
            columns.push(Column {
                field: field.clone(),
                of: of.clone(),
                place,
                nulls: 0,
                recorded: task.file.nulls(field.id),
                lower: task.file.lower(field.id),
                upper: task.file.upper(field.id),
            });
        }
        let order = task.file.sort_order_id().filter(|id| *id != 0);
        let order = order.and_then(|id| metadata.sort_order_by_id(i64::from(id)));
        let keys = order.map(|order| RowOrder::try_new(schema, order)).transpose()?.flatten();
        Ok(Self {
            rows: 0,
            columns,
            partition: partition_of(table, task)?,
            order: keys.map(|keys| Order { keys, last: None }),
            wrong: BTreeMap::new(),
        })
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        for column in &mut self.columns {
            let Some(values) = batch.columns().get(column.place) else { continue };
            column.nulls += values.null_count() as u64;
            if let Some(outside) = column.outside(values) {
                let message = format!(
                    "values of `{}` are {outside} of the recorded bounds",
                    column.field.name
                );
                let found = (FindingKind::WrongColumnMetrics, message);
                *self.wrong.entry(found).or_default() += 1;
            }
        }
        for field in &self.partition {
            let Some(column) = batch.columns().get(field.place) else { continue };
            let values = field.transform.column(column)?;
            let strangers = (0..values.len()).filter(|row| !field.holds(&values, *row)).count();
            if strangers > 0 {
                let message = format!("rows have another `{}` than their file", field.name);
                let found = (FindingKind::WrongPartition, message);
                *self.wrong.entry(found).or_default() += strangers as u64;
            }
        }
        if let Some(order) = &mut self.order
            && !order.continues(batch)?
        {
            let message = "rows are not in the order that the file says".to_owned();
            *self.wrong.entry((FindingKind::NotSorted, message)).or_default() += 1;
        }
        Ok(())
    }

    fn end(self, file: &ListedFile) -> (Wrong, u64) {
        let mut wrong: Wrong = self.wrong.into_keys().collect();
        check_count(file, self.rows, &mut wrong);
        for column in &self.columns {
            let Some(recorded) = column.recorded.filter(|recorded| *recorded != column.nulls)
            else {
                continue;
            };
            let message = format!(
                "column `{}` has {} nulls, and the manifest says {recorded}",
                column.field.name, column.nulls
            );
            wrong.push((FindingKind::WrongColumnMetrics, message));
        }
        (wrong, self.rows)
    }
}

impl Column<'_> {
    /// Whether a value lies outside of the bounds, and where.
    fn outside(&self, values: &ArrayRef) -> Option<&'static str> {
        let lower = self.lower.as_deref().and_then(|lower| Value::of_datum(lower, &self.of));
        let upper = self.upper.as_deref().and_then(|upper| Value::of_datum(upper, &self.of));
        if lower.is_none() && upper.is_none() {
            return None;
        }
        let is = |value: &Value<'_>, bound: &Option<Value<'_>>, wrong: Ordering| {
            bound.as_ref().and_then(|bound| value.compare(bound)) == Some(wrong)
        };
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            // Bounds say nothing about NaN.
            let Some(value) = Value::of_array(values, row).filter(|value| !value.is_nan()) else {
                continue;
            };
            if is(&value, &lower, Ordering::Less) {
                return Some("below the least");
            }
            if is(&value, &upper, Ordering::Greater) && !self.is_cut(&value, &upper) {
                return Some("above the greatest");
            }
        }
        None
    }

    /// Whether the upper bound may be a prefix of the greatest value, as some writers store it.
    fn is_cut(&self, value: &Value<'_>, upper: &Option<Value<'_>>) -> bool {
        matches!(self.of, PrimitiveType::String | PrimitiveType::Binary)
            && match (value, upper) {
                (Value::Bytes(value), Some(Value::Bytes(upper))) => value.starts_with(upper),
                _ => false,
            }
    }
}

impl PartitionField<'_> {
    fn holds(&self, values: &ArrayRef, row: usize) -> bool {
        if values.is_null(row) {
            return self.value.is_none();
        }
        match (Value::of_array(values, row), &self.value) {
            (Some(value), Some(expected)) => {
                value.compare(expected) == Some(Ordering::Equal)
                    || self.is_time && is_rounded_up(&value, expected)
            }
            // Values that do not compare, such as bytes, are taken for the right ones.
            (found, _) => found.is_none(),
        }
    }
}

/// Whether a partition is that of a writer that rounds moments before 1970 up, as some do for those
/// in the last second of a day. Whoever reads looks for them there, too.
fn is_rounded_up(computed: &Value<'_>, stored: &Value<'_>) -> bool {
    match (computed, stored) {
        (Value::Int(computed), Value::Int(stored)) => *computed < 0 && *stored == computed + 1,
        _ => false,
    }
}

/// The fields of a file's partitioning that can be computed from its rows.
fn partition_of<'a>(table: &'a Table, task: &'a FileTask) -> Result<Vec<PartitionField<'a>>> {
    let metadata = table.metadata();
    let columns = metadata.current_schema().as_struct().fields();
    let Some(spec) = metadata.partition_spec_by_id(task.spec_id) else { return Ok(Vec::new()) };
    let Ok(types) = spec.partition_type(metadata.current_schema()) else {
        // A column that it was over was dropped.
        return Ok(Vec::new());
    };
    let mut fields = Vec::new();
    let values = spec.fields().iter().zip(types.fields()).zip(task.file.partition().iter());
    for ((field, typed), value) in values {
        let place = columns.iter().position(|column| column.id == field.source_id);
        let (Some(place), Some(of)) = (place, typed.field_type.as_primitive_type()) else {
            continue;
        };
        let transform = Function::new(field.transform)?;
        let value = value.and_then(|value| Value::of_literal(value, of));
        let is_time = matches!(
            field.transform,
            Transform::Year | Transform::Month | Transform::Day | Transform::Hour
        );
        fields.push(PartitionField { name: &field.name, place, transform, value, is_time });
    }
    Ok(fields)
}

impl Order {
    /// Whether these rows come after the ones before, in order.
    fn continues(&mut self, batch: &RecordBatch) -> Result<bool> {
        let keys = self.keys.sort_keys(std::slice::from_ref(batch))?;
        let mut rows = keys.iter();
        let Some(mut before) = rows.next() else { return Ok(true) };
        let mut in_order = self.last.as_ref().is_none_or(|last| last.row() <= before);
        for row in rows {
            in_order &= before <= row;
            before = row;
        }
        self.last = Some(before.owned());
        Ok(in_order)
    }
}
