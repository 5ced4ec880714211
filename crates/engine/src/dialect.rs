//! What other engines' SQL has and DataFusion lacks: rewritten, or given as functions.
//!
//! | written | means |
//! |---|---|
//! | `DATEADD(day, -30, d)`, `DATE_ADD(d, 30)`, `DATE_ADD(d, INTERVAL 3 DAY)`, `DATE_SUB`, `ADD_MONTHS`, `TIMESTAMPADD` | `d`, so much later |
//! | `DATEDIFF(a, b)` | the days from `b` to `a` |
//! | `DATEDIFF(day, a, b)`, `TIMESTAMPDIFF`, `DATE_DIFF(b, a, DAY)` | how many borders of days lie between `a` and `b` |
//! | `text[:10]`, `text[3:]` | its first ten characters, its third and later ones |
//! | `TIMESTAMP '…'`, `TIME '…'` | in microseconds, unless more digits are written |
//! | `UUID '…'`, `CAST(text AS UUID)` | its sixteen bytes |
//! | `TUMBLE(t, INTERVAL …)`, `TUMBLE_START`, `TUMBLE_END` | the start or the end of the window that `t` lies in |

mod alternatives;
mod calendar;
mod entries;
mod moments;
mod sample;
mod slice;
mod uuid;

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, TypePlanner};
use datafusion::logical_expr::{Expr as Planned, ScalarUDF};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, DataType as SqlType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart,
    Subscript, TypedString, UnaryOperator, Value, VisitMut, visit_expressions_mut,
};

pub(crate) use alternatives::alternative;
pub(crate) use calendar::DATE_ADD;
pub(crate) use moments::is_finer;
pub(crate) use sample::check_samples;
pub(crate) use uuid::{UUID_BYTES, parse_uuid};

use calendar::{DateAdd, DateBin, DateDiff, DatePart, DateTrunc, ToChar, Unit};

/// The functions that rewritten queries call, and those that stand for DataFusion's of their name.
pub(crate) fn functions() -> [Arc<ScalarUDF>; 8] {
    [
        Arc::new(ScalarUDF::new_from_impl(DateAdd::default())),
        Arc::new(ScalarUDF::new_from_impl(DateDiff::default())),
        Arc::new(ScalarUDF::new_from_impl(DateTrunc::default())),
        Arc::new(ScalarUDF::new_from_impl(DateBin::default())),
        Arc::new(ScalarUDF::new_from_impl(ToChar::default())),
        Arc::new(ScalarUDF::new_from_impl(entries::MapEntries::default())),
        Arc::new(ScalarUDF::new_from_impl(uuid::ToUuid::default())),
        date_part(),
    ]
}

fn date_part() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(DatePart::default()))
}

/// How slices of texts and parts of dates are planned; asked before DataFusion's own planners.
pub(crate) fn planners() -> [Arc<dyn ExprPlanner>; 2] {
    [Arc::new(slice::TextSlices), Arc::new(Extract)]
}

/// What types mean that DataFusion reads otherwise.
pub(crate) fn types() -> Arc<dyn TypePlanner> {
    Arc::new(moments::TableTypes)
}

/// `EXTRACT(part FROM moment)`, which DataFusion plans with its own function whatever is registered.
#[derive(Debug)]
struct Extract;

impl ExprPlanner for Extract {
    fn plan_extract(&self, args: Vec<Planned>) -> Result<PlannerResult<Vec<Planned>>> {
        Ok(PlannerResult::Planned(date_part().call(args)))
    }
}

/// Says a statement in DataFusion's words.
pub(crate) fn rewrite(statement: &mut Statement) {
    match statement {
        Statement::Statement(sql) => rewrite_expressions(sql.as_mut()),
        Statement::Explain(explain) => rewrite(&mut explain.statement),
        _ => {}
    }
}

/// Says the expressions of a part of a statement in DataFusion's words.
pub(crate) fn rewrite_expressions(part: &mut impl VisitMut) {
    let _: ControlFlow<()> = visit_expressions_mut(part, |expr| {
        rewrite_expression(expr);
        ControlFlow::Continue(())
    });
}

fn rewrite_expression(expr: &mut Expr) {
    if let Some(text) = as_uuid(expr) {
        *expr = called_alone(uuid::TO_UUID, text);
        return;
    }
    moments::rewrite(expr);
    match expr {
        Expr::CompoundFieldAccess { access_chain, .. } => {
            for access in access_chain {
                if let AccessExpr::Subscript(Subscript::Slice {
                    lower_bound, upper_bound, ..
                }) = access
                {
                    lower_bound.get_or_insert_with(|| number("1"));
                    upper_bound.get_or_insert_with(minus_one);
                }
            }
        }
        Expr::Function(function) => {
            if let Some(same) = rewrite_function(function) {
                *expr = same;
            }
        }
        _ => {}
    }
}

