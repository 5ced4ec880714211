//! Statistics of some rows: a profile for each column.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use icecore_core::Result;

use crate::{ColumnKind, ColumnProfile, Side};

/// What of rows is profiled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileOptions {
    /// Only these columns; absent means all.
    pub columns: Option<BTreeSet<String>>,
    /// Columns of which only presence is kept: keys, whose values belong into no statistics.
    pub private: BTreeSet<String>,
}

impl ProfileOptions {
    /// Profiles only these columns.
    #[must_use]
    pub fn with_columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Keeps no values of these columns.
    #[must_use]
    pub fn with_private<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.private.extend(columns.into_iter().map(Into::into));
        self
    }
}

/// Statistics of some rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profile {
    pub(crate) rows: u64,
    pub(crate) columns: BTreeMap<String, ColumnProfile>,
}

impl Profile {
    /// The profile of no rows of these columns.
    #[must_use]
    pub fn empty(schema: &Schema, options: &ProfileOptions) -> Self {
        let wanted =
            |name: &String| options.columns.as_ref().is_none_or(|columns| columns.contains(name));
        let fields = schema.fields().iter().filter(|field| wanted(field.name()));
        let columns = fields.map(|field| {
            let kind = match options.private.contains(field.name()) {
                true => ColumnKind::Opaque,
                false => ColumnKind::of(field.data_type()),
            };
            (field.name().clone(), ColumnProfile::new(kind))
        });
        Self { rows: 0, columns: columns.collect() }
    }

    /// The profile of a batch.
    ///
    /// # Errors
    ///
    /// `Internal` for a column whose values cannot be hashed.
    pub fn of(batch: &RecordBatch, options: &ProfileOptions) -> Result<Self> {
        let mut profile = Self::empty(&batch.schema(), options);
        profile.add(batch)?;
        Ok(profile)
    }

    /// Adds the rows of a batch.
    ///
    /// # Errors
    ///
    /// `Internal` for a column whose values cannot be hashed.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        for (name, column) in &mut self.columns {
            if let Some(values) = batch.column_by_name(name) {
                column.add(values)?;
            }
        }
        Ok(())
    }

    /// Adds everything that another profile has seen. A column that one of them lacks was null
    /// there.
    pub fn merge(&mut self, other: &Self) {
        for (name, column) in &other.columns {
            match self.columns.get_mut(name) {
                Some(known) => known.merge(column),
                None => {
                    let mut column = column.clone();
                    column.rows += self.rows;
                    column.nulls += self.rows;
                    self.columns.insert(name.clone(), column);
                }
            }
        }
        for (name, column) in &mut self.columns {
            if !other.columns.contains_key(name) {
                column.rows += other.rows;
                column.nulls += other.rows;
            }
        }
        self.rows += other.rows;
    }

    /// How many rows it has seen.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The columns, by name.
    #[must_use]
    pub const fn columns(&self) -> &BTreeMap<String, ColumnProfile> {
        &self.columns
    }

    /// What each column holds, in numbers for people.
    #[must_use]
    pub fn summary(&self) -> BTreeMap<String, Side> {
        self.columns.iter().map(|(name, column)| (name.clone(), Side::of(column))).collect()
    }

    /// Only these columns.
    #[must_use]
    pub fn only(mut self, names: &BTreeSet<String>) -> Self {
        self.columns.retain(|name, _| names.contains(name));
        self
    }
}
