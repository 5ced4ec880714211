//! What users can change about the columns, the partitioning and the order of a table.

use std::fmt;

use icecore_core::Literal;

use super::type_text::ColumnType;

/// One change of a table that rewrites no file.
///
/// Columns are named by their path: `amount`, `address.city`, `tags.element`, `prices.value`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Alteration {
    /// Adds a column, or a field to a struct.
    AddColumn(NewColumn),
    /// Drops a column. Its values stay in the files and are not read any more.
    DropColumn(String),
    /// Gives a column another name.
    RenameColumn {
        /// Its path.
        column: String,
        /// Its new last name.
        to: String,
    },
    /// Lets a column hold more: int to long, float to double, a decimal of more digits.
    WidenColumn {
        /// Its path.
        column: String,
        /// What it is to hold.
        to: ColumnType,
    },
    /// Lets a column be null.
    MakeOptional(String),
    /// Says what a column means; `None` says nothing any more.
    Document {
        /// Its path.
        column: String,
        /// What it means.
        doc: Option<String>,
    },
    /// Gives a column another place among its siblings.
    MoveColumn {
        /// Its path.
        column: String,
        /// Where to.
        to: ColumnPlace,
    },
    /// Says which columns tell a row from every other one; none for no columns.
    SetIdentifier(Vec<String>),
    /// Partitions what is written from now on by these, such as `day(event_timestamp)`; none for
    /// no partitions. Files that are there stay as they are.
    PartitionBy(Vec<String>),
    /// Also partitions by this.
    AddPartition(String),
    /// No longer partitions by this.
    DropPartition(String),
    /// Sorts the rows of files that are written from now on by these, such as `user_token` or
    /// `day(event_timestamp) desc nulls last`; none for no order.
    SortBy(Vec<String>),
}

impl Alteration {
    /// Whether it changes the columns, and not only how rows are laid out.
    pub(crate) const fn is_of_columns(&self) -> bool {
        !matches!(
            self,
            Self::PartitionBy(_) | Self::AddPartition(_) | Self::DropPartition(_) | Self::SortBy(_)
        )
    }
}

impl fmt::Display for Alteration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, what: &str, by: &[String]| match by {
            [] => write!(f, "no {what}"),
            by => write!(f, "{what} {}", by.join(", ")),
        };
        match self {
            Self::AddColumn(new) => new.fmt(f),
            Self::DropColumn(column) => write!(f, "drop column {column}"),
            Self::RenameColumn { column, to } => write!(f, "rename column {column} to {to}"),
            Self::WidenColumn { column, to } => write!(f, "widen column {column} to {to}"),
            Self::MakeOptional(column) => write!(f, "make column {column} optional"),
            Self::Document { column, .. } => write!(f, "document column {column}"),
            Self::MoveColumn { column, to } => write!(f, "move column {column} {to}"),
            Self::SetIdentifier(columns) => list(f, "identifier", columns),
            Self::PartitionBy(by) => list(f, "partition by", by),
            Self::AddPartition(by) => write!(f, "also partition by {by}"),
            Self::DropPartition(by) => write!(f, "no longer partition by {by}"),
            Self::SortBy(by) => list(f, "sort by", by),
        }
    }
}

/// A column that is to be added.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NewColumn {
    /// Its path: a name, or the path of a struct, a dot and a name.
    pub path: String,
    /// What it holds.
    pub column_type: ColumnType,
    /// Whether every row has a value. Needs a default, and so format version 3.
    pub required: bool,
    /// What it means.
    pub doc: Option<String>,
    /// Where it stands among its siblings.
    pub place: ColumnPlace,
    /// What rows have that were written before, or that are written without it. Needs format
    /// version 3.
    pub default: Option<Literal>,
}

impl NewColumn {
    /// An optional column after all others.
    pub fn new(path: impl Into<String>, column_type: ColumnType) -> Self {
        Self {
            path: path.into(),
            column_type,
            required: false,
            doc: None,
            place: ColumnPlace::Last,
            default: None,
        }
    }

    /// Wants a value in every row.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Says what it means.
    #[must_use]
    pub fn with_doc(mut self, doc: impl Into<String>) -> Self {
        self.doc = Some(doc.into());
        self
    }

    /// Puts it there.
    #[must_use]
    pub fn with_place(mut self, place: ColumnPlace) -> Self {
        self.place = place;
        self
    }

    /// Gives rows that lack it this value.
    #[must_use]
    pub fn with_default(mut self, value: Literal) -> Self {
        self.default = Some(value);
        self
    }
}

impl fmt::Display for NewColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "add column {} {}", self.path, self.column_type)?;
        if self.required { f.write_str(" not null") } else { Ok(()) }
    }
}

/// A place among siblings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ColumnPlace {
    /// Before all others.
    First,
    /// After all others.
    #[default]
    Last,
    /// Right before this one.
    Before(String),
    /// Right after this one.
    After(String),
}

impl fmt::Display for ColumnPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Last => f.write_str("last"),
            Self::Before(sibling) => write!(f, "before {sibling}"),
            Self::After(sibling) => write!(f, "after {sibling}"),
        }
    }
}
