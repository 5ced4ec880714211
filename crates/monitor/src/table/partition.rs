//! Which partition a row lies in, as text: `feature_date=2026-07-01`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, SchemaRef, TimeUnit};
use icecore_core::{CompareOp, Date, Error, Literal, Predicate, Result};

use super::unit::Unit;

/// Rows of a batch by partition; no positions where all rows lie in one.
type Groups = Vec<(String, Option<Vec<u32>>)>;

/// How a table is partitioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partitioning {
    fields: Vec<Field>,
    is_known: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: String,
    column: String,
    transform: Transform,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transform {
    Identity,
    Year,
    Month,
    Day,
    Hour,
}

impl Partitioning {
    /// Partition fields as a table's description has them. Rows are told apart by those that depend
    /// on moments or on values themselves; where there are others, all rows lie in one partition.
    pub(super) fn parse(fields: &[String]) -> Self {
        let parsed: Option<Vec<Field>> = fields.iter().map(|field| parse(field)).collect();
        Self { is_known: parsed.is_some(), fields: parsed.unwrap_or_default() }
    }

    pub(super) const fn is_known(&self) -> bool {
        self.is_known
    }

    pub(super) const fn is_none(&self) -> bool {
        self.fields.is_empty()
    }

    pub(super) fn groups(&self, batch: &RecordBatch) -> Result<Groups> {
        if self.fields.is_empty() {
            return Ok(vec![(String::new(), None)]);
        }
        if let [field] = self.fields.as_slice()
            && let Some(groups) = field.by_day(batch)?
        {
            return Ok(groups);
        }
        let texts = self.fields.iter().map(|field| field.texts(batch));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        let mut groups: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for row in 0..batch.num_rows() {
            let named = self.fields.iter().zip(&texts).map(|(field, texts)| {
                let value = if texts.is_null(row) { "null" } else { texts.value(row) };
                format!("{}={value}", field.name)
            });
            let label = named.collect::<Vec<_>>().join("/");
            groups.entry(label).or_default().push(row as u32);
        }
        Ok(groups.into_iter().map(|(label, rows)| (label, Some(rows))).collect())
    }

    /// A field by itself, and the unit of time that its partitions are of, if they are of any.
    pub(super) fn unit_of(&self, name: &str, schema: &SchemaRef) -> Option<(Self, Unit)> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        let data_type = schema.field_with_name(&field.column).ok()?.data_type();
        let unit = match (field.transform, data_type) {
            (Transform::Identity, DataType::Date32) | (Transform::Day, _) => Unit::Day,
            (Transform::Identity, _) => return None,
            (Transform::Year, _) => Unit::Year,
            (Transform::Month, _) => Unit::Month,
            (Transform::Hour, _) => Unit::Hour,
        };
        Some((Self { fields: vec![field.clone()], is_known: true }, unit))
    }

    /// Whether it is by a field of this name.
    pub(super) fn is_by(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name == name)
    }

    /// The columns that say in which partition a row lies.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.column.as_str())
    }

    /// Refuses partitions of a field that the table is not partitioned by.
    pub(super) fn check(&self, filter: &PartitionFilter) -> Result<()> {
        match self.fields.iter().any(|field| field.name == filter.field) {
            true => Ok(()),
            false => {
                let names = || self.fields.iter().map(|field| field.name.as_str());
                Err(Error::invalid(format!("the table is not partitioned by `{}`", filter.field))
                    .with_note(format!("it is by: {}", names().collect::<Vec<_>>().join(", ")))
                    .with_candidates(&filter.field, names()))
            }
        }
    }

    /// What a scan can leave out: dates are compared as dates.
    pub(super) fn predicate(
        &self,
        filter: &PartitionFilter,
        schema: &SchemaRef,
    ) -> Option<Predicate> {
        let field = self.fields.iter().find(|field| field.name == filter.field)?;
        let of_table = schema.field_with_name(&field.column).ok()?;
        if field.transform != Transform::Identity || *of_table.data_type() != DataType::Date32 {
            return None;
        }
        let date = |text: &str| Date::parse(text).ok().map(Literal::Date);
        Some(Predicate::And(vec![
            Predicate::compare(&field.column, CompareOp::GtEq, date(&filter.from)?),
            Predicate::compare(&field.column, CompareOp::LtEq, date(&filter.to)?),
        ]))
    }
}

fn parse(text: &str) -> Option<Field> {
    let text = text.trim();
    let Some((transform, column)) = text.strip_suffix(')').and_then(|text| text.split_once('('))
    else {
        let name = text.to_owned();
        return Some(Field { column: name.clone(), name, transform: Transform::Identity });
    };
    let transform = match transform.trim() {
        "identity" => Transform::Identity,
        "year" | "years" => Transform::Year,
        "month" | "months" => Transform::Month,
        "day" | "days" => Transform::Day,
        "hour" | "hours" => Transform::Hour,
        _ => return None,
    };
    let column = column.trim().to_owned();
    Some(Field { name: column.clone(), column, transform })
}

