//! Several changes in one step.

use super::*;
use crate::refs::Retention;

#[tokio::test]
async fn rows_a_tag_columns_and_properties_appear_together() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    let mut fields: Vec<Field> =
        columns().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("note", DataType::Utf8, true));
    let wider = Arc::new(Schema::new(fields));
    let notes = arrow::array::StringArray::from(vec!["two"]);
    let batch = RecordBatch::try_new(
        wider.clone(),
        vec![
            Arc::new(Int64Array::from(vec![2])),
            Arc::new(Date32Array::from(vec![1])),
            Arc::new(notes),
        ],
    );
    let rows = BatchStream::from_batches(wider.clone(), vec![batch.unwrap()]);
    let metadata = |lake: &Lake| {
        lake.files_on_disk().iter().filter(|path| path.ends_with(".metadata.json")).count()
    };
    let before = metadata(&lake);
    let side = CommitOptions::default().with_branch(named("side")).with_new_branch();
    let done = lake
        .catalog
        .transaction(lake.table.clone())
        .evolve(wider)
        .rows(rows, CommitOptions::default().with_job_id("load"))
        .tag(named("v1"), RefName::main(), TagMove::Refuse)
        .branch(named("keep"), RefName::main(), Retention::default())
        .rows(stream(&[(3, 1)]), side)
        .properties([("owner".to_owned(), "us".to_owned())].into(), vec![])
        .commit()
        .await
        .unwrap();
    assert!(done.changed);
    assert_eq!(metadata(&lake), before + 1);
    assert_eq!(done.pinned, lake.pin("side").await.unwrap());
    assert_eq!(lake.pin("v1").await.unwrap(), lake.pin("latest").await.unwrap());
    assert_eq!(lake.pin("keep").await.unwrap(), lake.pin("latest").await.unwrap());
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 1)]);
    assert_eq!(lake.rows(&done.pinned).await, [(1, 1), (2, 1), (3, 1)]);
    let found = lake.catalog.describe(&lake.table).await.unwrap();
    assert_eq!((found.schema.fields().len(), found.properties["owner"].as_str()), (3, "us"));
    assert_eq!(found.properties["training-dataset.v1.row_count"], "2");
    // The same work again is done already, whatever else it would do.
    let again = lake
        .catalog
        .transaction(lake.table.clone())
        .rows(stream(&[(2, 1)]), CommitOptions::default().with_job_id("load"))
        .tag(named("v1"), RefName::main(), TagMove::Refuse)
        .commit()
        .await
        .unwrap();
    assert!(!again.changed);
    assert_eq!(again.pinned, lake.pin("v1").await.unwrap());
}

#[tokio::test]
async fn one_step_that_fails_leaves_nothing_of_the_others() {
    let lake = Lake::new().await;
    let first = lake.append(&[(1, 1)]).await;
    lake.catalog.tag(&first, &named("v1"), TagMove::Refuse).await.unwrap();
    let before = lake.files_on_disk();
    let result = lake
        .catalog
        .transaction(lake.table.clone())
        .rows(stream(&[(2, 1)]), CommitOptions::default())
        .tag(named("v1"), RefName::main(), TagMove::Refuse)
        .commit()
        .await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(lake.files_on_disk(), before);
    assert_eq!(lake.rows_now().await, [(1, 1)]);
    let result = lake
        .catalog
        .transaction(lake.table.clone())
        .rows(stream(&[(2, 1)]), CommitOptions::default())
        .rows(stream(&[(3, 1)]), CommitOptions::default())
        .commit()
        .await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(lake.files_on_disk(), before);
    let nothing = lake.catalog.transaction(lake.table.clone()).commit().await.unwrap();
    assert_eq!((nothing.pinned, nothing.changed), (first, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn transactions_of_many_writers_lose_nothing() {
    let lake = Lake::new().await;
    let mut writers = Vec::new();
    for number in 0..4 {
        let (catalog, table) = (lake.reopened().await, lake.table.clone());
        writers.push(tokio::spawn(async move {
            for round in 0..3 {
                let row = (number * 10 + round, 1);
                catalog
                    .transaction(table.clone())
                    .rows(stream(&[row]), CommitOptions::default())
                    .tag(named(&format!("t{}", row.0)), RefName::main(), TagMove::Refuse)
                    .commit()
                    .await
                    .unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for number in 0..4 {
        for round in 0..3 {
            let row = (number * 10 + round, 1);
            let tagged = lake.pin(&format!("t{}", row.0)).await.unwrap();
            assert!(lake.rows(&tagged).await.contains(&row));
        }
    }
    assert_eq!(lake.rows_now().await.len(), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_that_are_pinned_together_were_current_together() {
    // A writer keeps the second table at or one behind the first.
    let lake = Lake::new().await;
    let other = TableName::parse("ns.other").unwrap();
    lake.catalog.ensure_table(&other, &NewTable::new(columns())).await.unwrap();
    let (catalog, tables) = (lake.reopened().await, [lake.table.clone(), other.clone()]);
    let writer = {
        let tables = tables.clone();
        tokio::spawn(async move {
            for number in 0..15 {
                for table in &tables {
                    let rows = stream(&[(number, 1)]);
                    catalog.commit(table, rows, CommitOptions::default()).await.unwrap();
                }
            }
        })
    };
    let wanted: Vec<(TableName, SnapshotSelector)> =
        tables.iter().map(|table| (table.clone(), SnapshotSelector::Latest)).collect();
    let mut seen = 0;
    while !writer.is_finished() || seen == 0 {
        let Ok(pins) = lake.catalog.pin_all(&wanted).await else { continue };
        let counts = [lake.rows(&pins[0]).await.len(), lake.rows(&pins[1]).await.len()];
        assert!(counts[0] == counts[1] || counts[0] == counts[1] + 1, "{counts:?}");
        seen += 1;
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_layout_that_nothing_was_published_with_is_taken_back() {
    let lake = Lake::new().await;
    let first = lake.append(&[(1, 1)]).await;
    let (catalog, table) = (&lake.catalog, &lake.table);
    let described = catalog.describe(table).await.unwrap();
    let before = catalog.layout(table).await.unwrap();
    let wider = Arc::new(Schema::new(vec![Field::new("note", DataType::Utf8, true)]));
    catalog
        .transaction(table.clone())
        .evolve(wider)
        .alter(vec![crate::Alteration::PartitionBy(vec!["note".to_owned()])])
        .commit()
        .await
        .unwrap();
    let made = catalog.layout(table).await.unwrap();
    assert_ne!(before, made);
    assert_eq!(lake.pin("latest").await.unwrap(), first, "readers see what they saw");
    assert!(catalog.restore_layout(table, made, before).await.unwrap());
    let after = catalog.describe(table).await.unwrap();
    assert_eq!((after.schema, after.partition_by), (described.schema, described.partition_by));
    // What others changed since stays.
    let other = Arc::new(Schema::new(vec![Field::new("more", DataType::Utf8, true)]));
    catalog.evolve(table, &other).await.unwrap();
    assert!(!catalog.restore_layout(table, made, before).await.unwrap());
    assert_eq!(catalog.describe(table).await.unwrap().schema.fields().len(), 3);
    lake.append(&[(2, 1)]).await;
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 1)]);
}
