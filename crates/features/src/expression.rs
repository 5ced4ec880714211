//! SQL expressions of a definition: read, checked for names, normalized, planned.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, cast, lit};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, ExprWithAlias, Ident, ObjectNamePart, Statement as SqlStatement,
    visit_expressions, visit_expressions_mut,
};
use icecore_core::{Error, Result};
use icecore_engine::{as_typed, from_datafusion, parse_expression, parse_statements};

use crate::volatility::{depends_on, unstable_function};

/// Functions whose value is not decided by their arguments, so that most mistakes are found before
/// anything is planned. Plans are asked again, whatever a function is called.
const UNSTABLE: [&str; 11] = [
    "now",
    "today",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
    "random",
    "rand",
    "uuid",
    "gen_random_uuid",
];

/// An expression over the columns of one table.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    text: String,
    tree: SqlExpr,
}

impl Expression {
    /// Reads an expression.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let parsed = parse_expression(text).map_err(|error| syntax(text, error))?;
        if let Some(alias) = &parsed.alias {
            return Err(Error::invalid(format!("`{text}` names its result `{alias}`"))
                .with_help("leave out the `AS`: the feature has its name already"));
        }
        let expression = Self { text: text.to_owned(), tree: parsed.expr };
        expression.reject_queries()?;
        reject_unstable(&expression.tree, text)?;
        Ok(expression)
    }

    /// The columns that it reads, as the SQL of the engine understands them: without quotes in
    /// lower case.
    pub(crate) fn columns(&self) -> BTreeSet<String> {
        let mut columns = BTreeSet::new();
        let _: ControlFlow<()> = visit_expressions(&self.tree, |node| {
            match node {
                SqlExpr::Identifier(name) => {
                    columns.insert(resolved(name));
                }
                SqlExpr::CompoundIdentifier(parts) => {
                    columns.insert(parts.iter().map(resolved).collect::<Vec<_>>().join("."));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        columns
    }

    /// The same for every way to write it: spaces, comments, the case of names do not count.
    pub(crate) fn normalized(&self) -> String {
        let mut tree = self.tree.clone();
        lower_names(&mut tree);
        tree.to_string()
    }

    /// Fails for the first column that is not among `available`.
    pub(crate) fn check_columns(&self, available: &[&str], whose: &str) -> Result<()> {
        let unknown = self.columns().into_iter().find(|c| !available.contains(&c.as_str()));
        match unknown {
            None => Ok(()),
            Some(column) => Err(unknown_column(&column, available, whose)),
        }
    }

    /// Plans it over a table. `/` becomes true division, and dividing by zero gives null.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what does not fit the table, or depends on anything else.
    pub(crate) fn plan(&self, context: &SessionContext, schema: &DFSchema) -> Result<Expr> {
        let tree = ExprWithAlias { expr: self.tree.clone(), alias: None };
        let expr = context.state().create_logical_expr_from_sql_expr(tree, schema);
        let expr = expr.map_err(|error| self.unusable(&error))?;
        self.reject_other_rows(&expr)?;
        let divided = expr.transform_up(|node| true_division(node, schema));
        let expr = divided.and_then(|done| as_typed(done.data, schema));
        let expr = expr.map_err(|error| self.unusable(&error))?;
        expr.get_type(schema).map_err(|error| self.unusable(&error))?;
        match unstable_function(&expr).map_err(|error| self.unusable(&error))? {
            None => Ok(expr),
            Some(function) => Err(depends_on(&format!("`{}`", self.text), &function)),
        }
    }

    /// Plans it to be computed on rows of these columns, without a query around it.
    pub(crate) fn compile(
        &self,
        context: &SessionContext,
        schema: &DFSchema,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let planned = self.plan(context, schema)?;
        physical(context, planned, schema).map_err(|error| self.unusable(&error))
    }

    /// That its values are of a type that a column can have.
    pub(crate) fn check_type(&self, found: &DataType) -> Result<()> {
        if !found.is_null() {
            return Ok(());
        }
        Err(Error::invalid(format!("`{}` is null in every row", self.text))
            .with_help("leave the feature out, or give it a type: `CAST(NULL AS DOUBLE)`"))
    }

    fn unusable(&self, error: &DataFusionError) -> Error {
        Error::invalid(format!("cannot compute `{}`", self.text)).with_note(reason(error))
    }

    /// What is computed from one row has no aggregates, and nobody fills in a parameter.
    fn reject_other_rows(&self, expr: &Expr) -> Result<()> {
        let mut found = None;
        let walked = expr.apply(|node| {
            found = match node {
                Expr::AggregateFunction(call) => {
                    Some(format!("the aggregate `{}`", call.func.name()))
                }
                Expr::Placeholder(placeholder) => {
                    Some(format!("the parameter `{}`", placeholder.id))
                }
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            Ok(TreeNodeRecursion::Stop)
        });
        walked.map_err(|error| self.unusable(&error))?;
        match found {
            None => Ok(()),
            Some(what) => Err(Error::invalid(format!("`{}` has {what} inside", self.text))
                .with_help(
                    "an expression computes one row from itself; aggregates over windows are \
                     `[[feature_view.aggregate]]`",
                )),
        }
    }

    fn reject_queries(&self) -> Result<()> {
        let found = visit_expressions(&self.tree, |node| match node {
            SqlExpr::Subquery(_) | SqlExpr::Exists { .. } | SqlExpr::InSubquery { .. } => {
                ControlFlow::Break("a query")
            }
            SqlExpr::Function(function) if function.over.is_some() => {
                ControlFlow::Break("a window function")
            }
            _ => ControlFlow::Continue(()),
        });
        match found {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(what) => {
                Err(Error::invalid(format!("`{}` has {what} inside", self.text)).with_help(
                    "an expression computes one row from itself; put the query into `source_sql`",
                ))
            }
        }
    }
}

/// An expression of rows of these columns, to be computed without a query around it.
pub(crate) fn physical(
    context: &SessionContext,
    planned: Expr,
    schema: &DFSchema,
) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    // As the optimizer of a query does it; some functions exist only until then.
    let simplifier = simplifier(schema);
    let expr = simplifier.simplify(simplifier.coerce(planned, schema)?)?;
    context.create_physical_expr(expr, schema)
}

/// The expression with every conversion in it that its types need.
pub(crate) fn coerced(planned: Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    simplifier(schema).coerce(planned, schema)
}

fn simplifier(schema: &DFSchema) -> ExprSimplifier {
    ExprSimplifier::new(SimplifyContext::default().with_schema(Arc::new(schema.clone())))
}

/// Reads a query: one `SELECT` statement.
pub(crate) fn parse_query(text: &str) -> Result<SqlStatement> {
    let statements = parse_statements(text).map_err(|error| syntax(text, error))?;
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(Statement::Statement(statement)), None)
            if matches!(*statement, SqlStatement::Query(_)) =>
        {
            reject_unstable(statement.as_ref(), text)?;
            Ok(*statement)
        }
        _ => Err(Error::invalid("the query is not one `SELECT` statement")),
    }
}

/// The same for every way to write a query.
pub(crate) fn normalized_query(text: &str) -> Result<String> {
    let mut statement = parse_query(text)?;
    lower_names(&mut statement);
    Ok(statement.to_string())
}

/// The error for a column that does not exist.
pub(crate) fn unknown_column(column: &str, available: &[&str], whose: &str) -> Error {
    let error = Error::not_found(format!("{whose} has no column `{column}`"))
        .with_note(format!("columns: {}", available.join(", ")));
    let cased = available.iter().find(|name| name.to_lowercase() == column && **name != column);
    match cased {
        Some(cased) => error.with_help(format!("write `\"{cased}\"`: quotes keep capital letters")),
        None => error.with_candidates(column, available.iter().copied()),
    }
}

/// What the engine says, in one line and without its own names for the kind of error.
pub(crate) fn reason(error: &DataFusionError) -> String {
    let root = error.find_root().strip_backtrace();
    let text = match root.split_once(": ") {
        Some((kind, rest)) if kind.ends_with("rror") || kind.starts_with("SQL") => rest,
        _ => &root,
    };
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

fn syntax(text: &str, error: DataFusionError) -> Error {
    // What the engine itself refuses is SQL, and it says what to do.
    if matches!(error, DataFusionError::External(_)) {
        return from_datafusion(error);
    }
    let reason = reason(&error);
    let reason = reason.trim_start_matches("ParserError(\"").trim_end_matches("\")").to_owned();
    Error::invalid(format!("`{text}` is not SQL")).with_note(reason)
}

fn resolved(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

fn lower(name: &mut Ident) {
    if name.quote_style.is_none() {
        name.value = name.value.to_lowercase();
    }
}

fn lower_names<V: datafusion::sql::sqlparser::ast::VisitMut>(tree: &mut V) {
    let _: ControlFlow<()> = visit_expressions_mut(tree, |node| {
        match node {
            SqlExpr::Identifier(name) => lower(name),
            SqlExpr::CompoundIdentifier(parts) => parts.iter_mut().for_each(lower),
            SqlExpr::Function(function) => {
                for part in &mut function.name.0 {
                    if let ObjectNamePart::Identifier(name) = part {
                        lower(name);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
}

/// The first function in a condition that is known not to be decided by its arguments. None for
/// what is no SQL: whoever plans the condition says so.
#[must_use]
pub fn unstable_condition(condition: &str) -> Option<String> {
    let parsed = parse_expression(condition).ok()?;
    unstable_name(&parsed.expr)
}

fn reject_unstable<V: datafusion::sql::sqlparser::ast::Visit>(tree: &V, text: &str) -> Result<()> {
    match unstable_name(tree) {
        None => Ok(()),
        Some(name) => Err(depends_on(&format!("`{text}`"), &name)),
    }
}

fn unstable_name<V: datafusion::sql::sqlparser::ast::Visit>(tree: &V) -> Option<String> {
    let found = visit_expressions(tree, |node| match node {
        SqlExpr::Function(function) => {
            // In quotes or in capital letters, with or without the schema before it.
            let name = match function.name.0.last() {
                Some(ObjectNamePart::Identifier(name)) => name.value.to_lowercase(),
                _ => String::new(),
            };
            match UNSTABLE.contains(&name.as_str()) {
                true => ControlFlow::Break(name),
                false => ControlFlow::Continue(()),
            }
        }
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Continue(()) => None,
        ControlFlow::Break(name) => Some(name),
    }
}

/// Division of numbers as people mean it: 1 / 2 is a half, and nothing is infinite.
fn true_division(
    node: Expr,
    schema: &DFSchema,
) -> std::result::Result<Transformed<Expr>, DataFusionError> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) = node else {
        return Ok(Transformed::no(node));
    };
    let (left_type, right_type) = (left.get_type(schema)?, right.get_type(schema)?);
    let number = |t: &DataType| t.is_numeric() || t.is_null();
    if !number(&left_type) || !number(&right_type) {
        return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr::new(
            left,
            Operator::Divide,
            right,
        ))));
    }
    let float = |expr: Expr, t: &DataType| {
        if *t == DataType::Float64 { expr } else { cast(expr, DataType::Float64) }
    };
    // Floats have two zeros, which the comparison of the engine tells apart.
    let divisor = nullif(nullif(float(*right, &right_type), lit(0.0_f64)), lit(-0.0_f64));
    let (left, right) = (Box::new(float(*left, &left_type)), Box::new(divisor));
    Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(left, Operator::Divide, right))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_by_itself_is_refused_however_it_is_written() {
        for text in ["now()", "\"now\"()", "NOW()", "a + pg_catalog.now()", "CURRENT_DATE"] {
            let error = Expression::parse(text).unwrap_err().to_string();
            assert!(error.contains("depends on"), "{text}: {error}");
        }
        assert!(parse_query("SELECT \"random\"() AS r FROM t").is_err());
        assert!(Expression::parse("nowhere(a)").is_ok());
    }

    #[test]
    fn a_condition_of_other_crates_names_what_changes_by_itself() {
        let named = unstable_condition("at < now() - INTERVAL '1 day'");
        assert_eq!(named.as_deref(), Some("now"));
        assert_eq!(unstable_condition("at < to_timestamp('2026-01-01')"), None);
        assert_eq!(unstable_condition("at <"), None);
    }

    #[test]
    fn what_needs_other_rows_or_values_is_refused() {
        let context = SessionContext::new();
        for (text, expected) in [
            ("sum(1) > 2", "`sum(1) > 2` has the aggregate `sum` inside"),
            ("1 + abs(max(2))", "`1 + abs(max(2))` has the aggregate `max` inside"),
            ("1 > $1", "`1 > $1` has the parameter `$1` inside"),
        ] {
            let expression = Expression::parse(text).unwrap();
            let error = expression.plan(&context, &DFSchema::empty()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    // A name that no list has.
    #[test]
    fn what_a_function_is_decides_and_not_its_name() {
        let context = crate::fixture::moonstruck();
        let planned = |text: &str| {
            Expression::parse(text).unwrap().plan(&context, &DFSchema::empty()).map(|_| ())
        };
        let error = planned("1 / phase_of_the_moon()").unwrap_err();
        let expected = "`1 / phase_of_the_moon()` depends on `phase_of_the_moon`";
        assert_eq!(error.to_string(), expected);
        planned("1 / answer()").unwrap();
        planned("date_trunc('day', to_timestamp('2026-01-01'))").unwrap();
    }
}
