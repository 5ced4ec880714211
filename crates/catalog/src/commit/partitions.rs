//! Which files lie in which partitions.

use std::collections::HashSet;

use iceberg::spec::{
    DataContentType, DataFile, Datum, FieldSummary, Literal, ManifestFile, PartitionSpecRef,
    PrimitiveLiteral, PrimitiveType, SchemaRef, Struct, StructType, TableMetadata,
};
use icecore_core::{Error, Result};

use super::place::{Place, place};
use crate::described::{wide, wide_partition};

/// Partitions of one spec.
#[derive(Debug)]
pub(crate) struct Touched {
    pub(super) spec: PartitionSpecRef,
    /// The columns that the spec is over.
    pub(super) schema: SchemaRef,
    /// The types of its fields, where all of its columns are there.
    types: Option<StructType>,
    /// Their values in the widest form: another engine may have widened a column between two files
    /// of one partition.
    pub(super) tuples: HashSet<Struct>,
}

impl Touched {
    /// The partitions that these files lie in, which were written with these columns and this
    /// partitioning.
    pub(crate) fn of(files: &[DataFile], spec: &PartitionSpecRef, schema: &SchemaRef) -> Self {
        Self {
            types: spec.partition_type(schema).ok(),
            spec: spec.clone(),
            schema: schema.clone(),
            tuples: files.iter().map(|file| wide_partition(file.partition())).collect(),
        }
    }

    /// Whether a file that was written under this spec lies in one of them.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a data file of another spec that may lie across partitions of this one.
    pub(super) fn hold(
        &self,
        metadata: &TableMetadata,
        spec: &PartitionSpecRef,
        file: &DataFile,
    ) -> Result<bool> {
        if spec.spec_id() == self.spec.spec_id() {
            return Ok(self.tuples.contains(&wide_partition(file.partition())));
        }
        match place(self, spec, file) {
            Place::Inside => Ok(true),
            Place::Outside => Ok(false),
            // It applies to files that stay; those that it applied to and that go do not mind.
            Place::Across if file.content_type() != DataContentType::Data => Ok(false),
            Place::Across => Err(across(metadata, file)),
        }
    }

    /// Whether a manifest of this spec may name a file that lies in one of them. Errs towards yes.
    pub(super) fn may_hold(&self, manifest: &ManifestFile, spec: &PartitionSpecRef) -> bool {
        if spec.spec_id() != self.spec.spec_id() {
            return true;
        }
        // Where a column that the spec is over was dropped, one has to look into the manifest.
        let (Some(types), Some(summaries)) = (&self.types, &manifest.partitions) else {
            return true;
        };
        self.tuples.iter().any(|tuple| {
            tuple.iter().zip(types.fields()).zip(summaries).all(|((value, field), summary)| match (
                value,
                field.field_type.as_primitive_type(),
            ) {
                (None, _) => summary.contains_null,
                (Some(Literal::Primitive(value)), Some(of)) => in_range(value, of, summary),
                _ => true,
            })
        })
    }
}

fn across(metadata: &TableMetadata, file: &DataFile) -> Error {
    Error::unsupported(
        "cannot overwrite partitions that share a file of an older partitioning with others",
    )
    .with_note(format!(
        "rows of `{}` may lie in several partitions of `{}`",
        file.file_path(),
        metadata.location()
    ))
    .with_help("overwrite by a filter, or rewrite the table once in its present partitioning")
}

/// Whether a value in its widest form lies between the bounds of a manifest. Errs towards yes.
fn in_range(value: &PrimitiveLiteral, of: &PrimitiveType, summary: &FieldSummary) -> bool {
    // Bounds say nothing about NaN.
    if matches!(value, PrimitiveLiteral::Float(_) | PrimitiveLiteral::Double(_)) {
        return true;
    }
    let (Some(lower), Some(upper)) = (&summary.lower_bound, &summary.upper_bound) else {
        return true;
    };
    let bound = |bytes| Datum::try_from_bytes(bytes, of.clone());
    match (bound(lower), bound(upper)) {
        (Ok(lower), Ok(upper)) => {
            wide(lower.literal()) <= *value && *value <= wide(upper.literal())
        }
        _ => true,
    }
}
