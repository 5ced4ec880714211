//! What is written is what the iceberg crate's reader and our own read, and what its writer says.

use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{
    DataFileBuilder, DataFileFormat, Manifest, ManifestEntry, ManifestWriterBuilder, NestedField,
    PartitionSpec, Schema, Struct, Transform,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::super::tests::unpacked;
use super::*;

const CODECS: [Codec; 5] =
    [Codec::Null, Codec::Deflate(1), Codec::Deflate(9), Codec::Snappy, Codec::Zstandard(1)];

/// Types of partitions that the iceberg crate reads and writes as the specification says.
fn everyones() -> Vec<PrimitiveType> {
    use PrimitiveType as T;
    vec![
        T::Boolean,
        T::Int,
        T::Long,
        T::Float,
        T::Double,
        T::Date,
        T::Time,
        T::Timestamp,
        T::Timestamptz,
        T::String,
        T::Binary,
        T::Fixed(5),
        T::Decimal { precision: 9, scale: 2 },
        T::Decimal { precision: 38, scale: 10 },
    ]
}

fn all() -> Vec<PrimitiveType> {
    let more = [PrimitiveType::Uuid, PrimitiveType::TimestampNs, PrimitiveType::TimestamptzNs];
    // Two of one name.
    let twice = [PrimitiveType::Fixed(5), PrimitiveType::Decimal { precision: 9, scale: 2 }];
    everyones().into_iter().chain(more).chain(twice).collect()
}

/// A value of a type; the least and the greatest among them.
fn literal(of: &PrimitiveType) -> BoxedStrategy<Option<Literal>> {
    use PrimitiveType as T;
    let value = match of {
        T::Boolean => any::<bool>().prop_map(Literal::bool).boxed(),
        T::Int | T::Date => {
            prop_oneof![any::<i32>(), select(vec![i32::MIN, -1, 0, 63, 64, i32::MAX])]
                .prop_map(Literal::int)
                .boxed()
        }
        T::Float => any::<f32>().prop_map(Literal::float).boxed(),
        T::Double => any::<f64>().prop_map(Literal::double).boxed(),
        T::String => "\\PC{0,9}".prop_map(Literal::string).boxed(),
        T::Binary => proptest::collection::vec(any::<u8>(), 0..9).prop_map(Literal::binary).boxed(),
        T::Fixed(size) => {
            let size = usize::try_from(*size).unwrap();
            proptest::collection::vec(any::<u8>(), size).prop_map(Literal::fixed).boxed()
        }
        T::Uuid => any::<u128>()
            .prop_map(|value| Literal::Primitive(PrimitiveLiteral::UInt128(value)))
            .boxed(),
        T::Decimal { precision, .. } => {
            let max = 10_i128.pow(*precision) - 1;
            prop_oneof![-max..=max, -300_i128..300, select(vec![-max, max, -1, 0, 127, 128, -128])]
                .prop_map(|value| Literal::Primitive(PrimitiveLiteral::Int128(value)))
                .boxed()
        }
        _ => prop_oneof![any::<i64>(), select(vec![i64::MIN, -1, 0, i64::MAX])]
            .prop_map(Literal::long)
            .boxed(),
    };
    prop_oneof![1 => Just(None), 6 => value.prop_map(Some)].boxed()
}

/// A table with a column of each type, and its partitioning by each.
fn table(types: &[PrimitiveType]) -> (SchemaRef, PartitionSpecRef) {
    let column = |(id, of): (i32, &PrimitiveType)| {
        Arc::new(NestedField::optional(id, format!("c{id}"), Type::Primitive(of.clone())))
    };
    let columns = (1..).zip(types).map(column);
    let schema = Schema::builder().with_schema_id(3).with_fields(columns).build().unwrap();
    let schema = Arc::new(schema);
    let mut spec = PartitionSpec::builder(schema.clone()).with_spec_id(7);
    for id in 1..=types.len() {
        let (from, to) = (format!("c{id}"), format!("p{id}"));
        spec = spec.add_partition_field(&from, &to, Transform::Identity).unwrap();
    }
    (schema, Arc::new(spec.build().unwrap()))
}

/// What one entry is made of, but for its partition.
#[derive(Debug, Clone)]
struct Facts {
    path: String,
    status: ManifestStatus,
    numbers: (u64, u64, Option<i64>),
    counts: Vec<(i32, u64)>,
    sequence: i64,
    inherits: bool,
    lists: (Option<Vec<i64>>, Option<Vec<i32>>),
    key: Option<Vec<u8>>,
    deletes: (Option<String>, Option<i64>),
}

fn facts(columns: i32) -> impl Strategy<Value = Facts> {
    let status =
        select(vec![ManifestStatus::Added, ManifestStatus::Existing, ManifestStatus::Deleted]);
    let count = 0..(1_u64 << 40);
    (
        ("\\PC{1,30}", status, any::<bool>(), 0..i64::MAX),
        (count.clone(), count.clone(), proptest::option::of(0..i64::MAX)),
        proptest::collection::vec((1..=columns, count), 0..6),
        proptest::option::of(proptest::collection::vec(any::<i64>(), 0..4)),
        proptest::option::of(proptest::collection::vec(any::<i32>(), 0..4)),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4)),
        (proptest::option::of("\\PC{0,9}"), proptest::option::of(any::<i64>())),
    )
        .prop_map(
            |((path, status, inherits, sequence), numbers, counts, offsets, ids, key, deletes)| {
                let lists = (offsets, ids);
                Facts { path, status, numbers, counts, sequence, inherits, lists, key, deletes }
            },
        )
}

