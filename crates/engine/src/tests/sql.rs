use icecore_core::{ErrorKind, RefName, SnapshotId};

use super::*;

async fn lake() -> (Lake, PinnedTable, PinnedTable) {
    let lake = Lake::new().await;
    lake.create("events.payments", NewTable::new(payments_schema())).await;
    let first =
        lake.append("events.payments", payments("1|a|10|2026-01-01 2|b|-|2026-01-02")).await;
    let second = lake.append("events.payments", payments("3|a|5|2026-01-03")).await;
    (lake, first.pinned, second.pinned)
}

#[tokio::test]
async fn queries_read_tables_by_every_form_of_their_name() {
    let (lake, ..) = lake().await;
    for table in [
        "events.payments",
        "EVENTS.Payments",
        "\"events\".\"payments\"",
        "production.events.payments",
        "icecore.events.payments",
    ] {
        let sql = format!("SELECT sum(id), count(amount) FROM {table}");
        assert_eq!(lake.rows(&sql).await, ["6|2"], "{table}");
    }
    lake.create("production.events.payments", NewTable::new(payments_schema())).await;
    let own = lake.rows("SELECT count(*) FROM production.events.payments").await;
    assert_eq!(own, ["0"], "a table of the whole name comes first");
    assert_eq!(lake.rows("SELECT * FROM range(2)").await, ["0", "1"]);
    assert_eq!(lake.rows("DESCRIBE events.payments").await[0], "id|long|NO");
    let with = "WITH p AS (SELECT * FROM events.payments) SELECT max(user_token) FROM p";
    assert_eq!(lake.rows(with).await, ["b"]);
}

#[tokio::test]
async fn a_pin_reads_the_past() {
    // C129, C130: by id, by tag; and every table of one query at one moment.
    let (lake, first, second) = lake().await;
    let sql = "SELECT count(*), max(id) FROM events.payments";
    assert_eq!(lake.rows_at(sql, std::slice::from_ref(&first)).await, ["2|2"]);
    assert_eq!(lake.rows_at(sql, std::slice::from_ref(&second)).await, ["3|3"]);
    let tag = RefName::parse("v1").unwrap();
    lake.catalog().tag(&first, &tag, icecore_catalog::TagMove::Refuse).await.unwrap();
    let at = |selector| vec![(name("events.payments"), selector)];
    for (selector, expected) in [
        (SnapshotSelector::Ref(tag), &first),
        (SnapshotSelector::Id(first.snapshot), &first),
        (SnapshotSelector::Latest, &second),
    ] {
        let pins = lake.engine.pin_query(sql, &at(selector)).await.unwrap();
        assert_eq!(pins, std::slice::from_ref(expected));
    }
    let gone = lake.engine.pin_query(sql, &at(SnapshotSelector::Id(SnapshotId::new(7)))).await;
    // C131
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    let session = lake.engine.session(&[]).await.unwrap();
    let frame = || async { session.sql(sql).await.unwrap() };
    let before = lake.engine.stream(frame().await).await.unwrap().concat().await.unwrap();
    lake.append("events.payments", payments("4|c|1|2026-01-04")).await;
    let after = lake.engine.stream(frame().await).await.unwrap().concat().await.unwrap();
    assert_eq!(before, after, "a session sees one state of a table");
}

#[tokio::test]
async fn pins_name_every_table_that_a_query_reads() {
    let (lake, _, second) = lake().await;
    lake.create("labels.churn", NewTable::new(payments_schema())).await;
    let labels = lake.latest("labels.churn").await;
    let sql = "WITH p AS (SELECT * FROM events.payments) SELECT p.id FROM p \
               WHERE p.id IN (SELECT id FROM labels.churn) AND p.id NOT IN (SELECT * FROM range(3))";
    let pins = lake.engine.pin_query(sql, &[]).await.unwrap();
    assert_eq!(pins, [second, labels]);
    let unread = [(name("events.payment"), SnapshotSelector::Latest)];
    let error = lake.engine.pin_query(sql, &unread).await.unwrap_err();
    assert_eq!(error.help(), Some("did you mean `events.payments`?"));
    let metadata = "SELECT * FROM events.payments$snapshots";
    assert_eq!(lake.engine.pin_query(metadata, &[]).await.unwrap(), []);
}

