//! Rows as a dense matrix, each value written once to where it stays.

use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use futures::TryStreamExt;
use icecore_core::{BatchStream, Error, Result, is_feature_type};

/// A number that matrices are made of: `f32` or `f64`.
pub trait Element: Copy + Default + Send + fmt::Debug + 'static {
    /// What stands for a missing value.
    const MISSING: Self;

    /// Appends the values of a column of numbers or booleans; a null becomes
    /// [`MISSING`](Self::MISSING).
    ///
    /// # Errors
    ///
    /// `Internal` if the column cannot be cast.
    fn append(column: &ArrayRef, to: &mut Vec<Self>) -> Result<()>;
}

macro_rules! element {
    ($native:ty, $arrow:ty, $data_type:expr) => {
        impl Element for $native {
            const MISSING: Self = <$native>::NAN;

            fn append(column: &ArrayRef, to: &mut Vec<Self>) -> Result<()> {
                let cast = cast(column, &$data_type)?;
                let values = cast.as_primitive::<$arrow>();
                match values.null_count() {
                    0 => to.extend_from_slice(values.values()),
                    _ => to.extend(values.iter().map(|value| value.unwrap_or(Self::MISSING))),
                }
                Ok(())
            }
        }
    };
}

element!(f32, Float32Type, DataType::Float32);
element!(f64, Float64Type, DataType::Float64);

/// Columns of numbers, each in one piece.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseMatrix<T> {
    names: Vec<String>,
    rows: usize,
    columns: Vec<Vec<T>>,
}

impl<T: Element> DenseMatrix<T> {
    /// Reads rows into a matrix. `rows` is about how many there are: room is made for as many at
    /// once, and more take copies.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use arrow::array::{Int32Array, RecordBatch};
    /// use icecore_core::BatchStream;
    /// use icecore_dataset::DenseMatrix;
    ///
    /// # #[tokio::main] async fn main() -> icecore_core::Result<()> {
    /// # let age: arrow::array::ArrayRef = Arc::new(Int32Array::from(vec![Some(3), None]));
    /// # let batch = RecordBatch::try_from_iter([("age", age)])?;
    /// let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
    /// let matrix = DenseMatrix::<f32>::read(rows, 2).await?;
    /// assert_eq!((matrix.rows(), matrix.names()), (2, ["age".to_owned()].as_slice()));
    /// assert!(matrix.column(0)[0] == 3.0 && matrix.column(0)[1].is_nan());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a column of neither numbers nor booleans, and the errors of the rows.
    pub async fn read(mut rows: BatchStream, expected: usize) -> Result<Self> {
        let fields = rows.schema().fields().clone();
        if let Some(field) = fields.iter().find(|field| !is_feature_type(field.data_type())) {
            return Err(Error::invalid(format!(
                "column `{}` is {}, which no matrix holds",
                field.name(),
                field.data_type()
            ))
            .with_help("leave it out, or derive a number from it"));
        }
        let names = fields.iter().map(|field| field.name().clone()).collect();
        let mut columns: Vec<Vec<T>> =
            fields.iter().map(|_| Vec::with_capacity(expected)).collect();
        let mut count = 0;
        while let Some(batch) = rows.try_next().await? {
            count += batch.num_rows();
            for (column, to) in batch.columns().iter().zip(&mut columns) {
                T::append(column, to)?;
            }
        }
        columns.iter_mut().for_each(Vec::shrink_to_fit);
        Ok(Self { names, rows: count, columns })
    }

    /// The columns' names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many rows there are.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// A column's values; none if there is no such column.
    #[must_use]
    pub fn column(&self, at: usize) -> &[T] {
        self.columns.get(at).map_or(&[], Vec::as_slice)
    }

    /// The columns' values, to keep.
    #[must_use]
    pub fn into_columns(self) -> Vec<Vec<T>> {
        self.columns
    }
}
