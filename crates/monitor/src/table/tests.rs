//! Statistics of tables against the rows that the tables have.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray};
use icecore_catalog::{CatalogOptions, RowFilter, RowOptions};
use icecore_core::{
    CommitOptions, Date, ErrorKind, Literal, NewTable, Predicate, SnapshotSelector, WriteMode,
};

use super::*;

struct Lake {
    _dir: tempfile::TempDir,
    catalog: IcebergCatalog,
    table: TableName,
}

fn day(day: i32) -> Date {
    Date::parse("2026-07-01").unwrap().plus_days(day)
}

/// Day, user, count.
fn rows(rows: &[(i32, &str, i64)]) -> RecordBatch {
    let days = Date32Array::from_iter_values(rows.iter().map(|row| day(row.0).days()));
    let users = StringArray::from_iter_values(rows.iter().map(|row| row.1));
    let counts = Int64Array::from_iter_values(rows.iter().map(|row| row.2));
    RecordBatch::try_from_iter_with_nullable([
        ("feature_date", Arc::new(days) as ArrayRef, true),
        ("user", Arc::new(users) as ArrayRef, true),
        ("count", Arc::new(counts) as ArrayRef, true),
    ])
    .unwrap()
}

fn options() -> ProfileOptions {
    ProfileOptions::default().with_private(["user"])
}

impl Lake {
    async fn new(partition_by: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let options = CatalogOptions::new(format!("sqlite:{}", at("catalog.db")), at("warehouse"));
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let table = TableName::parse("features.counts").unwrap();
        let by = partition_by.iter().map(|field| (*field).to_owned());
        let new = NewTable::new(rows(&[]).schema()).with_partition_by(by);
        catalog.ensure_table(&table, &new).await.unwrap();
        Self { _dir: dir, catalog, table }
    }

    async fn write(&self, batch: RecordBatch, mode: WriteMode) -> PinnedTable {
        let writer = TableWriter::new(&self.catalog, &self.table, options()).await.unwrap();
        let rows = writer.observe(BatchStream::from_batches(batch.schema(), vec![batch]));
        let done = self.catalog.commit(&self.table, rows, CommitOptions::new(mode)).await.unwrap();
        let mode = match mode {
            WriteMode::Overwrite => TableWriteMode::Replace,
            WriteMode::OverwritePartitions => TableWriteMode::ReplacePartitions,
            _ => TableWriteMode::Append,
        };
        writer.store(&self.catalog, &done.pinned, mode).await.unwrap();
        done.pinned
    }

    async fn known(&self, pin: &PinnedTable, filter: Option<&str>) -> TableProfile {
        let filter = filter.map(|text| text.parse().unwrap());
        profile_of_table(&self.catalog, pin, filter.as_ref()).await.unwrap()
    }

    async fn read(&self, pin: &PinnedTable, filter: Option<&str>) -> Profile {
        let filter = filter.map(|text| text.parse().unwrap());
        scan_profile(&self.catalog, pin, filter.as_ref(), &options(), |_| {}).await.unwrap()
    }
}

