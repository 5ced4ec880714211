//! Rows as delimited text that is read back as what it was.

use std::io::Write;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use icecore_core::{BatchStream, Error, Result};

use super::super::words::spelled;

/// Writes rows as CSV with a header, and returns how many they are. Nothing is null, and an empty
/// text is quoted: files of icecore are read so. The null of a file's only column is a blank line,
/// which readers skip.
///
/// # Errors
///
/// `InvalidInput` naming a column that holds more than one value; `Unavailable` if the text cannot
/// be written, and the first error of the stream.
pub async fn write_csv(mut rows: BatchStream, to: &mut (impl Write + Send)) -> Result<u64> {
    check_flat(rows.schema())?;
    let unwritable = |error| Error::unavailable("cannot write").with_source(error);
    let mut text = String::new();
    for (index, field) in rows.schema().fields().iter().enumerate() {
        put(&mut text, index, Some(field.name()));
    }
    text.push('\n');
    let mut count = 0;
    while let Some(batch) = rows.try_next().await? {
        count += batch.num_rows() as u64;
        add_rows(&mut text, &batch)?;
        to.write_all(text.as_bytes()).map_err(unwritable)?;
        text.clear();
    }
    to.write_all(text.as_bytes()).map_err(unwritable)?;
    to.flush().map_err(unwritable)?;
    Ok(count)
}

fn check_flat(schema: &Schema) -> Result<()> {
    let is_nested = |data_type: &DataType| match data_type {
        DataType::Dictionary(_, value) => value.is_nested(),
        other => other.is_nested(),
    };
    match schema.fields().iter().find(|field| is_nested(field.data_type())) {
        Some(field) => Err(Error::invalid(format!(
            "column `{}` is `{}`, which CSV has no form for",
            field.name(),
            spelled(field.data_type())
        ))
        .with_help("write Parquet or JSON, or select columns of one value each")),
        None => Ok(()),
    }
}

fn add_rows(text: &mut String, batch: &RecordBatch) -> Result<()> {
    let format = FormatOptions::default();
    let columns = batch.columns().iter().map(|column| {
        let formatter = ArrayFormatter::try_new(column.as_ref(), &format)?;
        Ok((column.logical_nulls(), formatter))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    for row in 0..batch.num_rows() {
        for (index, (nulls, formatter)) in columns.iter().enumerate() {
            let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            let value = if is_null { None } else { Some(formatter.value(row).try_to_string()?) };
            put(text, index, value.as_deref());
        }
        text.push('\n');
    }
    Ok(())
}

/// Adds a field to a line.
fn put(text: &mut String, index: usize, value: Option<&str>) {
    if index > 0 {
        text.push(',');
    }
    let Some(value) = value else { return };
    let is_plain = !value.is_empty() && !value.contains(['"', ',', '\n', '\r']);
    // A line of spaces alone would be taken for a blank one.
    if is_plain && !value.trim_ascii().is_empty() {
        text.push_str(value);
    } else {
        text.push('"');
        text.push_str(&value.replace('"', "\"\""));
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int64Type;
    use icecore_core::ErrorKind;
    use proptest::prelude::*;

    use super::super::super::{FileReadOptions, read_files};
    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn written(batch: RecordBatch) -> Result<String> {
        let mut text = Vec::new();
        let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
        run(write_csv(rows, &mut text))?;
        Ok(String::from_utf8(text).unwrap())
    }

    #[test]
    fn nothing_and_empty_text_are_two_things() {
        let texts = StringArray::from(vec![Some(""), None, Some("a,b"), Some("say \"hi\"")]);
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![Some(1), None, Some(3), None])) as ArrayRef),
            ("t,x", Arc::new(texts) as ArrayRef),
        ]);
        let expected = "id,\"t,x\"\n1,\"\"\n,\n3,\"a,b\"\n,\"say \"\"hi\"\"\"\n";
        assert_eq!(written(batch.unwrap()).unwrap(), expected);
    }

    #[test]
    fn a_column_of_lists_is_named() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)])]);
        let batch = RecordBatch::try_from_iter([("tags", Arc::new(lists) as ArrayRef)]);
        let error = written(batch.unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("`tags` is `list<long>`"), "{error}");
        assert!(error.help().unwrap().contains("Parquet or JSON"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read_as_it_was(
            rows in proptest::collection::vec(
                (any::<Option<i64>>(), proptest::option::of("[ a1é\",;\\n\\r\t|]{0,5}")), 1..20),
        ) {
            let batch = RecordBatch::try_from_iter([
                ("id", Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()) as ArrayRef),
                ("t", Arc::new(
                    rows.iter().map(|row| row.1.as_deref()).collect::<StringArray>()) as ArrayRef),
            ]).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.csv");
            std::fs::write(&path, written(batch.clone()).unwrap()).unwrap();
            let mut options = FileReadOptions::default().with_target(batch.schema());
            options.delimiter = Some(b',');
            let read = run(async { read_files(&[path], options).await?.stream.concat().await });
            let read = read.unwrap();
            prop_assert_eq!(read.columns(), batch.columns());
        }
    }
}
