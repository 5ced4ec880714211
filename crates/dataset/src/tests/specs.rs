//! Definitions and their mistakes.

use std::path::Path;

use icecore_core::{Knowledge, ParamValue};

use crate::{DatasetSpec, definition_files, lockfile_path};

/// The example of the handbook.
const CHURN: &str = r#"
name = "churn"
spine = "SELECT user_token, observed_at AS event_timestamp, churned AS churn_label FROM labels.churn_outcomes"
event_timestamp = "event_timestamp"
label = "churn_label"
features = ["user_transaction_features:txn_count_7d", "user_transaction_features:decline_rate_30d"]
# knowledge = "event"
table = "ml_training.churn"

[split]
validation = 0.2
seed = 42

[cross_validation]
folds = 5

[model]
name = "churn-prediction-gbm"
algorithm = "gbdt"
params = { n_estimators = 300, max_depth = 5, learning_rate = 0.05, loss = "log", early = true }
"#;

#[test]
fn the_example_of_the_handbook_is_read() {
    let spec = DatasetSpec::parse("training/churn.toml", CHURN).unwrap();
    assert_eq!((spec.name.as_str(), spec.label.as_deref()), ("churn", Some("churn_label")));
    assert_eq!(spec.features.len(), 2);
    assert_eq!(spec.table().unwrap().as_str(), "ml_training.churn");
    assert_eq!(spec.experiment(), "/ml/churn");
    assert_eq!(spec.split.map(|split| (split.validation, split.seed)), Some((0.2, 42)));
    assert_eq!(spec.cross_validation.map(|cross| cross.folds), Some(5));
    let params = spec.model.unwrap().params;
    assert_eq!(params["n_estimators"], ParamValue::Int(300));
    assert_eq!(params["learning_rate"], ParamValue::Float(0.05));
    assert_eq!(params["loss"], ParamValue::Text("log".to_owned()));
    assert_eq!(params["early"], ParamValue::Bool(true));
}

#[test]
fn a_short_definition_has_defaults() {
    let short = "name = \"c\"\nspine_table = \"labels.seen\"\nlabel = \"y\"\nfeatures = [\"v:*\"]\n[split]\n[cross_validation]\n";
    let spec = DatasetSpec::parse("c.toml", short).unwrap();
    assert_eq!(spec.event_timestamp, "event_timestamp");
    assert_eq!(spec.spine_sql().unwrap(), "SELECT * FROM \"labels\".\"seen\"");
    assert_eq!(spec.split.map(|split| (split.validation, split.seed)), Some((0.2, 42)));
    assert_eq!(spec.cross_validation.map(|cross| cross.folds), Some(5));
    assert_eq!((spec.knowledge, spec.full_feature_names), (None, false));
    let created = format!("knowledge = \"created\"\n{short}");
    let created = DatasetSpec::parse("c.toml", &created).unwrap();
    assert_eq!(created.knowledge, Some(Knowledge::Created));
}

/// A mistake made in the example, its place, its message and its help.
#[track_caller]
fn check(right: &str, wrong: &str, place: &str, message: &str, help: &str) {
    assert!(CHURN.contains(right));
    let error =
        DatasetSpec::parse("training/churn.toml", &CHURN.replace(right, wrong)).unwrap_err();
    let at = error.location().map(ToString::to_string).unwrap_or_default();
    assert_eq!(at, format!("training/churn.toml{place}"));
    assert_eq!(error.to_string(), message);
    assert_eq!(error.help().unwrap_or_default(), help);
}

#[test]
fn mistakes_are_named_with_their_place() {
    check("label =", "lable =", ":5:1", "unknown key `lable`", "did you mean `label`?");
    check(
        "validation =",
        "validaton =",
        ":11:1",
        "unknown key `validaton`",
        "did you mean `validation`?",
    );
    check("name = \"churn\"\n", "", ":1:1", "there is no key `name`", "");
    check(
        "# knowledge = \"event\"",
        "knowledge = \"evnt\"",
        ":7:13",
        "unknown value `evnt`",
        "did you mean `event`?",
    );
    check(
        "name = \"churn\"\n",
        "name = \"../churn\"\n",
        ":2:8",
        "`../churn` cannot name a tag or branch",
        "",
    );
    check(
        "event_timestamp = \"event_timestamp\"",
        "spine_table = \"a.b\"",
        "",
        "a dataset has exactly one of `spine`, `spine_table` and `spine_file`",
        "write the query that gives keys, moments and the label as `spine`",
    );
    check(
        "validation = 0.2",
        "validation = 1.0",
        "",
        "`validation` is not between 0 and 1",
        "write a share such as 0.2",
    );
    check("folds = 5", "folds = 1", "", "`folds` is less than 2", "write a number such as 5");
    check(
        "label = \"churn_label\"",
        "label = \"event_timestamp\"",
        ":4:19",
        "`event_timestamp` is both the label and the event timestamp",
        "",
    );
}

#[test]
fn a_query_may_stand_in_a_file_and_lockfiles_are_no_definitions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("churn.toml");
    let text = CHURN.replace("spine = \"SELECT", "spine_file = \"churn.sql\"\n# \"");
    std::fs::write(&path, text).unwrap();
    let error = DatasetSpec::load(&path).unwrap_err();
    assert_eq!(error.location().map(|at| (at.line, at.column)), Some((3, 14)), "{error}");
    std::fs::write(dir.path().join("churn.sql"), b"PAR1\xff\xfe").unwrap();
    let error = DatasetSpec::load(&path).unwrap_err();
    assert!(error.to_string().ends_with("churn.sql` is no text in UTF-8"), "{error}");
    assert_eq!(error.location().map(|at| (at.line, at.column)), Some((3, 14)));
    assert!(error.help().unwrap().contains("name that as `spine_table`"));
    std::fs::write(dir.path().join("churn.sql"), "SELECT 1\n").unwrap();
    std::fs::write(dir.path().join("churn.lock.toml"), "").unwrap();
    assert_eq!(DatasetSpec::load(&path).unwrap().spine_sql().unwrap(), "SELECT 1");
    assert_eq!(definition_files(dir.path()).unwrap(), [path]);
    assert_eq!(definition_files(&dir.path().join("none")).unwrap(), Vec::<&Path>::new());
}

#[test]
fn a_file_of_rows_is_no_query() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("churn.toml");
    let text = CHURN.replace("spine = \"SELECT", "spine_file = \"churn.parquet\"\n# \"");
    std::fs::write(&path, text).unwrap();
    let error = DatasetSpec::load(&path).unwrap_err();
    assert_eq!(error.to_string(), "`churn.parquet` holds rows, and no query");
    assert_eq!(error.location().map(|at| (at.line, at.column)), Some((3, 14)));
    assert!(error.help().unwrap().contains("ingest a file of rows into a table"));
}

#[test]
fn a_set_without_a_label_has_none_to_wait_for() {
    let text = CHURN.replace("label = \"churn_label\"\n", "");
    let spec = DatasetSpec::parse("training/churn.toml", &text).unwrap();
    assert_eq!(spec.label, None);
    let waits = format!("{text}[maturity]\nafter = \"30d\"\n");
    let error = DatasetSpec::parse("training/churn.toml", &waits).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`[maturity]` says when labels are settled, and the set has none"
    );
}

#[test]
fn the_lockfile_is_beside_the_definition() {
    let lock = lockfile_path(Path::new("training/churn.toml"));
    assert_eq!(lock, Path::new("training/churn.lock.toml"));
}