#[derive(Debug, Clone)]
struct Case {
    types: Vec<PrimitiveType>,
    version: FormatVersion,
    content: ManifestContentType,
    codec: Codec,
    entries: Vec<(Facts, Vec<Option<Literal>>)>,
}

fn case(known: Vec<PrimitiveType>) -> impl Strategy<Value = Case> {
    let count = known.len();
    let types = proptest::sample::subsequence(known, 0..=count.min(6));
    let content = select(vec![ManifestContentType::Data, ManifestContentType::Deletes]);
    let version = select(vec![FormatVersion::V2, FormatVersion::V3]);
    (types, version, content, select(CODECS.to_vec())).prop_flat_map(
        |(types, version, content, codec)| {
            let columns = i32::try_from(types.len()).unwrap().max(1);
            let partition: Vec<_> = types.iter().map(literal).collect();
            let entries = proptest::collection::vec((facts(columns), partition), 0..12);
            entries.prop_map(move |entries| Case {
                types: types.clone(),
                version,
                content,
                codec,
                entries,
            })
        },
    )
}

impl Case {
    fn has_ids(&self) -> bool {
        self.version == FormatVersion::V3
    }

    /// The files with what is said of each; bounds are the partition's values.
    fn entries(&self) -> Vec<ManifestEntry> {
        self.entries.iter().map(|(facts, partition)| self.entry(facts, partition)).collect()
    }

    fn entry(&self, facts: &Facts, partition: &[Option<Literal>]) -> ManifestEntry {
        let bounds: HashMap<i32, Datum> = (1..)
            .zip(&self.types)
            .zip(partition)
            .filter_map(|((id, of), value)| Some((id, bound(of, value.as_ref()?)?)))
            .collect();
        let counts: HashMap<i32, u64> = facts.counts.iter().copied().collect();
        let (content, format) = match self.content {
            ManifestContentType::Data => (DataContentType::Data, DataFileFormat::Parquet),
            ManifestContentType::Deletes => {
                (DataContentType::PositionDeletes, DataFileFormat::Puffin)
            }
        };
        let mut file = DataFileBuilder::default();
        file.content(content)
            .file_path(facts.path.clone())
            .file_format(format)
            .partition(partition.iter().cloned().collect::<Struct>())
            .partition_spec_id(7)
            .record_count(facts.numbers.0)
            .file_size_in_bytes(facts.numbers.1)
            .column_sizes(counts.clone())
            .value_counts(counts.clone())
            .null_value_counts(counts.iter().map(|(id, count)| (*id, count / 2)).collect())
            .nan_value_counts(counts.iter().map(|(id, count)| (*id, count / 3)).collect())
            .lower_bounds(bounds.clone())
            .upper_bounds(bounds)
            .key_metadata(facts.key.clone())
            .split_offsets(facts.lists.0.clone())
            .equality_ids(facts.lists.1.clone())
            .referenced_data_file(facts.deletes.0.clone());
        file.content_offset(facts.deletes.1).content_size_in_bytes(facts.deletes.1);
        if self.has_ids() {
            file.first_row_id(facts.numbers.2);
        }
        if facts.inherits {
            file.sort_order_id(4);
        }
        let is_new = facts.status == ManifestStatus::Added;
        let sequence = (!is_new || !facts.inherits).then_some(facts.sequence);
        ManifestEntry::builder()
            .status(facts.status)
            .snapshot_id(if facts.status == ManifestStatus::Existing { 5 } else { 11 })
            .sequence_number_opt(sequence)
            .file_sequence_number_opt((!is_new).then_some(facts.sequence))
            .data_file(file.build().unwrap())
            .build()
    }

