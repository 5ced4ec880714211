//! What columns have to be to hold the values of a Parquet file.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use parquet::basic::LogicalType;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;

use super::infer::stored_type;

/// Walks the columns of a file in its order.
///
/// Most programs write each whole number in 64 bits, so the type says little about what a column has
/// to hold: where the statistics of the file tell that 32 bits are enough, they are.
pub(super) struct Needs<'a> {
    pub(super) metadata: &'a ParquetMetaData,
    /// The next column that holds values.
    pub(super) leaf: usize,
    /// Whether moments may stay in nanoseconds.
    pub(super) keeps_nanoseconds: bool,
    /// Whether to look at how much the values of a column of whole numbers need.
    pub(super) narrows: bool,
}

impl Needs<'_> {
    /// The type that the values of the next column need.
    pub(super) fn of(&mut self, data_type: &DataType) -> DataType {
        match data_type {
            DataType::Struct(fields) => DataType::Struct(self.fields(fields)),
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => DataType::List(self.field(item)),
            DataType::Map(entries, sorted) => DataType::Map(self.field(entries), *sorted),
            other => {
                let leaf = self.leaf;
                self.leaf += 1;
                let needed = stored_type(other, self.keeps_nanoseconds);
                if needed != DataType::Int64 || !self.narrows {
                    return needed;
                }
                let least = if other.is_unsigned_integer() { 0 } else { i64::from(i32::MIN) };
                let mut groups = self.metadata.row_groups().iter();
                let is_small = groups.all(|group| {
                    group.columns().get(leaf).is_some_and(|chunk| is_within(chunk, least))
                });
                if is_small { DataType::Int32 } else { needed }
            }
        }
    }

    fn fields(&mut self, fields: &Fields) -> Fields {
        fields.iter().map(|field| self.field(field)).collect()
    }

    /// The column that the values of the next one need.
    pub(super) fn field(&mut self, field: &FieldRef) -> FieldRef {
        let is_uuid = !field.data_type().is_nested() && self.is_uuid();
        let needed = Field::clone(field).with_data_type(self.of(field.data_type()));
        // Arrow has bytes of a fixed number, and says beside them what they are.
        let says = is_uuid.then(|| ("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned()));
        Arc::new(needed.with_metadata(says.into_iter().collect()))
    }

    fn is_uuid(&self) -> bool {
        let columns = self.metadata.file_metadata().schema_descr().columns();
        let column = columns.get(self.leaf).map(|column| column.self_type().get_basic_info());
        column.is_some_and(|column| column.logical_type_ref() == Some(&LogicalType::Uuid))
    }
}

/// Whether the file says that all values are between this one and the greatest of 32 bits.
fn is_within(chunk: &ColumnChunkMetaData, least: i64) -> bool {
    let Some(statistics) = chunk.statistics() else { return false };
    if statistics
        .null_count_opt()
        .is_some_and(|nulls| i64::try_from(nulls) == Ok(chunk.num_values()))
    {
        return true;
    }
    let bounds = match statistics {
        Statistics::Int32(of) => {
            of.min_opt().zip(of.max_opt()).map(|(min, max)| (i64::from(*min), i64::from(*max)))
        }
        Statistics::Int64(of) => of.min_opt().copied().zip(of.max_opt().copied()),
        _ => None,
    };
    bounds.is_some_and(|(min, max)| min >= least && max >= least && max <= i64::from(i32::MAX))
}