// C107: statistics of any state and any partition, without reading a row.
#[tokio::test(flavor = "multi_thread")]
async fn the_statistics_of_every_state_are_those_of_its_rows() {
    let lake = Lake::new(&["feature_date"]).await;
    let (append, replace) = (WriteMode::Append, WriteMode::OverwritePartitions);
    let mut pins = Vec::new();
    for (batch, mode) in [
        (rows(&[(0, "a", 1), (1, "a", 2), (0, "b", 3)]), append),
        (rows(&[(1, "b", 4), (2, "b", 5)]), append),
        (rows(&[(1, "c", 6), (1, "d", 7)]), replace),
        (rows(&[(3, "c", 8)]), replace),
        (rows(&[(1, "e", 9)]), append),
    ] {
        pins.push(lake.write(batch, mode).await);
    }
    for pin in &pins {
        for filter in
            [None, Some("feature_date=2026-07-02"), Some("feature_date=2026-07-01..2026-07-03")]
        {
            let known = lake.known(pin, filter).await;
            assert_eq!(known.notes, Vec::<String>::new());
            let read = lake.read(pin, filter).await;
            assert_eq!(known.profile.rows(), read.rows(), "{filter:?}");
            if read.rows() > 0 {
                assert_eq!(known.profile, read, "{filter:?}");
            }
        }
    }
    assert_eq!(lake.known(&pins[4], None).await.partitions.len(), 4);
    let whole = lake.write(rows(&[(9, "z", 1)]), WriteMode::Overwrite).await;
    assert_eq!(lake.known(&whole, None).await.profile, lake.read(&whole, None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_is_told_and_read_once_it_is_asked_for() {
    let lake = Lake::new(&["feature_date"]).await;
    lake.write(rows(&[(0, "a", 1)]), WriteMode::Append).await;
    let batch = rows(&[(0, "b", 2)]);
    let others = BatchStream::from_batches(batch.schema(), vec![batch]);
    let done = lake.catalog.commit(&lake.table, others, CommitOptions::default()).await.unwrap();
    let known = lake.known(&done.pinned, None).await;
    assert!(!known.complete && known.notes[0].contains("added 1 rows"), "{:?}", known.notes);
    store_profile(&lake.catalog, &done.pinned, options()).await.unwrap();
    let known = lake.known(&done.pinned, None).await;
    assert_eq!((known.complete, known.profile), (true, lake.read(&done.pinned, None).await));
    let filter = RowFilter::from(Predicate::equal("user", Literal::Text("a".to_owned())));
    lake.catalog.delete(&lake.table, filter, RowOptions::default()).await.unwrap();
    let selector = SnapshotSelector::Latest;
    let pin = lake.catalog.pin(&lake.table, &selector).await.unwrap();
    assert!(!lake.known(&pin, None).await.complete, "rows were deleted since");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_whose_partitions_nobody_can_tell_are_profiled_as_a_whole() {
    for (by, labels) in [
        (vec![], vec![""]),
        (vec!["bucket(4, user)"], vec![""]),
        (vec!["month(feature_date)"], vec!["feature_date=2026-07"]),
        (vec!["user"], vec!["user=a", "user=ü"]),
    ] {
        let lake = Lake::new(&by).await;
        let pin =
            lake.write(rows(&[(0, "a", 1), (5, "ü", 2)]), WriteMode::OverwritePartitions).await;
        let known = lake.known(&pin, None).await;
        assert!(known.complete, "{by:?} {:?}", known.notes);
        assert_eq!(known.partitions.keys().collect::<Vec<_>>(), labels);
        assert_eq!(known.profile, lake.read(&pin, None).await);
    }
    let lake = Lake::new(&["feature_date"]).await;
    let pin = lake.write(rows(&[(0, "a", 1)]), WriteMode::Append).await;
    let filter = "feature_dat=2026-07-01".parse().unwrap();
    let error = scan_profile(&lake.catalog, &pin, Some(&filter), &options(), |_| {}).await;
    assert_eq!(error.unwrap_err().help(), Some("did you mean `feature_date`?"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statistics_of_others_stay_beside_ours() {
    let lake = Lake::new(&[]).await;
    let pin = lake.write(rows(&[(0, "a", 1)]), WriteMode::Append).await;
    let theirs = StatisticsBlob {
        kind: "apache-datasketches-theta-v1".to_owned(),
        fields: vec![1],
        properties: BTreeMap::from([("ndv".to_owned(), "1".to_owned())]),
        data: Bytes::from_static(b"theirs"),
    };
    lake.catalog.put_statistics(&pin, vec![theirs.clone()]).await.unwrap();
    store_profile(&lake.catalog, &pin, options()).await.unwrap();
    let found = lake.catalog.statistics(&pin).await.unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.contains(&theirs));
}

// A monitor of what is served names the hour by the clock, and a typo is no empty partition.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_named_by_the_clock_and_the_newest_and_nonsense_is_refused() {
    let lake = Lake::new(&["feature_date"]).await;
    let empty = lake.catalog.pin(&lake.table, &SnapshotSelector::Latest).await.unwrap();
    let now = day(5).midnight();
    let resolve = async |pin: &PinnedTable, text: &str| {
        let filter: PartitionFilter = text.parse()?;
        filter.resolve(&lake.catalog, pin, now).await.map(|filter| filter.to_string())
    };
    let none = resolve(&empty, "feature_date=latest").await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NotFound);
    lake.write(rows(&[(0, "a", 1), (3, "b", 2)]), WriteMode::Append).await;
    let pin = lake.write(rows(&[(2, "a", 3)]), WriteMode::Append).await;
    // Without statistics the rows say which is the newest.
    let batch = rows(&[(4, "c", 4)]);
    let stream = BatchStream::from_batches(batch.schema(), vec![batch]);
    let options = CommitOptions::new(WriteMode::Append);
    let unknown = lake.catalog.commit(&lake.table, stream, options).await.unwrap().pinned;
    for (pin, text, expected) in [
        (&pin, "latest", "2026-07-04"),
        (&unknown, "latest", "2026-07-05"),
        (&pin, "latest-2..latest", "2026-07-02..2026-07-04"),
        (&pin, "yesterday", "2026-07-05"),
        (&pin, "-7d..-1d", "2026-06-29..2026-07-05"),
        (&pin, "2026-07", "2026-07-01..2026-07-31"),
    ] {
        let found = resolve(pin, &format!("feature_date={text}")).await.unwrap();
        assert_eq!(found, format!("feature_date={expected}"), "{text}");
    }
    let newest: PartitionFilter = "feature_date=latest".parse().unwrap();
    let newest = newest.resolve(&lake.catalog, &pin, now).await.unwrap().to_string();
    assert_eq!(lake.known(&pin, Some(&newest)).await.profile.rows(), 1);
    for text in
        ["feature_date=yesterdy", "feature_date=-1h", "feature_date=latest..-9d", "day=latest"]
    {
        let error = resolve(&pin, text).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}: {error}");
    }
}
