//! Columns that a file calls otherwise than the table does.

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Fields};
use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat, Operation};
use icecore_core::SnapshotSelector;

use super::*;
use crate::commit::{AddedFiles, FileChange};
use crate::write::tests::lines;

/// A row of the first column of a table, under a name.
fn row_of(name: &str) -> RecordBatch {
    let id = ("PARQUET:field_id".to_owned(), "1".to_owned());
    let field = Field::new(name, DataType::Int64, true).with_metadata([id].into());
    let schema = Arc::new(ArrowSchema::new(vec![field]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![7]))]).unwrap()
}

#[tokio::test]
async fn a_name_that_other_writers_spell_otherwise_is_not_looked_for_in_files() {
    for (name, spelled) in
        [("user_id", "user_id"), ("user-id", "user_x2Did"), ("9lives", "_9lives")]
    {
        let lake = Lake::new(NewTable::new(row_of(name).schema())).await;
        let (path, size_bytes) = lake.put_parquet("theirs", &row_of(spelled)).await;
        let mut file = DataFileBuilder::default();
        file.content(DataContentType::Data)
            .file_path(path)
            .file_format(DataFileFormat::Parquet)
            .file_size_in_bytes(size_bytes)
            .record_count(1);
        let metadata = lake.loaded().await.metadata_ref();
        let mut change = FileChange::new(metadata.clone(), Operation::Append);
        change.added = vec![AddedFiles::data(&metadata, vec![file.build().unwrap()])];
        let pinned = lake.catalog.commit_change(&lake.table, change).await.unwrap().pinned;
        let plan = lake.catalog.plan_files(&pinned, None).await.unwrap();
        let is_same = name == spelled;
        assert_eq!((plan.native, plan.files[0].native), (is_same, is_same), "{name}");
        assert_eq!(lines(&lake.read(&pinned, ScanOptions::default()).await), ["7"], "{name}");
    }
}

#[tokio::test]
async fn names_inside_of_columns_count_too() {
    for (inner, is_native) in [("zip", true), ("zip code", false)] {
        let fields = Fields::from(vec![Field::new(inner, DataType::Int64, true)]);
        let list = DataType::new_list(DataType::Struct(fields), true);
        let schema = Arc::new(ArrowSchema::new(vec![Field::new("places", list, true)]));
        let lake = Lake::new(NewTable::new(schema)).await;
        let pinned = lake.catalog.pin(&lake.table, &SnapshotSelector::Latest).await.unwrap();
        let plan = lake.catalog.plan_files(&pinned, None).await.unwrap();
        assert_eq!(plan.native, is_native, "{inner}");
    }
}
