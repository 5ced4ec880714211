//! Rows to learn from that are joined again from a lock's inputs.

use std::collections::BTreeMap;

use icecore_core::{ErrorKind, SnapshotCatalog, SnapshotSelector, TableName};

use super::lake::{CHURN, Lake};
use crate::{
    BuildOptions, BuiltDataset, LoadOptions, LoadedSet, RowsFrom, build, digest, load, open,
    rebuilt_digest, size,
};

async fn built(lake: &Lake, text: &str) -> BuiltDataset {
    let spec = lake.spec(text);
    build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await.unwrap()
}

fn from_inputs(types: &BTreeMap<String, String>) -> LoadOptions {
    LoadOptions::default().with_rows(RowsFrom::Inputs { types: types.clone() })
}

/// What a model learns from, in the order of ids.
fn learned(loaded: &LoadedSet) -> Vec<String> {
    let set = &loaded.set;
    let mut rows: Vec<String> = (0..set.rows())
        .map(|row| {
            let features = set.features().slice(row, 1);
            let features = features.columns();
            let (id, label) = (set.row_ids().value(row), set.labels().value(row));
            format!("{id} {label} {features:?}")
        })
        .collect();
    rows.sort();
    rows.push(format!("{:?} {:?} {}", set.provenance(), loaded.pin, loaded.unlabelled));
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_the_same_when_their_table_is_gone() {
    let lake = Lake::filled().await;
    let lock = built(&lake, CHURN).await.lock;
    let stored = load(&lake.engine, &lock, LoadOptions::default()).await.unwrap();
    assert!(stored.types.is_empty() && stored.rebuilt.is_none(), "{:?}", stored.types);
    let found = digest(&lake.engine, &lock, &lock.materialized).await.unwrap();
    assert_eq!((found.rows, &found.content_hash), (lock.rows, &lock.content_hash));

    lake.engine.catalog().drop_table(&lock.materialized.table).await.unwrap();
    let gone = load(&lake.engine, &lock, LoadOptions::default()).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let options = from_inputs(&stored.types);
    let rebuilt = load(&lake.engine, &lock, options.clone()).await.unwrap();
    assert_eq!(learned(&rebuilt), learned(&stored));
    assert_eq!(rebuilt.rebuilt.as_ref(), Some(&found));
    assert_eq!(rebuilt_digest(&lake.engine, &lock).await.unwrap(), found);

    assert_eq!(size(&lake.engine, &lock, &options).await.unwrap(), 15);
    let mut seen = 0;
    let streamed = open(&lake.engine, &lock, &options, |features| {
        seen += features.num_rows();
        Ok(())
    });
    let streamed = streamed.await.unwrap();
    assert_eq!((streamed.rebuilt(), streamed.rows(), seen), (Some(&found), 4, 4));
    let read = move || icecore_core::TrainingSet::collect(&streamed).unwrap().rows();
    assert_eq!(tokio::task::spawn_blocking(read).await.unwrap(), 4);
}

// A row's id is a hash that goes by the types of its keys.
#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_rows_get_the_types_that_their_table_had() {
    let lake = Lake::filled().await;
    let of = |kind: &str| {
        let label = format!(", CAST(churned AS {kind}) AS churned FROM");
        CHURN.replace(", churned FROM", &label)
    };
    built(&lake, &of("BIGINT")).await;
    let lock = built(&lake, &of("INT")).await.lock;
    let stored = load(&lake.engine, &lock, LoadOptions::default()).await.unwrap();
    let wide = BTreeMap::from([("churned".to_owned(), "Int64".to_owned())]);
    assert_eq!(stored.types, wide);
    let rebuilt = load(&lake.engine, &lock, from_inputs(&stored.types)).await.unwrap();
    assert_eq!(learned(&rebuilt), learned(&stored));
    assert_eq!(rebuilt.rebuilt.unwrap().content_hash, lock.content_hash);
    let none = BTreeMap::from([("churned".to_owned(), "Whole".to_owned())]);
    let error = load(&lake.engine, &lock, from_inputs(&none)).await.unwrap_err();
    assert_eq!(error.to_string(), "column `churned` was of type `Whole`");
}

// What a training on another state than the locked one records.
#[tokio::test(flavor = "multi_thread")]
async fn another_state_has_a_hash_of_its_own() {
    let lake = Lake::filled().await;
    let first = built(&lake, CHURN).await.lock;
    let fewer = CHURN.replace("labels.outcomes", "labels.outcomes WHERE user_token <> 'u3'");
    let second = built(&lake, &fewer).await.lock;
    assert_ne!(first.content_hash, second.content_hash);
    let table: TableName = "ml_training.churn".parse().unwrap();
    let at = SnapshotSelector::Id(first.materialized.snapshot);
    let pin = lake.engine.catalog().pin(&table, &at).await.unwrap();
    let found = digest(&lake.engine, &second, &pin).await.unwrap();
    assert_eq!(found.content_hash, first.content_hash);
}
