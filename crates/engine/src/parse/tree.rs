//! The depth of syntax trees.

use std::ops::ControlFlow;

use datafusion::common::DataFusionError;
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    ObjectNamePart, Query, SetExpr, TypedString, Value, VisitMut, VisitorMut,
};

use super::balance::balance;
use super::{DEPTH_MAX, NESTING_MAX, too_deep};

/// Balances what can be, and refuses what is too deep then.
pub(super) fn settle(tree: &mut impl VisitMut) -> Result<(), DataFusionError> {
    match tree.visit(&mut Settling { depth: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Looks at a node before what is below it, and at nothing below what is too deep: the walk itself
/// is never deeper than the limit.
struct Settling {
    depth: usize,
}

impl VisitorMut for Settling {
    type Break = DataFusionError;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        balance(expr);
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let what = "an expression is nested too deeply";
            return ControlFlow::Break(too_deep(what, DEPTH_MAX));
        }
        let types = match expr {
            Expr::Cast { data_type, .. }
            | Expr::Convert { data_type: Some(data_type), .. }
            | Expr::TypedString(TypedString { data_type, .. }) => brackets(data_type),
            Expr::Function(function) => spelled_types(function),
            _ => 0,
        };
        if types > NESTING_MAX {
            return ControlFlow::Break(too_deep("a type is nested too deeply", NESTING_MAX));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _expr: &mut Expr) -> ControlFlow<Self::Break> {
        self.depth = self.depth.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        let mut arms = 1;
        let mut body = query.body.as_ref();
        while let SetExpr::SetOperation { left, .. } = body {
            arms += 1;
            body = left;
        }
        if arms > DEPTH_MAX {
            let what = "too many queries are put together by `UNION` and the like";
            return ControlFlow::Break(too_deep(what, DEPTH_MAX));
        }
        ControlFlow::Continue(())
    }
}

/// How often `[]` stands behind a type.
fn brackets(mut data_type: &DataType) -> usize {
    let mut depth = 0;
    while let DataType::Array(ArrayElemTypeDef::SquareBracket(inner, _)) = data_type {
        depth += 1;
        data_type = inner;
    }
    depth
}

/// How deep the type is that `arrow_cast(x, 'List(Int8)')` spells.
fn spelled_types(function: &Function) -> usize {
    let Some(ObjectNamePart::Identifier(name)) = function.name.0.last() else { return 0 };
    if !name.value.eq_ignore_ascii_case("arrow_cast") {
        return 0;
    }
    let FunctionArguments::List(list) = &function.args else { return 0 };
    let spelled = list.args.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    });
    spelled.map(|text| text.matches('(').count()).max().unwrap_or(0)
}
