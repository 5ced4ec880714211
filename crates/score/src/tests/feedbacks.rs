//! Labels from outcomes, and what they say of the models.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use icecore_catalog::CompactOptions;
use icecore_core::{
    CommitOptions, Date, ErrorKind, OutputKind, SnapshotCatalog, TableName, Timestamp,
};
use icecore_engine::View;

use super::lake::{Lake, adding, champion, model, spec};
use crate::{
    LabelOptions, LabelReport, ScoringSpec, evaluation_views, label, plan_labels,
    put_evaluation_views,
};

const FEEDBACK: &str = r#"
view = "activity"
max_age = "9d"

[feedback]
outcomes = "SELECT user_token, seen_at, left_us FROM labels.outcomes"
outcome_timestamp = "seen_at"
label = "left_us"
window = "30d"
"#;

fn outcomes(rows: &[(&str, &str, Option<bool>)]) -> RecordBatch {
    let users: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)));
    let moments = rows.iter().map(|row| Timestamp::parse(row.1).unwrap().micros());
    let moments = TimestampMicrosecondArray::from_iter_values(moments).with_timezone("+00:00");
    let left: ArrayRef = Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.2)));
    RecordBatch::try_from_iter_with_nullable([
        ("user_token", users, true),
        ("seen_at", Arc::new(moments) as _, true),
        ("left_us", left, true),
    ])
    .unwrap()
}

async fn scored(spec: &ScoringSpec) -> Lake {
    let lake = Lake::filled().await;
    let rows = [
        ("u1", "2024-01-10T23:00:00Z", Some(true)),
        ("u1", "2024-01-12T00:00:00Z", Some(false)),
        ("u2", "2024-02-09T23:59:59Z", Some(true)),
        ("u2", "2024-02-10T00:00:00Z", Some(false)),
        ("u3", "2024-02-10T00:00:00Z", Some(true)),
        ("u3", "2024-01-20T00:00:00Z", None),
    ];
    lake.write("labels.outcomes", outcomes(&rows)).await;
    for date in ["2024-01-10", "2024-01-11"] {
        lake.score(spec, &champion(), Some(date)).await.unwrap();
    }
    lake
}

async fn labelled(lake: &Lake, spec: &ScoringSpec, as_of: &str) -> LabelReport {
    let options =
        LabelOptions { as_of: Some(Timestamp::parse(as_of).unwrap()), ..LabelOptions::default() };
    label(&lake.engine, spec, &["user_token".to_owned()], &options).await.unwrap()
}

async fn lines(lake: &Lake, columns: &str) -> Vec<String> {
    lake.lines_of(&format!("SELECT {columns} FROM labels.churn")).await
}

// C102 C170: outcomes count from the day after the date to the end of the window; nothing is
// labelled before its window is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_settled_when_its_window_is_over() {
    let spec = spec(FEEDBACK);
    let lake = scored(&spec).await;
    let early = labelled(&lake, &spec, "2024-02-09T23:59:59Z").await;
    assert_eq!((early.labelled, early.pending), (Some(0), 8), "not a moment too early");
    let settled = labelled(&lake, &spec, "2024-02-10T00:00:00Z").await;
    assert_eq!(settled.matured_to, Date::parse("2024-01-10").unwrap());
    let columns = "user_token, score_date, left_us, label_status";
    let expected = ["u1 2024-01-10 0 OBSERVED", "u2 2024-01-10 1 OBSERVED"];
    assert_eq!(lines(&lake, columns).await, expected, "u3's outcome is past the window");
    assert_eq!((settled.labelled, settled.positive, settled.pending), (Some(2), Some(1), 4));
    let moments = lines(&lake, "DISTINCT CAST(event_timestamp AS VARCHAR)").await;
    assert!(moments[0].starts_with("2024-01-10T23:59:59.999999"), "{moments:?}");
}