/// The same call in DataFusion's words; `None` where it is that already.
fn rewrite_function(function: &Function) -> Option<Expr> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let name_lower = name.value.to_ascii_lowercase();
    let arguments = arguments(function)?;
    let call = |name: &str, arguments: Vec<Expr>| called(function, name, arguments);
    match (name_lower.as_str(), arguments.as_slice()) {
        ("dateadd" | "date_add" | "timestampadd" | "timestamp_add", [unit, count, moment])
            if as_unit(unit).is_some() =>
        {
            Some(call(DATE_ADD, vec![as_unit(unit)?, count.clone(), moment.clone()]))
        }
        ("dateadd" | "date_add" | "timestamp_add", [moment, by @ Expr::Interval(_)]) => {
            Some(plus(moment.clone(), BinaryOperator::Plus, by.clone()))
        }
        ("date_sub" | "timestamp_sub", [moment, by @ Expr::Interval(_)]) => {
            Some(plus(moment.clone(), BinaryOperator::Minus, by.clone()))
        }
        ("dateadd" | "date_add", [moment, days]) => {
            Some(call(DATE_ADD, vec![text("day"), days.clone(), moment.clone()]))
        }
        ("date_sub", [moment, days]) => {
            let back = Expr::UnaryOp {
                op: UnaryOperator::Minus,
                expr: Box::new(Expr::Nested(Box::new(days.clone()))),
            };
            Some(call(DATE_ADD, vec![text("day"), back, moment.clone()]))
        }
        ("add_months", [moment, months]) => {
            Some(call(DATE_ADD, vec![text("month"), months.clone(), moment.clone()]))
        }
        ("datediff" | "date_diff", [end, start]) => {
            Some(call(calendar::DATE_DIFF, vec![text("day"), start.clone(), end.clone()]))
        }
        ("datediff" | "date_diff" | "timestampdiff" | "timestamp_diff", [unit, start, end])
            if as_unit(unit).is_some() =>
        {
            Some(call(calendar::DATE_DIFF, vec![as_unit(unit)?, start.clone(), end.clone()]))
        }
        ("datediff" | "date_diff" | "timestamp_diff", [end, start, unit])
            if as_unit(unit).is_some() =>
        {
            Some(call(calendar::DATE_DIFF, vec![as_unit(unit)?, start.clone(), end.clone()]))
        }
        ("date_trunc", [unit @ Expr::Identifier(_), moment]) if as_unit(unit).is_some() => {
            Some(call("date_trunc", vec![as_unit(unit)?, moment.clone()]))
        }
        ("tumble" | "tumble_start", [moment, width @ Expr::Interval(_)]) => {
            Some(call("date_bin", vec![width.clone(), moment.clone()]))
        }
        ("tumble_end", [moment, width @ Expr::Interval(_)]) => {
            let start = call("date_bin", vec![width.clone(), moment.clone()]);
            Some(plus(start, BinaryOperator::Plus, width.clone()))
        }
        _ => None,
    }
}

/// The arguments of a plain call.
fn arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(FunctionArgumentList { args, clauses, .. }) = &function.args else {
        return None;
    };
    if !clauses.is_empty() {
        return None;
    }
    args.iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        })
        .collect()
}

/// `day`, or `'day'`, as a text.
fn as_unit(expr: &Expr) -> Option<Expr> {
    let written = match expr {
        Expr::Identifier(ident) if ident.quote_style.is_none() => ident.value.as_str(),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(written) => written,
            _ => return None,
        },
        _ => return None,
    };
    Unit::parse(written).map(|unit| text(unit.name()))
}

fn called(like: &Function, name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)));
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: Vec::new(),
        }),
        ..like.clone()
    })
}

/// What is cast to a UUID.
fn as_uuid(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::TypedString(TypedString { data_type: SqlType::Uuid, value, .. }) => {
            Some(Expr::Value(value.clone()))
        }
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
            (*data_type == SqlType::Uuid).then(|| expr.as_ref().clone())
        }
        _ => None,
    }
}

fn called_alone(name: &str, argument: Expr) -> Expr {
    let args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))];
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn plus(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
}

fn text(value: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.to_owned()).with_empty_span())
}

fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.to_owned(), false).with_empty_span())
}

/// What a list and a text take for the last element.
fn minus_one() -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number("1")) }
}
