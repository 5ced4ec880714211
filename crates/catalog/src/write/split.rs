//! Which partition a row lies in.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use iceberg::arrow::{PartitionValueCalculator, arrow_struct_to_literal};
use iceberg::spec::{Literal, PartitionSpec, SchemaRef};
use icecore_core::{Error, Result};

use super::buffer::Buffers;
use super::naming::partition_directories;
use crate::error::Context as _;

/// Splits chunks of rows by partition.
#[derive(Debug)]
pub(super) struct Splitter {
    schema: SchemaRef,
    spec: Arc<PartitionSpec>,
    values: PartitionValueCalculator,
    rows: RowConverter,
    /// From the bytes of a partition's values to its index.
    known: HashMap<Box<[u8]>, usize>,
}

impl Splitter {
    pub(super) fn try_new(schema: &SchemaRef, spec: &Arc<PartitionSpec>) -> Result<Self> {
        let values = PartitionValueCalculator::try_new(spec, schema)
            .context(|| "cannot compute the partitions of rows")?;
        let arrow::datatypes::DataType::Struct(fields) = values.partition_arrow_type() else {
            return Err(Error::internal("the values of a partition are no struct"));
        };
        let fields = fields.iter().map(|field| SortField::new(field.data_type().clone()));
        let rows = RowConverter::new(fields.collect())?;
        Ok(Self { schema: schema.clone(), spec: spec.clone(), values, rows, known: HashMap::new() })
    }

    /// The rows of each partition, which keep their order, and partitions in that of their first
    /// row. Partitions that were not seen before are added to the buffers.
    pub(super) fn split(
        &mut self,
        chunk: &RecordBatch,
        buffers: &mut Buffers,
    ) -> Result<Vec<(usize, RecordBatch)>> {
        let values =
            self.values.calculate(chunk).context(|| "cannot compute the partitions of rows")?;
        let keys = self.rows.convert_columns(values.as_struct().columns())?;
        let mut groups: Vec<(usize, Vec<u32>)> = Vec::new();
        let mut group_of: HashMap<usize, usize> = HashMap::new();
        let mut last: Option<(&[u8], usize)> = None;
        for (row, key) in (0_u32..).zip(keys.iter()) {
            let key = key.data();
            let group = match last {
                // Rows of one partition come together more often than not.
                Some((same, group)) if same == key => group,
                _ => {
                    let partition = match self.known.get(key) {
                        Some(partition) => *partition,
                        None => {
                            let partition = self.add(&values, row as usize, buffers)?;
                            self.known.insert(key.into(), partition);
                            partition
                        }
                    };
                    *group_of.entry(partition).or_insert_with(|| {
                        groups.push((partition, Vec::new()));
                        groups.len() - 1
                    })
                }
            };
            last = Some((key, group));
            if let Some((_, rows)) = groups.get_mut(group) {
                rows.push(row);
            }
        }
        if let [(partition, _)] = groups.as_slice() {
            return Ok(vec![(*partition, chunk.clone())]);
        }
        let groups = groups.into_iter();
        groups
            .map(|(partition, rows)| {
                Ok((partition, take_record_batch(chunk, &UInt32Array::from(rows))?))
            })
            .collect()
    }

    fn add(&self, values: &ArrayRef, row: usize, buffers: &mut Buffers) -> Result<usize> {
        let literals = arrow_struct_to_literal(&values.slice(row, 1), self.values.partition_type())
            .context(|| "cannot read the values of a partition")?;
        let Some(Some(Literal::Struct(partition))) = literals.into_iter().next() else {
            return Err(Error::internal("the values of a partition are no struct"));
        };
        let directories = partition_directories(&self.schema, &self.spec, &partition)?;
        Ok(buffers.add(partition, directories))
    }
}
