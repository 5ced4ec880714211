use iceberg::TableCreation;
use iceberg::spec::{NestedField, PrimitiveType, Schema, TableMetadataBuilder, Type};

use super::*;

fn lent(prefix: &str) -> Lent {
    let config = [("s3.access-key-id".to_owned(), format!("key of {prefix}"))].into();
    Lent { prefix: prefix.to_owned(), config }
}

fn metadata() -> TableMetadata {
    let column = NestedField::required(1, "n", Type::Primitive(PrimitiveType::Long));
    let schema = Schema::builder().with_fields([column.into()]).build().unwrap();
    let creation = TableCreation::builder()
        .name("t".to_owned())
        .location("s3://lake/wh/t".to_owned())
        .schema(schema)
        .properties([("write.data.path".to_owned(), "s3a://other/t".to_owned())])
        .build();
    TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
}

/// The places that credentials of these prefixes are for, each with the prefix that it comes from.
#[track_caller]
fn check(prefixes: &[&str], wanted: &[(&str, &str)]) {
    let all = prefixes.iter().map(|prefix| lent(prefix)).collect();
    let found = placed(all, &metadata(), "s3://lake/wh/t/metadata/1.metadata.json");
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|lent| (&*lent.prefix, lent.config["s3.access-key-id"].trim_start_matches("key of ")))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn a_prefix_that_is_no_place_is_for_the_tables_own_places() {
    check(&[], &[]);
    check(&["s3://lake/wh/t/"], &[("s3://lake/wh/t/", "s3://lake/wh/t/")]);
    check(&[""], &[("s3://lake/wh/t", ""), ("s3a://other/t", "")]);
    check(&["s3"], &[("s3://lake/wh/t", "s3"), ("s3a://other/t", "s3")]);
    check(&["s3a", "s3"], &[("s3://lake/wh/t", "s3"), ("s3a://other/t", "s3a")]);
    // What says more of a place is for it.
    check(&["s3", "s3://lake"], &[("s3://lake", "s3://lake"), ("s3a://other/t", "s3")]);
    check(&["s3://"], &[("s3://lake/wh/t", "s3://")]);
    for useless in ["gs", "lake/wh/t", "../t"] {
        check(&[useless], &[]);
    }
}

#[test]
fn others_are_asked_for_before_credentials_end() {
    let now = Timestamp::from_millis(1_000_000_000);
    let wait = |config: &[(&str, i64)]| {
        let config = config.iter().map(|(name, value)| ((*name).to_owned(), value.to_string()));
        Lent::everywhere(config.collect()).renewed_at(now).millis() - now.millis()
    };
    const MINUTE: i64 = 60 * 1000;
    let end = |minutes: i64| now.millis() + minutes * MINUTE;
    assert_eq!(wait(&[]), 5 * MINUTE);
    assert_eq!(wait(&[("s3.session-token-expires-at-ms", end(60))]), 55 * MINUTE);
    assert_eq!(wait(&[("expiration-time", end(60)), (ENDS[0], end(40))]), 35 * MINUTE);
    // Those that do not last are used for half of their time, and those that ended for none.
    assert_eq!(wait(&[("expiration-time", end(4))]), 2 * MINUTE);
    assert!(wait(&[("expiration-time", end(-1))]) <= 0);
    assert!(wait(&[("expiration-time", 0)]) <= 0);
}

#[test]
fn secrets_are_not_shown() {
    assert_eq!(format!("{:?}", lent("s3")), "Lent { prefix: \"s3\", .. }");
}