    async fn ours(&self, io: &FileIO) -> (ManifestFile, Vec<u8>) {
        let (schema, spec) = table(&self.types);
        let (version, content, codec) = (self.version, self.content, self.codec);
        let kind = ManifestKind { version, content, schema, spec, codec };
        let location = "memory:///m/ours.avro".to_owned();
        let mut writer = ManifestWriter::new(kind, location, 11).unwrap();
        for entry in self.entries() {
            writer
                .push(&NewEntry {
                    file: entry.data_file(),
                    status: entry.status(),
                    snapshot: entry.snapshot_id().unwrap(),
                    sequence: entry.sequence_number(),
                    file_sequence: entry.file_sequence_number,
                    first_row_id: entry.data_file().first_row_id(),
                })
                .unwrap();
        }
        let written = writer.finish(io).await.unwrap();
        let bytes = io.new_input(&written.manifest_path).unwrap().read().await.unwrap();
        (written, bytes.to_vec())
    }

    /// What the iceberg crate's writer makes of the same entries.
    async fn theirs(&self, io: &FileIO) -> (ManifestFile, Manifest) {
        let (schema, spec) = table(&self.types);
        let output = io.new_output("memory:///m/theirs.avro").unwrap();
        let spec = Arc::unwrap_or_clone(spec);
        let builder = ManifestWriterBuilder::new(output, Some(11), schema, spec);
        let mut writer = match (self.has_ids(), self.content) {
            (false, ManifestContentType::Data) => builder.build_v2_data(),
            (false, ManifestContentType::Deletes) => builder.build_v2_deletes(),
            (true, ManifestContentType::Data) => builder.build_v3_data(),
            (true, ManifestContentType::Deletes) => builder.build_v3_deletes(),
        };
        for entry in self.entries() {
            let (file, sequence) = (entry.data_file().clone(), entry.sequence_number());
            match entry.status() {
                ManifestStatus::Added => writer.add_file(file, sequence.unwrap_or(-1)),
                ManifestStatus::Existing => {
                    writer.add_existing_file(file, 5, sequence.unwrap(), entry.file_sequence_number)
                }
                ManifestStatus::Deleted => {
                    writer.add_delete_file(file, sequence.unwrap(), entry.file_sequence_number)
                }
            }
            .unwrap();
        }
        let written = writer.write_manifest_file().await.unwrap();
        let bytes = io.new_input(&written.manifest_path).unwrap().read().await.unwrap();
        (written, Manifest::parse_avro(&bytes).unwrap())
    }
}

fn bound(of: &PrimitiveType, value: &Literal) -> Option<Datum> {
    let Literal::Primitive(value) = value else { return None };
    let mut summary = Summary::default();
    summary.add(Some(value.clone()));
    let bytes = summary.finish().lower_bound?;
    Datum::try_from_bytes(&bytes, of.clone()).ok()
}