#[tokio::test]
async fn tables_about_tables_are_tables() {
    let (lake, first, second) = lake().await;
    let snapshots = "SELECT snapshot_id, added_rows FROM events.\"payments$snapshots\" \
                     ORDER BY sequence_number";
    let expected = [format!("{}|2", first.snapshot), format!("{}|1", second.snapshot)];
    assert_eq!(lake.rows(snapshots).await, expected);
    for which in ["snapshots", "history", "refs", "files", "partitions", "manifests"] {
        let rows = lake.rows(&format!("SELECT count(*) > 0 FROM events.payments${which}")).await;
        assert_eq!(rows, ["true"], "{which}");
        let long = format!("SELECT count(*) > 0 FROM production.events.payments${which}");
        assert_eq!(lake.rows(&long).await, ["true"], "{which}");
    }
    let error = lake.error("SELECT * FROM events.payments$snapshot").await;
    assert_eq!(error.help(), Some("did you mean `snapshots`?"));
}

/// A query, and the kind, message, notes and help of its error.
type Mistake = (&'static str, ErrorKind, &'static str, &'static str, &'static str);

const MISTAKES: &[Mistake] = &[
    (
        "SELECT * FROM events.payment",
        ErrorKind::NotFound,
        "there is no table `events.payment`",
        "tables: events.payments",
        "did you mean `events.payments`?",
    ),
    (
        "SELECT * FROM payments",
        ErrorKind::NotFound,
        "there is no table `payments`",
        "",
        "did you mean `events.payments`?",
    ),
    (
        "SELECT amont FROM events.payments",
        ErrorKind::InvalidInput,
        "there is no column `amont`",
        "columns: id, user_token, amount, event_timestamp",
        "did you mean `amount`?",
    ),
    (
        "SELECT p.amont FROM events.payments AS p",
        ErrorKind::InvalidInput,
        "there is no column `p.amont`",
        "columns: id",
        "did you mean `amount`?",
    ),
    (
        "SELECT id FROM events.payments a, events.payments b",
        ErrorKind::InvalidInput,
        "column `id` is in more than one table",
        "",
        "`t.id`",
    ),
    (
        "SELECT countt(*) FROM events.payments",
        ErrorKind::InvalidInput,
        "invalid function 'countt'",
        "",
        "did you mean `count`?",
    ),
    (
        "SELECT id FRM events.payments x y",
        ErrorKind::InvalidInput,
        "the query cannot be parsed",
        "",
        "",
    ),
    (
        "SELECT id FROM events.payments FOR SYSTEM_TIME AS OF '2026-01-01'",
        ErrorKind::InvalidInput,
        "",
        "",
        "--at TABLE=SELECTOR",
    ),
    ("SELECT 1; SELECT 2", ErrorKind::InvalidInput, "more than one statement", "", "one query"),
    ("", ErrorKind::InvalidInput, "there is no query", "", "SELECT 1"),
    (
        "SELECT 1 / (id - id) FROM events.payments",
        ErrorKind::InvalidInput,
        "division by zero",
        "",
        "NULLIF",
    ),
    (
        "SELECT CAST(user_token AS BIGINT) FROM events.payments",
        ErrorKind::InvalidInput,
        "cannot cast string 'a' to value of Int64 type",
        "",
        "",
    ),
];

#[tokio::test]
async fn errors_say_what_exists_and_what_was_meant() {
    let (lake, ..) = lake().await;
    for &(sql, kind, message, note, help) in MISTAKES {
        let error = lake.error(sql).await;
        assert_eq!(error.kind(), kind, "{sql}: {error}");
        assert!(error.to_string().contains(message), "{sql}: {error}");
        let notes = error.notes().join("\n");
        assert!(notes.contains(note), "{sql}: {notes}");
        let found = error.help().unwrap_or_default();
        assert!(found.contains(help), "{sql}: {found}");
    }
    let error = lake.error("SELECT id,\n  amont\nFROM events.payments").await;
    let location = error.location().expect("a place in the query");
    assert_eq!((location.line, location.column), (2, 3));
    let error = lake.error("SELECT id\nFROM events.payments WHERE )").await;
    assert_eq!(error.location().map(|location| location.line), Some(2));
}

