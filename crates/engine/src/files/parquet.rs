//! Parquet files.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::datatypes::{
    DataType, FieldRef, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use icecore_core::{Error, Result};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::assemble::Assembly;
use super::infer::Guess;
use super::needs::Needs;
use super::reject::{Fault, Faults};
use super::value::UTC;
use super::{Job, Take, cannot_read};

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|error| cannot_read(path, error))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| {
        Error::corrupt(format!("`{}` is not a Parquet file", path.display())).with_source(error)
    })
}

/// The columns of a file.
pub(super) fn sample(path: &Path, keeps_nanoseconds: bool) -> Result<Vec<Guess>> {
    let file = open(path)?;
    let columns = |narrows| {
        let mut needs = Needs { metadata: file.metadata(), leaf: 0, keeps_nanoseconds, narrows };
        file.schema().fields().iter().map(|field| needs.field(field)).collect::<Vec<_>>()
    };
    let guess = |(field, needed): (FieldRef, FieldRef)| Guess {
        name: field.name().clone(),
        data_type: Some(field.data_type().clone()),
        is_uuid: field.extension_type_name().is_some(),
        needed: vec![needed.data_type().clone()],
        note: None,
    };
    Ok(columns(false).into_iter().zip(columns(true)).map(guess).collect())
}

/// Reads a file; false when nobody wants more.
pub(super) fn read(
    path: &Path,
    job: &Job,
    faults: &mut Faults,
    take: &mut Take<'_>,
) -> Result<bool> {
    let builder = open(path)?;
    let names: Vec<String> =
        builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    job.shape.check_present(path, &names)?;
    let wanted: Vec<usize> = names
        .iter()
        .enumerate()
        .filter_map(|(at, name)| job.shape.column(name).map(|_| at))
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::corrupt(format!("cannot read `{}`", path.display())).with_source(error)
    };
    let reader = builder
        .with_projection(mask)
        .with_batch_size(job.options.batch_rows.max(1))
        .build()
        .map_err(|error| broken(error.into()))?;
    let mut assembly = Assembly::new(&job.shape);
    let mut before = 0;
    for batch in reader {
        let batch = batch.map_err(|error| broken(error.into()))?;
        let rows = batch.num_rows();
        let arrays = job
            .shape
            .schema
            .fields()
            .iter()
            .map(|field| match batch.column_by_name(field.name()) {
                Some(array) => at_utc(array),
                None => Ok(new_null_array(field.data_type(), rows)),
            })
            .collect::<Result<Vec<_>>>()?;
        let (fitted, mistakes) = assembly.fit(arrays, rows)?;
        for mistake in mistakes {
            let line = before + mistake.row + 1;
            let message = format!("row {line}: {}", mistake.message);
            faults.add(Fault { line, column: 0, message, help: mistake.help }, "");
        }
        faults.check()?;
        before += rows;
        if fitted.num_rows() > 0 && !take(fitted) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A time without a zone is in UTC. The cast kernel would say so too, but takes the way through
/// calendar fields.
fn at_utc(array: &ArrayRef) -> Result<ArrayRef> {
    let zoned: ArrayRef = match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            let naive = array.as_primitive::<TimestampMicrosecondType>();
            Arc::new(naive.clone().with_timezone(UTC))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, None) => {
            let naive = array.as_primitive::<TimestampNanosecondType>();
            Arc::new(naive.clone().with_timezone(UTC))
        }
        DataType::Timestamp(_, None) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
            return at_utc(&arrow::compute::cast(array, &micros)?);
        }
        _ => Arc::clone(array),
    };
    Ok(zoned)
}
