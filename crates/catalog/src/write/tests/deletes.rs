//! Files that say which rows are gone.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use iceberg::puffin::PuffinReader;
use iceberg::spec::{DataContentType, DataFileFormat, Datum, Literal, Struct};
use proptest::prelude::*;
use roaring::RoaringTreemap;

use super::super::deletion_vector::write_deletion_vectors;
use super::super::equality_deletes::{DeletedKeys, key_schema, write_equality_deletes};
use super::super::position_deletes::{DeletedRows, write_position_deletes};
use super::*;

fn deleted(path: &str, positions: impl IntoIterator<Item = u64>) -> DeletedRows {
    DeletedRows {
        path: path.to_owned(),
        partition: Struct::from_iter([Some(Literal::int(7))]),
        spec_id: 3,
        positions: positions.into_iter().collect(),
    }
}

#[tokio::test]
async fn a_position_delete_file_lists_the_rows_of_one_file_in_order() {
    let bench = Bench::new(&events_schema(), &Layout::default());
    let long = format!("file:///{}/a.parquet", "x".repeat(200));
    let rows = deleted(&long, (0..20_000).map(|n| n * 3));
    let file = write_position_deletes(&bench.target, rows, 2).await.unwrap();
    let batch = bench.rows(&file).await;
    assert_eq!(batch.schema().field(0).name(), "file_path");
    assert!(batch.column(0).as_string::<i32>().iter().all(|path| path == Some(&long)));
    let positions = batch.column(1).as_primitive::<Int64Type>().values();
    assert!(positions.iter().copied().eq((0..20_000).map(|n| n * 3)));
    assert_eq!(file.content_type(), DataContentType::PositionDeletes);
    assert_eq!(file.referenced_data_file(), Some(long.clone()));
    let path_id = iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH;
    assert_eq!(file.lower_bounds()[&path_id], Datum::string(&long));
    assert_eq!(file.upper_bounds()[&path_id], Datum::string(&long));
    assert_eq!((file.record_count(), file.sort_order_id()), (20_000, None));
    assert_eq!(file.partition(), &Struct::from_iter([Some(Literal::int(7))]));
    assert_eq!(bench.bytes(&file).await.len() as u64, file.file_size_in_bytes());
}

/// Decodes a vector as the format says it is laid out.
fn decode(blob: &[u8]) -> RoaringTreemap {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    assert_eq!(number(&blob[..4]) as usize, blob.len() - 8);
    assert_eq!(blob[4..8], [0xD1, 0xD3, 0x39, 0x64]);
    assert_eq!(crc32fast::hash(&blob[4..blob.len() - 4]), number(&blob[blob.len() - 4..]));
    RoaringTreemap::deserialize_from(&blob[8..blob.len() - 4]).unwrap()
}

async fn check_vectors(vectors: Vec<Vec<u64>>) {
    let bench = Bench::in_memory(&events_schema(), &Layout::default());
    let rows: Vec<DeletedRows> =
        (0..).zip(&vectors).map(|(n, rows)| deleted(&format!("f{n}"), rows.clone())).collect();
    let files = write_deletion_vectors(&bench.target, &rows, 0).await.unwrap();
    let input = bench.target.io.new_input(files[0].file_path()).unwrap();
    // Iceberg's own reader, which goes by the footer.
    let reader = PuffinReader::new(input);
    let footer = reader.file_metadata().await.unwrap();
    assert_eq!(footer.blobs().len(), vectors.len());
    let bytes = bench.bytes(&files[0]).await;
    for ((file, deleted), blob) in files.iter().zip(&rows).zip(footer.blobs()) {
        let offset = usize::try_from(file.content_offset().unwrap()).unwrap();
        let length = usize::try_from(file.content_size_in_bytes().unwrap()).unwrap();
        assert_eq!((blob.offset() as usize, blob.length() as usize), (offset, length));
        assert_eq!((blob.snapshot_id(), blob.sequence_number()), (-1, -1));
        assert_eq!(blob.properties()["referenced-data-file"], deleted.path);
        assert_eq!(blob.properties()["cardinality"], deleted.positions.len().to_string());
        assert_eq!(decode(&bytes[offset..offset + length]), deleted.positions);
        assert_eq!(file.record_count(), deleted.positions.len());
        assert_eq!(file.file_format(), DataFileFormat::Puffin);
        assert_eq!(file.referenced_data_file().as_ref(), Some(&deleted.path));
        assert_eq!(file.file_size_in_bytes(), bytes.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn deletion_vectors_hold_what_was_put_in(
        vectors in proptest::collection::vec(
            proptest::collection::vec(
                prop_oneof![0..100_u64, 65_000..70_000_u64, any::<u64>()], 1..50),
            1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check_vectors(vectors));
    }
}

#[tokio::test]
async fn equality_deletes_lie_in_the_partitions_of_their_keys() {
    let layout = Layout { partition_by: &["bucket(4, id)"], ..Layout::default() };
    let bench = Bench::new(&events_schema(), &layout);
    let names = owned(&["id", "user"]);
    let columns = key_schema(bench.target.metadata.current_schema(), &names).unwrap();
    let arrow = schema::to_arrow(&columns).unwrap();
    let rows = events(0..40).project(&[0, 1]).unwrap();
    let keys = RecordBatch::try_new(arrow, rows.columns().to_vec()).unwrap();
    let deleted = DeletedKeys {
        schema: Arc::new(columns),
        keys,
        spec: bench.target.metadata.default_partition_spec().clone(),
    };
    let files = write_equality_deletes(&bench.target, &deleted, 0).await.unwrap();
    assert_eq!(files.len(), 4);
    assert_eq!(files.iter().map(DataFile::record_count).sum::<u64>(), 40);
    for file in &files {
        assert_eq!(file.content_type(), DataContentType::EqualityDeletes);
        assert_eq!(file.equality_ids(), Some(vec![1, 2]));
        assert!(file.lower_bounds().contains_key(&1));
    }
    let mut lines = bench.lines(&files).await;
    let mut expected = super::lines(&rows);
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
}