impl Field {
    fn column<'a>(&self, batch: &'a RecordBatch) -> Result<&'a ArrayRef> {
        batch.column_by_name(&self.column).ok_or_else(|| {
            Error::internal(format!("rows have lost their column `{}`", self.column))
        })
    }

    /// Days are told apart without a text for each row.
    fn by_day(&self, batch: &RecordBatch) -> Result<Option<Groups>> {
        let column = self.column(batch)?;
        let is_day = matches!(
            (self.transform, column.data_type()),
            (Transform::Identity | Transform::Day, DataType::Date32)
                | (Transform::Day, DataType::Timestamp(..))
        );
        if !is_day {
            return Ok(None);
        }
        let days = days(column)?;
        let days = days.as_primitive::<Date32Type>();
        let mut groups: BTreeMap<Option<i32>, Vec<u32>> = BTreeMap::new();
        for (row, day) in days.iter().enumerate() {
            groups.entry(day).or_default().push(row as u32);
        }
        let is_one = groups.len() == 1;
        let groups = groups.into_iter().map(|(day, rows)| {
            let day = day.map_or_else(|| "null".to_owned(), |day| Date::from_days(day).to_string());
            (format!("{}={day}", self.name), (!is_one).then_some(rows))
        });
        Ok(Some(groups.collect()))
    }

    fn texts(&self, batch: &RecordBatch) -> Result<StringArray> {
        let column = self.column(batch)?;
        let length = match self.transform {
            Transform::Identity => {
                return Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone());
            }
            Transform::Year => 4,
            Transform::Month => 7,
            Transform::Day => 10,
            Transform::Hour => 13,
        };
        let moments = match column.data_type() {
            DataType::Timestamp(..) => {
                let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
                cast(&cast(&utc(column)?, &plain)?, &DataType::Utf8)?
            }
            _ => cast(column, &DataType::Utf8)?,
        };
        let moments = moments.as_string::<i32>();
        Ok(moments.iter().map(|text| text.map(|text| text.get(..length).unwrap_or(text))).collect())
    }
}

/// Moments in UTC, whichever zone they are shown in.
fn utc(column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            Ok(cast(column, &DataType::Timestamp(*unit, Some("+00:00".into())))?)
        }
        _ => Ok(ArrayRef::clone(column)),
    }
}

fn days(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(&utc(column)?, &DataType::Date32)?)
}

/// Some partitions of a table: `feature_date=2026-07-01`, or `feature_date=2026-07-01..2026-07-07`
/// with both ends. [`resolve`](Self::resolve) says which are meant by `latest`, `-1h` and the like.
///
/// ```
/// let week: icecore_monitor::PartitionFilter = "day=2026-07-01..2026-07-07".parse()?;
/// assert_eq!(week.to_string(), "day=2026-07-01..2026-07-07");
/// # Ok::<(), icecore_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionFilter {
    field: String,
    from: String,
    to: String,
}

impl PartitionFilter {
    pub(super) fn field(&self) -> &str {
        &self.field
    }

    /// The first and the last one, as they are written.
    pub(super) fn ends(&self) -> (&str, &str) {
        (&self.from, &self.to)
    }

    /// Other partitions of the same field.
    pub(super) fn between(&self, from: String, to: String) -> Self {
        Self { field: self.field.clone(), from, to }
    }

    /// Whether a partition is one of them.
    pub(super) fn takes(&self, label: &str) -> bool {
        label.split('/').any(|part| {
            part.split_once('=').is_some_and(|(field, value)| {
                field == self.field && (self.from.as_str()..=self.to.as_str()).contains(&value)
            })
        })
    }

    /// The one partition that it takes, where it is one.
    pub(super) fn only(&self) -> Option<String> {
        (self.from == self.to).then(|| format!("{}={}", self.field, self.from))
    }
}

impl FromStr for PartitionFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (field, value) = text.split_once('=').ok_or_else(|| {
            Error::invalid(format!("`{text}` does not name partitions"))
                .with_help("write `FIELD=VALUE` or `FIELD=FROM..TO`")
        })?;
        let (from, to) = value.split_once("..").unwrap_or((value, value));
        let (field, from, to) = (field.trim(), from.trim(), to.trim());
        Ok(Self { field: field.to_owned(), from: from.to_owned(), to: to.to_owned() })
    }
}

impl fmt::Display for PartitionFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from == self.to {
            true => write!(f, "{}={}", self.field, self.from),
            false => write!(f, "{}={}..{}", self.field, self.from, self.to),
        }
    }
}