#[tokio::test]
async fn only_queries_run() {
    let (lake, ..) = lake().await;
    let file = lake.directory.path().join("secret.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    let path = file.display();
    for sql in [
        "INSERT INTO events.payments VALUES (9, 'x', 1, now())".to_owned(),
        "UPDATE events.payments SET id = 1".to_owned(),
        "DELETE FROM events.payments".to_owned(),
        "DROP TABLE events.payments".to_owned(),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{path}'"),
        format!("COPY events.payments TO '{path}'"),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "SHOW TABLES".to_owned(),
        "SELECT 1 INTO t".to_owned(),
        "WITH x AS (SELECT 1) INSERT INTO events.payments SELECT * FROM x".to_owned(),
        "EXPLAIN DELETE FROM events.payments".to_owned(),
        "BEGIN".to_owned(),
    ] {
        let error = lake.error(&sql).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}: {error}");
        assert!(error.help().is_some(), "{sql}");
    }
    for sql in [format!("SELECT * FROM '{path}'"), format!("SELECT * FROM \"{path}\"")] {
        let error = lake.error(&sql).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{sql}: {error}");
        assert!(error.help().unwrap().contains("icecore ingest"));
    }
    assert_eq!(lake.rows("SELECT count(*) FROM events.payments").await, ["3"]);
}

#[tokio::test]
async fn what_leaves_the_engine_has_the_types_of_tables() {
    let (lake, ..) = lake().await;
    let sql = "SELECT TIMESTAMP '2026-01-01 00:00:01' AS at, upper(user_token) AS name, \
               arrow_cast('x', 'Utf8View') AS view, date_trunc('day', event_timestamp) AS day \
               FROM events.payments ORDER BY id DESC";
    let batch = lake.engine.sql(sql, &[]).await.unwrap().concat().await.unwrap();
    let types: Vec<String> =
        batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
    let stamp = "Timestamp(µs, \"+00:00\")";
    assert_eq!(types, [stamp, "Utf8", "Utf8", stamp]);
    assert_eq!(lines(&batch)[0], "2026-01-01T00:00:01Z|A|x|2026-01-03T00:00:00Z");
}

#[tokio::test]
async fn distinct_values_are_counted_exactly_and_roughly() {
    // C149
    let (lake, ..) = lake().await;
    let sql = "SELECT count(DISTINCT user_token), approx_count_distinct(user_token), \
               approx_distinct(user_token) FROM events.payments";
    assert_eq!(lake.rows(sql).await, ["2|2|2"]);
}

#[tokio::test]
async fn columns_that_are_younger_than_a_file_are_null_in_it() {
    use arrow::datatypes::{DataType, Field, Schema};
    let (lake, first, _) = lake().await;
    let mut fields = payments_schema().fields().to_vec();
    fields.push(Arc::new(Field::new("country", DataType::Utf8, true)));
    let wider = Arc::new(Schema::new(fields));
    let added = lake.catalog().evolve(&name("events.payments"), &wider).await.unwrap();
    assert_eq!(added, ["country"]);
    let mut columns = payments("4|d|1|2026-01-04").columns().to_vec();
    columns.push(Arc::new(arrow::array::StringArray::from(vec!["de"])));
    lake.append("events.payments", RecordBatch::try_new(wider, columns).unwrap()).await;
    let rows = lake.rows("SELECT id, country FROM events.payments ORDER BY id").await;
    assert_eq!(rows, ["1|null", "2|null", "3|null", "4|de"]);
    let rows = lake.rows("SELECT id FROM events.payments WHERE country IS NULL ORDER BY id").await;
    assert_eq!(rows, ["1", "2", "3"]);
    let sql = "SELECT * FROM events.payments ORDER BY id LIMIT 1";
    assert_eq!(lake.rows_at(sql, &[first]).await, ["1|a|10.0|2026-01-01T00:00:00Z"]);
}

