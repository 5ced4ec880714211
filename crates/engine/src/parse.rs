//! From the text of SQL to a syntax tree that is safe to walk.
//!
//! Whoever plans, optimizes, shows or drops an expression calls itself for each level of it, and
//! the parser limits only levels that are written with parentheses: `a OR b OR c …` and
//! `x::int::int …` make a level of every term. So texts are asked how deep their tree can be before
//! they are parsed, long chains of `OR` and `AND` become trees of few levels, which say the same,
//! and what is still deep is refused.

mod balance;
mod tokens;
mod tree;

use std::collections::VecDeque;

use datafusion::common::DataFusionError;
use datafusion::sql::parser::{DFParser, DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::ExprWithAlias;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;
use icecore_core::{Error, ErrorKind};

use crate::error::to_datafusion;

/// The most levels that are written with parentheses: what DataFusion sets.
const NESTING_MAX: usize = 50;
/// The most levels of an expression, and the most arms of `UNION` and the like. A stack of 8 MiB, as
/// the binary's threads have it, takes them in any build, and six times as many in an optimized one
/// (chains of `+` and of casts); one of 2 MiB takes as few as 33 casts in a build without optimization.
/// The time that DataFusion takes grows with the square of them.
const DEPTH_MAX: usize = 128;

/// Parses an expression: nothing may follow it.
///
/// # Errors
///
/// The parser's, and one of ours for what is nested too deeply.
pub fn parse_expression(text: &str) -> Result<ExprWithAlias, DataFusionError> {
    let mut parsed = parser(text)?.parse_into_expr()?;
    tree::settle(&mut parsed.expr)?;
    Ok(parsed)
}

/// Parses statements.
///
/// # Errors
///
/// As [`parse_expression`].
pub fn parse_statements(text: &str) -> Result<VecDeque<Statement>, DataFusionError> {
    let mut statements = parser(text)?.parse_statements()?;
    for statement in &mut statements {
        settle(statement)?;
    }
    Ok(statements)
}

fn settle(mut statement: &mut Statement) -> Result<(), DataFusionError> {
    while let Statement::Explain(explain) = statement {
        statement = explain.statement.as_mut();
    }
    match statement {
        Statement::Statement(sql) => tree::settle(sql.as_mut()),
        // No query is in them; they are refused for what they are.
        _ => Ok(()),
    }
}

fn parser(text: &str) -> Result<DFParser<'static>, DataFusionError> {
    // The generic dialect takes `events.payments$snapshots` without quotes.
    const DIALECT: &dyn Dialect = &GenericDialect {};
    let tokens = Tokenizer::new(DIALECT, text).tokenize_with_location();
    let tokens = tokens.map_err(|error| DataFusionError::from(ParserError::from(error)))?;
    tokens::check(&tokens)?;
    let parser = DFParserBuilder::new(tokens);
    parser.with_dialect(DIALECT).with_recursion_limit(NESTING_MAX).build()
}

fn too_deep(what: &str, limit: usize) -> DataFusionError {
    let error = Error::new(ErrorKind::LimitExceeded, format!("{what}: the limit is {limit}"));
    to_datafusion(error.with_help(
        "write `x IN (1, 2, 3)` for many alternatives of one value, or several statements",
    ))
}

#[cfg(test)]
pub(crate) mod tests;