/// The same as a list says it, so that nothing is inherited.
fn listed(written: &ManifestFile) -> ManifestFile {
    ManifestFile { sequence_number: 9, min_sequence_number: 9, ..written.clone() }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_other_reader_reads_what_is_written_and_the_other_writer_says_the_same(
        case in case(everyones())
    ) {
        let io = FileIO::new_with_memory();
        let (ours, theirs) = run(async { (case.ours(&io).await, case.theirs(&io).await) });
        let ((written, bytes), (their_file, their_manifest)) = (ours, theirs);
        let read = Manifest::parse_avro(&bytes).unwrap();
        prop_assert_eq!(&read, &their_manifest);
        prop_assert_eq!(unpacked(&bytes, &listed(&written), u64::MAX).map(inherited), Some({
            let (entries, metadata) = read.into_parts();
            let entries = entries.into_iter().map(Arc::unwrap_or_clone).map(inherit).collect();
            Manifest::new(metadata, entries)
        }));
        let says = ManifestFile {
            manifest_path: their_file.manifest_path.clone(),
            manifest_length: their_file.manifest_length,
            ..written
        };
        prop_assert_eq!(says, their_file);
    }

    #[test]
    fn partitions_of_any_type_are_read_as_they_are_written(case in case(all())) {
        let io = FileIO::new_with_memory();
        let (written, bytes) = run(case.ours(&io));
        prop_assert_eq!(bytes.len() as i64, written.manifest_length);
        let read = unpacked(&bytes, &listed(&written), u64::MAX).unwrap();
        let entries: Vec<ManifestEntry> =
            read.entries().iter().map(|entry| entry.as_ref().clone()).collect();
        let wanted: Vec<ManifestEntry> = case.entries().into_iter().map(inherit).collect();
        prop_assert_eq!(entries, wanted);
        // Maps come in another order each time that they are made.
        let (_, again) = run(case.ours(&io));
        prop_assert_eq!(bytes, again);
    }
}

/// What an entry of the listed manifest inherits.
fn inherit(mut entry: ManifestEntry) -> ManifestEntry {
    if entry.status() == ManifestStatus::Added {
        entry.sequence_number = entry.sequence_number.or(Some(9));
        entry.file_sequence_number = entry.file_sequence_number.or(Some(9));
    }
    entry
}

fn inherited(manifest: Manifest) -> Manifest {
    manifest
}

#[test]
fn entries_that_do_not_belong_into_a_manifest_are_refused() {
    let (schema, spec) = table(&[PrimitiveType::Int]);
    let (version, content) = (FormatVersion::V2, ManifestContentType::Data);
    let kind = ManifestKind { version, content, schema, spec, codec: Codec::Null };
    let file = |content, partition: Vec<Option<Literal>>| {
        DataFileBuilder::default()
            .content(content)
            .file_path("p".to_owned())
            .file_format(DataFileFormat::Parquet)
            .partition(partition.into_iter().collect::<Struct>())
            .record_count(1)
            .file_size_in_bytes(1)
            .build()
            .unwrap()
    };
    let cases = [
        (file(DataContentType::PositionDeletes, vec![None]), ManifestStatus::Added),
        (file(DataContentType::Data, vec![None]), ManifestStatus::Existing),
        (file(DataContentType::Data, vec![]), ManifestStatus::Added),
        (file(DataContentType::Data, vec![Some(Literal::string("a"))]), ManifestStatus::Added),
    ];
    for (file, status) in cases {
        let mut writer =
            ManifestWriter::new(kind.clone(), "memory:///m.avro".to_owned(), 1).unwrap();
        let entry = NewEntry {
            file: &file,
            status,
            snapshot: 1,
            sequence: None,
            file_sequence: None,
            first_row_id: None,
        };
        assert!(writer.push(&entry).is_err(), "{file:?}");
    }
}

#[test]
fn values_of_a_column_that_became_wider_are_written_in_its_type() {
    use PrimitiveType as T;
    let cases = [
        (T::Long, PrimitiveLiteral::Int(-5), Some(PrimitiveLiteral::Long(-5))),
        (
            T::Double,
            PrimitiveLiteral::Float(0.5.into()),
            Some(PrimitiveLiteral::Double(0.5.into())),
        ),
        (T::Int, PrimitiveLiteral::Long(5), None),
        (T::Fixed(2), PrimitiveLiteral::Binary(vec![1]), None),
        (T::Decimal { precision: 2, scale: 0 }, PrimitiveLiteral::Int128(128), None),
    ];
    for (of, value, wanted) in cases {
        assert_eq!(typed(&value, &of), wanted, "{value:?} as {of}");
    }
}