// C170: files that are written anew tell of no outcome, and a table that lags behind holds back.
#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_known_up_to_when_their_tables_last_got_rows() {
    let spec = spec(FEEDBACK);
    let lake = scored(&spec).await;
    lake.write("labels.outcomes", outcomes(&[("u4", "2024-01-20T00:00:00Z", None)])).await;
    let (catalog, table) = (lake.engine.catalog(), TableName::parse("labels.outcomes").unwrap());
    let small = CompactOptions::default().with_min_input_files(2);
    catalog.compact(&table, small).await.unwrap();
    let history = catalog.history(&table).await.unwrap();
    let [.., written, compacted] = history.as_slice() else { panic!("{history:?}") };
    assert_eq!(compacted.operation, "replace");
    let keys = ["user_token".to_owned()];
    let plan = plan_labels(&lake.engine, &spec, &keys, &LabelOptions::default()).await.unwrap();
    assert_eq!(plan.as_of, written.committed_at);
    lake.write("labels.reasons", outcomes(&[("u1", "2024-01-20T00:00:00Z", None)])).await;
    let joined = FEEDBACK.replace(
        "SELECT user_token, seen_at, left_us FROM labels.outcomes",
        "SELECT o.user_token, o.seen_at, o.left_us FROM labels.outcomes o \
         JOIN labels.reasons r ON o.user_token = r.user_token",
    );
    let spec = self::spec(&joined);
    let plan = plan_labels(&lake.engine, &spec, &keys, &LabelOptions::default()).await.unwrap();
    assert_eq!(plan.as_of, written.committed_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn labelling_again_changes_nothing_and_late_outcomes_count_the_next_time() {
    let spec = spec(FEEDBACK);
    let lake = scored(&spec).await;
    let first = labelled(&lake, &spec, "2024-03-01").await;
    let again = labelled(&lake, &spec, "2024-03-01").await;
    assert_eq!((again.changed, &again.labels), (false, &first.labels));
    let late = outcomes(&[("ü 'x'", "2024-01-15T00:00:00Z", Some(true))]);
    lake.write("labels.outcomes", late).await;
    let next = labelled(&lake, &spec, "2024-03-01").await;
    assert_eq!(next.labelled, first.labelled.map(|rows| rows + 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_of_a_view_that_says_otherwise_are_labelled_again() {
    let spec = spec(&FEEDBACK.replace("labels.outcomes", "labels.known"));
    let lake = scored(&spec).await;
    let put = async |sql: &str| {
        let view = View {
            name: TableName::parse("labels.known").unwrap(),
            sql: sql.to_owned(),
            made_by: "test".to_owned(),
            created_at: Timestamp::from_micros(0),
        };
        assert!(lake.engine.put_view(&view, CommitOptions::default()).await.unwrap());
    };
    put("SELECT * FROM labels.outcomes").await;
    assert!(labelled(&lake, &spec, "2024-03-01").await.changed);
    assert!(!labelled(&lake, &spec, "2024-03-01").await.changed);
    put("SELECT * FROM labels.outcomes WHERE left_us").await;
    let then = labelled(&lake, &spec, "2024-03-01").await;
    assert!(then.changed);
    assert_eq!(then.labelled, then.positive);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_outcome_is_one_of_itself_its_absence_is_a_label_too() {
    let text = FEEDBACK.replace("label = \"left_us\"", "name = \"left\"\npick = \"sum\"");
    let spec = spec(&text);
    let lake = scored(&spec).await;
    let report = labelled(&lake, &spec, "2024-02-10").await;
    assert_eq!((report.labelled, report.positive, report.absent), (Some(4), Some(3), Some(1)));
    let expected = ["u1 1 OBSERVED", "u2 1 OBSERVED", "u3 1 OBSERVED", "ü 'x' 0 ABSENT"];
    assert_eq!(lines(&lake, "user_token, \"left\", label_status").await, expected);
}

// Outcomes that end before a window begins say nothing of what happened in it.
#[tokio::test(flavor = "multi_thread")]
async fn dates_after_the_newest_outcome_are_in_doubt() {
    let text = FEEDBACK.replace("label = \"left_us\"", "name = \"left\"");
    let spec = spec(&text);
    let lake = Lake::filled().await;
    let rows = [("u1", "2024-01-11T00:00:00Z", Some(true))];
    lake.write("labels.outcomes", outcomes(&rows)).await;
    for date in ["2024-01-10", "2024-01-11"] {
        lake.score(&spec, &champion(), Some(date)).await.unwrap();
    }
    let report = labelled(&lake, &spec, "2024-03-01").await;
    assert_eq!(report.newest_outcome, Some(Timestamp::parse("2024-01-11").unwrap()));
    assert_eq!(report.doubtful_from, Some(Date::parse("2024-01-11").unwrap()));
    let early = labelled(&lake, &spec, "2024-02-10").await;
    assert_eq!(early.doubtful_from, None, "the newer date is not labelled yet");
    let rows = [("u2", "2024-01-12T00:00:00Z", Some(true))];
    lake.write("labels.outcomes", outcomes(&rows)).await;
    assert_eq!(labelled(&lake, &spec, "2024-03-01").await.doubtful_from, None);
}

// C113 C169
#[tokio::test(flavor = "multi_thread")]
async fn one_view_measures_each_model_version_bucket_and_segment() {
    let text = FEEDBACK
        .replace("[feedback]", "columns = [\"count_30d\"]\n[feedback]\nsegments = [\"count_30d\"]");
    let text = format!("{text}[challengers]\nnext = \"models:/churn/2\"\n");
    let spec = spec(&text);
    let lake =
        scored(&self::spec(&text.replace("[challengers]\nnext = \"models:/churn/2\"\n", ""))).await;
    let mut models = champion();
    models.push(model("next", 2, adding(&["count_30d"], OutputKind::Probability)));
    lake.score(&spec, &models, Some("2024-01-10")).await.unwrap();
    labelled(&lake, &spec, "2024-03-01").await;
    let feedback = spec.feedback.as_ref().unwrap();
    let keys = ["user_token".to_owned()];
    let views = evaluation_views(&lake.engine, &lake.definitions, &spec, feedback, &keys).await;
    let views = views.unwrap();
    put_evaluation_views(&lake.engine, &views, ("test", Timestamp::from_micros(0))).await.unwrap();
    let found = lake
        .lines_of("SELECT role, model_version, rows, positives, auc FROM labels.churn_evaluation WHERE grouped_by = 'model'")
        .await;
    // Of 0.9 and 0.5 on two days and 0.2 on one, the 0.9 stayed: all pairs are in the wrong order.
    assert_eq!(found, ["champion 1 5 3 0.0", "next 2 2 1 0.0"]);
    let by = "SELECT grouped_by, value, rows, mean_prediction, mean_label FROM labels.churn_evaluation WHERE role = 'champion' AND grouped_by <> 'model'";
    let expected = [
        "bucket high 2 0.9 0.0",
        "bucket low 1 0.2 1.0",
        "bucket medium 2 0.5 1.0",
        "count_30d 20 1 0.2 1.0",
        "count_30d 50 2 0.5 1.0",
        "count_30d 90 2 0.9 0.0",
    ];
    assert_eq!(lake.lines_of(by).await, expected);
    let rows = "SELECT user_token, left_us, activity__count_30d FROM labels.churn_with_features WHERE score_date = DATE '2024-01-10'";
    assert_eq!(lake.lines_of(rows).await, ["u1 0 90", "u2 1 50"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_are_not_there_are_named() {
    let refused = async |from: &str, to: &str| {
        let spec = spec(&FEEDBACK.replace(from, to));
        let lake = scored(&spec).await;
        let keys = ["user_token".to_owned()];
        label(&lake.engine, &spec, &keys, &LabelOptions::default()).await.unwrap_err()
    };
    let error = refused("outcome_timestamp = \"seen_at\"", "outcome_timestamp = \"seen\"").await;
    assert_eq!(error.to_string(), "the outcomes have no column `seen`, the moment");
    let error = refused("SELECT user_token,", "SELECT user_token AS who,").await;
    assert_eq!(error.to_string(), "the outcomes have no column `user_token`, the key");
    let spec = spec("view = \"activity\"");
    let lake = Lake::filled().await;
    let error = label(&lake.engine, &spec, &[], &LabelOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
