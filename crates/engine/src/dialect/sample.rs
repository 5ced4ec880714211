//! `TABLESAMPLE`, which DataFusion reads and forgets.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Statement, TableFactor, Visit as _, Visitor};
use icecore_core::{Error, Result};

struct Sampled;

impl Visitor for Sampled {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        match table {
            TableFactor::Table { sample: Some(_), .. }
            | TableFactor::Derived { sample: Some(_), .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Fails where a query wants a sample of a table: it would get the whole of it.
pub(crate) fn check_samples(statement: &Statement) -> Result<()> {
    if statement.visit(&mut Sampled).is_break() {
        return Err(Error::unsupported("`TABLESAMPLE` is not supported").with_help(
            "write `WHERE random() < 0.1`, or take the same rows each time by a key: \
             `WHERE substr(md5(CAST(id AS VARCHAR)), 1, 1) = '0'`",
        ));
    }
    Ok(())
}