#[tokio::test]
async fn a_table_without_a_commit_has_no_rows() {
    let lake = Lake::new().await;
    lake.create("events.payments", NewTable::new(payments_schema())).await;
    assert_eq!(lake.rows("SELECT * FROM events.payments").await, Vec::<String>::new());
    let sql = "SELECT count(*), sum(amount) FROM events.payments WHERE id > 3";
    assert_eq!(lake.rows(sql).await, ["0|null"]);
    let frame = lake.engine.table(&lake.latest("events.payments").await).await.unwrap();
    assert_eq!(frame.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_session_has_tables_of_its_own() {
    let (lake, first, _) = lake().await;
    let session = lake.engine.session(&[first]).await.unwrap();
    session.register_batch("spine", payments("2|x|0|2026-01-01 9|x|0|2026-01-01")).unwrap();
    let sql = "SELECT s.id, p.user_token FROM spine s LEFT JOIN events.payments p USING (id) \
               ORDER BY id";
    let frame = session.sql(sql).await.unwrap();
    let rows = lake.engine.stream(frame).await.unwrap().concat().await.unwrap();
    assert_eq!(lines(&rows), ["2|b", "9|null"]);
}

#[tokio::test]
async fn sorts_spill_and_what_cannot_spill_names_the_limit() {
    use arrow::array::{Int64Array, StringArray};
    let options = EngineOptions::default().with_threads(2).with_memory_limit(16 << 20);
    let lake = Lake::with(options).await;
    let schema = Arc::new(arrow::datatypes::Schema::new(vec![
        arrow::datatypes::Field::new("n", arrow::datatypes::DataType::Int64, false),
        arrow::datatypes::Field::new("text", arrow::datatypes::DataType::Utf8, false),
    ]));
    lake.create("big.rows", NewTable::new(schema.clone())).await;
    let rows = 200_000_i64;
    let mixed = |n: i64| n.wrapping_mul(2_654_435_761).rem_euclid(rows);
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values((0..rows).map(mixed))),
        Arc::new(StringArray::from_iter_values((0..rows).map(|n| format!("{:0>120}", mixed(n))))),
    ];
    lake.append("big.rows", RecordBatch::try_new(schema, columns).unwrap()).await;
    let sorted = lake.engine.sql("SELECT text, n FROM big.rows ORDER BY text", &[]).await.unwrap();
    let batch = sorted.concat().await.unwrap();
    let n: &Int64Array = arrow::array::AsArray::as_primitive(batch.column(1));
    assert_eq!(n.len(), rows as usize);
    assert!(n.values().is_sorted());
    let error = lake.error("SELECT array_agg(text) FROM big.rows GROUP BY n % 2").await;
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(error.help().unwrap().contains("engine.memory_limit"));
}

#[tokio::test]
async fn too_little_memory_is_refused_at_once() {
    let lake = Lake::new().await;
    let options = EngineOptions::default().with_memory_limit(1 << 20);
    let error = Engine::new(lake.catalog().clone(), options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn two_pins_of_one_table_are_refused() {
    let (lake, first, second) = lake().await;
    let error = lake.engine.sql("SELECT 1", &[first, second]).await.unwrap_err();
    assert!(error.to_string().contains("pinned twice"));
}

#[tokio::test]
async fn a_column_that_was_widened_reads_its_old_files() {
    use arrow::array::{Float32Array, Float64Array, Int32Array, Int64Array};
    let lake = Lake::new().await;
    let narrow = RecordBatch::try_from_iter_with_nullable([
        ("n", Arc::new(Int32Array::from(vec![1, 2])) as arrow::array::ArrayRef, true),
        ("x", Arc::new(Float32Array::from(vec![0.5, 1.5])), true),
    ])
    .unwrap();
    let wide = RecordBatch::try_from_iter_with_nullable([
        ("n", Arc::new(Int64Array::from(vec![1 << 40])) as arrow::array::ArrayRef, true),
        ("x", Arc::new(Float64Array::from(vec![0.1])), true),
    ])
    .unwrap();
    lake.create("t.t", NewTable::new(narrow.schema())).await;
    lake.append("t.t", narrow).await;
    lake.catalog().evolve(&name("t.t"), &wide.schema()).await.unwrap();
    lake.append("t.t", wide).await;
    let rows = lake.rows("SELECT n, x FROM t.t ORDER BY n").await;
    assert_eq!(rows, ["1|0.5", "2|1.5", "1099511627776|0.1"]);
    assert_eq!(lake.rows("SELECT x FROM t.t WHERE n < 2 AND x = 0.5").await, ["0.5"]);
    assert_eq!(lake.rows("SELECT n FROM t.t WHERE x > 1.4").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_stream_stops_its_query() {
    use futures::StreamExt as _;
    let lake = Lake::new().await;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let endless = "SELECT max(a.value + b.value) FROM range(10000000) a, range(10000000) b \
                   GROUP BY a.value % 10";
    let mut rows = lake.engine.sql(endless, &[]).await.unwrap();
    let first = tokio::time::timeout(std::time::Duration::from_millis(100), rows.next()).await;
    assert!(first.is_err() && alive() > before, "the query runs");
    drop(rows);
    // Each task ends where it yields next.
    let stopped = async {
        while alive() > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), stopped).await.unwrap();
}
