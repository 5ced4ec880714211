//! Whether a definition fits the columns of its source.

use arrow::datatypes::{DataType, Schema};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::prelude::SessionContext;
use icecore_core::{Error, FeatureView, JoinKey, Result};
use icecore_engine::from_datafusion;

use super::Inputs;
use crate::Definitions;
use crate::expression::{Expression, unknown_column};
use crate::placed::Place;

/// A definition beside the columns of its source; every mistake is collected.
pub(super) struct Fit<'a> {
    pub(super) definitions: &'a Definitions,
    pub(super) view: &'a FeatureView,
    pub(super) context: &'a SessionContext,
    pub(super) frame: &'a DataFrame,
    pub(super) errors: Vec<Error>,
}

impl Fit<'_> {
    fn schema(&self) -> &Schema {
        self.frame.schema().as_arrow()
    }

    fn report(&mut self, part: &str, error: Error) {
        self.errors.push(self.definitions.locate(self.view, part, error));
    }

    fn unknown(&self, column: &str) -> Error {
        let names: Vec<&str> = self.schema().fields().iter().map(|f| f.name().as_str()).collect();
        unknown_column(column, &names, &format!("the source of `{}`", self.view.name))
    }

    fn column(&mut self, column: &str, part: &str) -> Option<DataType> {
        match self.schema().field_with_name(column) {
            Ok(field) => Some(field.data_type().clone()),
            Err(_) => {
                let error = self.unknown(column);
                self.report(part, error);
                None
            }
        }
    }

    pub(super) fn columns(&mut self, keys: &[JoinKey]) {
        for key in keys {
            if let Some(found) = self.column(&key.name, "entities") {
                self.key(key, &found);
            }
        }
        if let Some(created) = &self.view.created_timestamp {
            self.time(created, "created_timestamp");
        }
        for (index, column) in self.view.columns.iter().enumerate() {
            self.column(column, &format!("columns.{index}"));
        }
        for (index, aggregate) in self.view.aggregates.iter().enumerate() {
            if let Some(column) = &aggregate.column {
                self.column(column, &format!("aggregate.{index}.column"));
            }
        }
    }

    /// Keys are those that joins can compare, and of the type that their entity says.
    fn key(&mut self, key: &JoinKey, found: &DataType) {
        let what = format!("`{}` of the source of `{}` is {found}", key.name, self.view.name);
        let error = match key.value_type {
            Some(declared) if !declared.holds(found) => {
                Error::invalid(format!("{what}, and its entity says {declared}"))
            }
            // Numbers that are nearly equal are other entities, and lists have no order.
            None if found.is_floating() || found.is_nested() => {
                Error::invalid(format!("{what}, which no key can be"))
            }
            _ => return,
        };
        self.report("entities", error.with_help("cast it in `source_sql`"));
    }

    /// The type of a column of times; nothing where it is not there.
    pub(super) fn time(&mut self, column: &str, part: &str) -> Option<DataType> {
        let data_type = self.column(column, part)?;
        if !matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) {
            let error = Error::invalid(format!(
                "`{column}` of the source of `{}` is {data_type}, not a time or a date",
                self.view.name
            ));
            let help = format!("cast it in `source_sql`: `CAST({column} AS TIMESTAMP)`");
            self.report(part, error.with_help(help));
        }
        Some(data_type)
    }

    /// A condition over the columns; `whose` says whose it is where a value is too much for it.
    pub(super) fn condition(&mut self, text: &str, (part, whose): (&str, &str)) -> Option<Expr> {
        let location = self.definitions.location(self.view, part).cloned();
        let what = format!("`where` of {whose}");
        let place = Place { what, text: text.to_owned(), location };
        let planned = self.plan_condition(text).and_then(|condition| {
            let placed = place.of_condition(condition, self.frame.schema(), self.context);
            placed.map_err(from_datafusion)
        });
        planned.map_err(|error| self.report(part, error)).ok()
    }

    fn plan_condition(&self, text: &str) -> Result<Expr> {
        let expression = Expression::parse(text)?;
        let names: Vec<&str> = self.schema().fields().iter().map(|f| f.name().as_str()).collect();
        expression.check_columns(&names, &format!("the source of `{}`", self.view.name))?;
        let expr = expression.plan(self.context, self.frame.schema())?;
        match expr.get_type(self.frame.schema()).map_err(from_datafusion)? {
            DataType::Boolean => Ok(expr),
            other => Err(Error::invalid(format!("`{text}` is {other}, not a condition"))
                .with_help("compare it with something, such as `status = 'declined'`")),
        }
    }

    pub(super) fn masks(&mut self, inputs: &Inputs) -> Vec<Expr> {
        let mut masks = Vec::new();
        for mask in &inputs.masks {
            let aggregates = self.view.aggregates.iter();
            let found = aggregates.enumerate().find(|(_, a)| a.filter.as_ref() == Some(mask));
            let Some((index, aggregate)) = found else { continue };
            let part = format!("aggregate.{index}.where");
            let whose = format!("aggregate `{}` of `{}`", aggregate.name, self.view.name);
            masks.extend(self.condition(mask, (&part, &whose)));
        }
        masks
    }
}
