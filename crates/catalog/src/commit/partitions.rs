//! Which files lie in which partitions.

use std::collections::HashSet;

use iceberg::spec::{
    DataFile, Datum, FieldSummary, Literal, ManifestFile, PrimitiveLiteral, PrimitiveType, Struct,
    StructType,
};

/// Partitions of one spec.
#[derive(Debug)]
pub(crate) struct Touched {
    pub(super) spec_id: i32,
    tuples: HashSet<Struct>,
}

impl Touched {
    /// The partitions that these files, written under this spec, lie in.
    pub(crate) fn of(files: &[DataFile], spec_id: i32) -> Self {
        Self { spec_id, tuples: files.iter().map(|file| file.partition().clone()).collect() }
    }

    /// Whether a file that was written under this spec lies in one of them.
    pub(super) fn hold(&self, spec_id: i32, file: &DataFile) -> bool {
        spec_id == self.spec_id && self.tuples.contains(file.partition())
    }

    /// Whether a manifest may name a file that lies in one of them. Errs towards yes.
    pub(super) fn may_hold(&self, manifest: &ManifestFile, types: &StructType) -> bool {
        if manifest.partition_spec_id != self.spec_id {
            return false;
        }
        let Some(summaries) = &manifest.partitions else { return true };
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
        (Ok(lower), Ok(upper)) => lower.literal() <= value && value <= upper.literal(),
        _ => true,
    }
}
