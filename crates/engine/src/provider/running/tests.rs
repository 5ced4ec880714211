use datafusion::common::ScalarValue;
use datafusion::physical_expr::expressions::{
    DynamicFilterPhysicalExpr, binary, col, in_list, lit,
};
use icecore_core::{CompareOp, Literal as Value};

use super::*;
use crate::tests::payments_schema;

#[test]
fn what_is_found_while_a_query_runs_is_known_from_then_on() {
    let schema = payments_schema();
    let id = col("id", &schema).unwrap();
    let filter = Arc::new(DynamicFilterPhysicalExpr::new(vec![id.clone()], lit(true)));
    let filters = [Arc::clone(&filter) as Arc<dyn PhysicalExpr>];
    assert_eq!(predicate_now(&filters, &schema), None);
    let least = binary(id.clone(), Operator::GtEq, lit(3_i64), &schema).unwrap();
    let most = binary(lit(9_i64), Operator::Gt, id, &schema).unwrap();
    filter.update(binary(least, Operator::And, most, &schema).unwrap()).unwrap();
    let wanted = Predicate::And(vec![
        Predicate::compare("id", CompareOp::GtEq, Value::Int(3)),
        Predicate::compare("id", CompareOp::Lt, Value::Int(9)),
    ]);
    assert_eq!(predicate_now(&filters, &schema), Some(Predicate::And(vec![wanted])));
}

#[test]
fn what_cannot_be_said_with_constants_narrows_nothing() {
    let schema = payments_schema();
    let (id, user) = (col("id", &schema).unwrap(), col("user_token", &schema).unwrap());
    let known = in_list(user.clone(), vec![lit("a"), lit("b")], &false, &schema).unwrap();
    let values = vec![Value::Text("a".to_owned()), Value::Text("b".to_owned())];
    let wanted = Predicate::In("user_token".to_owned(), values);
    assert_eq!(weak(&known, &schema), Some(wanted.clone()));
    let null = in_list(user.clone(), vec![lit(ScalarValue::Utf8(None))], &false, &schema).unwrap();
    let other = in_list(user, vec![lit("a")], &true, &schema).unwrap();
    let itself = binary(id.clone(), Operator::Eq, id, &schema).unwrap();
    for unknown in [null, other, itself] {
        assert_eq!(weak(&unknown, &schema), None, "{unknown}");
        let both = binary(Arc::clone(&known), Operator::And, Arc::clone(&unknown), &schema);
        assert_eq!(weak(&both.unwrap(), &schema), Some(wanted.clone()));
        let either = binary(Arc::clone(&known), Operator::Or, unknown, &schema);
        assert_eq!(weak(&either.unwrap(), &schema), None);
    }
}
