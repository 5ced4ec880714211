//! Which partition a row lies in.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Fields};
use arrow::row::{RowConverter, SortField};
use iceberg::arrow::{arrow_struct_to_literal, type_to_arrow_type};
use iceberg::spec::{Literal, PartitionSpec, SchemaRef, StructType, Type};
use icecore_core::{Error, Result};

use super::buffer::Buffers;
use super::naming::partition_directories;
use super::transform::Source;
use crate::error::Context as _;

/// Finds the partitions of rows.
#[derive(Debug)]
pub(super) struct Splitter {
    schema: SchemaRef,
    spec: Arc<PartitionSpec>,
    sources: Vec<Source>,
    partition_type: StructType,
    fields: Fields,
    rows: RowConverter,
    /// From the bytes of a partition's values to its index.
    known: HashMap<Box<[u8]>, usize>,
}

/// Where the rows of a chunk lie.
#[derive(Debug)]
pub(super) enum Placed {
    /// All in one partition.
    Together(usize),
    /// Each in its own.
    Apart(Vec<usize>),
}

impl Splitter {
    pub(super) fn try_new(schema: &SchemaRef, spec: &Arc<PartitionSpec>) -> Result<Self> {
        let cannot = || "cannot compute the partitions of rows";
        let partition_type = spec.partition_type(schema).context(cannot)?;
        let arrow = type_to_arrow_type(&Type::Struct(partition_type.clone())).context(cannot)?;
        let DataType::Struct(fields) = arrow else {
            return Err(Error::internal("the values of a partition are no struct"));
        };
        let mut sources = Vec::with_capacity(fields.len());
        for field in spec.fields() {
            let source = Source::find(schema, field.source_id, field.transform)?;
            sources.push(source.ok_or_else(|| {
                Error::unsupported(format!("cannot partition rows by `{}`", field.name))
                    .with_note("its column lies in a list or a map")
            })?);
        }
        let types = fields.iter().map(|field| SortField::new(field.data_type().clone()));
        let rows = RowConverter::new(types.collect())?;
        let (schema, spec) = (schema.clone(), spec.clone());
        Ok(Self { schema, spec, sources, partition_type, fields, rows, known: HashMap::new() })
    }

    /// Which partition each row lies in. Partitions that were not seen before are added to the
    /// buffers.
    pub(super) fn place(&mut self, chunk: &RecordBatch, buffers: &mut Buffers) -> Result<Placed> {
        let columns = self.sources.iter().map(|source| source.values(chunk));
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let keys = self.rows.convert_columns(&columns)?;
        let values: ArrayRef = Arc::new(StructArray::try_new(self.fields.clone(), columns, None)?);
        let mut of_rows = Vec::with_capacity(chunk.num_rows());
        let mut last: Option<(&[u8], usize)> = None;
        for (row, key) in keys.iter().enumerate() {
            let key = key.data();
            let partition = match last {
                // Rows of one partition come together more often than not.
                Some((same, partition)) if same == key => partition,
                _ => match self.known.get(key) {
                    Some(partition) => *partition,
                    None => {
                        let partition = self.add(&values, row, buffers)?;
                        self.known.insert(key.into(), partition);
                        partition
                    }
                },
            };
            last = Some((key, partition));
            of_rows.push(partition);
        }
        Ok(match of_rows.first() {
            Some(first) if of_rows.iter().all(|partition| partition == first) => {
                Placed::Together(*first)
            }
            _ => Placed::Apart(of_rows),
        })
    }

    fn add(&self, values: &ArrayRef, row: usize, buffers: &mut Buffers) -> Result<usize> {
        let literals = arrow_struct_to_literal(&values.slice(row, 1), &self.partition_type)
            .context(|| "cannot read the values of a partition")?;
        let Some(Some(Literal::Struct(partition))) = literals.into_iter().next() else {
            return Err(Error::internal("the values of a partition are no struct"));
        };
        let directories = partition_directories(&self.schema, &self.spec, &partition)?;
        Ok(buffers.add(partition, directories))
    }
}
