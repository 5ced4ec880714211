//! Events of one partition, gathered in memory with numbers for keys and texts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, FieldRef, Int32Type, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::TryStreamExt;
use icecore_kernel::Interner;

/// With more different texts than this, a column is kept as it is.
const TEXTS_MAX: usize = 1 << 16;
/// Stands for a null among texts: no text has this byte.
const NULL_TEXT: &[u8] = &[0xff];

/// What all partitions that are gathered share.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) memory: MemoryReservation,
    /// How many bytes may be gathered.
    pub(super) bytes_max: usize,
    /// How many rows there are so far: places are numbered in 32 bits.
    pub(super) rows: AtomicUsize,
    /// Whether memory is short for one of them.
    pub(super) is_short: AtomicBool,
}

/// How the gathering of a partition ended.
pub(super) struct Gathered {
    pub(super) part: Part,
    /// What is left of the stream, if memory is short.
    pub(super) rest: Option<SendableRecordBatchStream>,
}

impl fmt::Debug for Gathered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, is_whole) = (self.part.rows, self.rest.is_none());
        f.debug_struct("Gathered").field("rows", &rows).field("is_whole", &is_whole).finish()
    }
}

/// Takes a partition in, until it ends or memory is short for one of all partitions. Texts of the
/// schema may come as numbers.
pub(super) async fn gather(
    mut stream: SendableRecordBatchStream,
    (schema, key_columns): (SchemaRef, usize),
    room: Arc<Room>,
) -> Result<Gathered> {
    let (mut part, mut charged) = (Part::try_new(schema, key_columns)?, 0);
    while let Some(batch) = stream.try_next().await? {
        part.push(&batch)?;
        // Keys and texts can also come to take less than before; what was charged then serves for
        // those that follow.
        let held = part.held_bytes();
        let bytes = part.bytes_of(&batch) + held.saturating_sub(charged);
        charged = charged.max(held);
        let rows = room.rows.fetch_add(batch.num_rows(), Ordering::Relaxed) + batch.num_rows();
        let fits = rows < u32::MAX as usize
            && room.memory.size() + bytes <= room.bytes_max
            && room.memory.try_grow(bytes).is_ok();
        if !fits {
            room.is_short.store(true, Ordering::Relaxed);
        }
        if room.is_short.load(Ordering::Relaxed) {
            return Ok(Gathered { part, rest: Some(stream) });
        }
    }
    Ok(Gathered { part, rest: None })
}

/// What a partition gave so far: its batches without their keys and with numbers for texts.
pub(super) struct Part {
    schema: SchemaRef,
    pub(super) keys: Keys,
    /// The number of each row's key, batch after batch.
    pub(super) codes: Vec<Vec<u32>>,
    /// The moment, the inputs, the masks.
    pub(super) columns: Vec<Column>,
    pub(super) rows: usize,
    /// The memory of texts that are no numbers any more.
    plain_text_bytes: usize,
}

/// The different keys of a part.
pub(super) struct Keys {
    pub(super) different: Interner,
    fields: Vec<FieldRef>,
    /// Absent where the key is one text.
    converter: Option<RowConverter>,
    listed: Listed,
}

/// A column, batch after batch.
pub(super) enum Column {
    Plain(Vec<ArrayRef>),
    Texts { different: Interner, codes: Vec<Int32Array>, listed: Listed },
}

/// The texts that came last as a list and numbers, and our numbers for them.
#[derive(Default)]
pub(super) struct Listed {
    list: Option<ArrayRef>,
    codes: Vec<u32>,
}

impl Listed {
    /// Not all texts of a list need be in use, and only those that are get a number.
    const UNKNOWN: u32 = u32::MAX;

    /// The memory of the list and of our numbers for it.
    fn size_bytes(&self) -> usize {
        let list = self.list.as_ref().map_or(0, Array::get_array_memory_size);
        list + self.codes.capacity() * size_of::<u32>()
    }

    /// Our number for each number of the list that came with these texts.
    fn codes<'a>(
        &'a mut self,
        texts: &'a DictionaryArray<Int32Type>,
        different: &'a mut Interner,
    ) -> impl FnMut(i32) -> u32 + 'a {
        let list = texts.values().as_string::<i32>();
        if self.list.as_ref().is_none_or(|known| !is_same(known.as_string(), list)) {
            self.codes = vec![Self::UNKNOWN; list.len()];
            self.list = Some(Arc::clone(texts.values()));
        }
        let codes = &mut self.codes;
        move |number| {
            let code = &mut codes[number as usize];
            if *code == Self::UNKNOWN {
                *code = different.code(list.value(number as usize).as_bytes());
            }
            *code
        }
    }
}

/// Whether two lists are one in memory. Batches of a row group have arrays of their own around it.
fn is_same(list: &StringArray, other: &StringArray) -> bool {
    list.len() == other.len()
        && list.value_data().as_ptr() == other.value_data().as_ptr()
        && list.value_offsets().as_ptr() == other.value_offsets().as_ptr()
}

/// Texts that came as a list and numbers.
fn listed(texts: &ArrayRef) -> Option<&DictionaryArray<Int32Type>> {
    let listed = texts.as_dictionary_opt::<Int32Type>()?;
    let list = listed.values();
    (list.data_type() == &DataType::Utf8 && list.null_count() == 0).then_some(listed)
}

/// Texts that are not numbers any more.
pub(super) fn plain(texts: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    match texts.data_type() == data_type {
        true => Ok(Arc::clone(texts)),
        false => Ok(cast(texts, data_type)?),
    }
}

impl Part {
    fn try_new(schema: SchemaRef, key_columns: usize) -> Result<Self> {
        let columns =
            schema.fields().iter().skip(key_columns).map(|field| match field.data_type() {
                DataType::Utf8 => {
                    let different = Interner::default();
                    Column::Texts { different, codes: Vec::new(), listed: Listed::default() }
                }
                _ => Column::Plain(Vec::new()),
            });
        let columns = columns.collect();
        let keys = Keys::try_new(schema.fields().iter().take(key_columns).cloned().collect())?;
        let codes = Vec::new();
        Ok(Self { schema, keys, codes, columns, rows: 0, plain_text_bytes: 0 })
    }

    /// About the memory of what is kept of a batch as it came: neither keys nor texts.
    fn bytes_of(&self, batch: &RecordBatch) -> usize {
        let fields = self.schema.fields().iter().enumerate().skip(self.keys.fields.len());
        let plain = fields.filter(|(_, field)| field.data_type() != &DataType::Utf8);
        let plain = batch.project(&plain.map(|(at, _)| at).collect::<Vec<_>>());
        plain.map_or(0, |plain| get_record_batch_memory_size(&plain))
    }

    /// About the memory of all keys and texts so far: the different ones, and a number for each
    /// row, with room for the one copy that is made of those of keys.
    fn held_bytes(&self) -> usize {
        let number = size_of::<u32>();
        let of = |column: &Column| match column {
            Column::Texts { different, listed, .. } => {
                different.size_bytes() + listed.size_bytes() + number * self.rows
            }
            Column::Plain(_) => 0,
        };
        let keys = self.keys.different.size_bytes() + self.keys.listed.size_bytes();
        let texts = self.columns.iter().map(of).sum::<usize>() + self.plain_text_bytes;
        keys + 2 * number * self.rows + texts
    }

    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = self.keys.fields.len();
        self.codes.push(self.keys.codes(batch.columns().get(..keys).unwrap_or_default())?);
        self.rows += batch.num_rows();
        let arrays = self.schema.fields().iter().zip(batch.columns()).skip(keys);
        for (column, (field, array)) in self.columns.iter_mut().zip(arrays) {
            self.plain_text_bytes += column.push(array, field.data_type())?;
        }
        Ok(())
    }

    /// The types of the columns beside the keys.
    pub(super) fn column_types(&self) -> Vec<DataType> {
        let fields = self.schema.fields().iter().skip(self.keys.fields.len());
        fields.map(|field| field.data_type().clone()).collect()
    }

    /// The batches as they came in.
    pub(super) fn into_batches(self) -> Result<Vec<RecordBatch>> {
        let all = (0..self.keys.different.len() as u32).collect::<Vec<_>>();
        let keys = self.keys.arrays(&all)?;
        let columns = self.columns.into_iter().map(Column::into_plain);
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let batch = |(index, codes): (usize, Vec<u32>)| {
            let codes = UInt32Array::from(codes);
            let keys = keys.iter().map(|key| Ok(take(key, &codes, None)?));
            let columns = columns.iter().map(|column| match column.get(index) {
                Some(array) => Ok(Arc::clone(array)),
                None => Err(DataFusionError::Internal("a column lacks a batch".into())),
            });
            let arrays = keys.chain(columns).collect::<Result<Vec<_>>>()?;
            Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
        };
        self.codes.into_iter().enumerate().map(batch).collect()
    }
}

impl Keys {
    fn try_new(fields: Vec<FieldRef>) -> Result<Self> {
        let is_text = matches!(fields.as_slice(), [key] if key.data_type() == &DataType::Utf8);
        let sorted = || fields.iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = match is_text {
            true => None,
            false => Some(RowConverter::new(sorted().collect())?),
        };
        Ok(Self { different: Interner::default(), fields, converter, listed: Listed::default() })
    }

    fn codes(&mut self, keys: &[ArrayRef]) -> Result<Vec<u32>> {
        let different = &mut self.different;
        match (&self.converter, keys) {
            (Some(converter), _) => {
                let rows = converter.convert_columns(keys)?;
                Ok(rows.iter().map(|row| different.code(row.as_ref())).collect())
            }
            (None, [texts]) => {
                if let Some(texts) = listed(texts) {
                    if texts.null_count() == 0 {
                        let code = self.listed.codes(texts, different);
                        return Ok(texts.keys().values().iter().copied().map(code).collect());
                    }
                    let null = different.code(NULL_TEXT);
                    let mut code = self.listed.codes(texts, different);
                    let numbers = texts.keys().iter();
                    return Ok(numbers.map(|number| number.map_or(null, &mut code)).collect());
                }
                let texts = plain(texts, &DataType::Utf8)?;
                let texts = texts.as_string::<i32>().iter();
                Ok(texts
                    .map(|text| different.code(text.map_or(NULL_TEXT, str::as_bytes)))
                    .collect())
            }
            (None, _) => Err(DataFusionError::Internal("events lack their key".into())),
        }
    }

    /// The keys of these numbers, as columns.
    pub(super) fn arrays(&self, codes: &[u32]) -> Result<Vec<ArrayRef>> {
        let values = codes.iter().map(|code| self.different.value(*code));
        let Some(converter) = &self.converter else {
            return Ok(vec![Arc::new(texts(values)) as ArrayRef]);
        };
        let parser = converter.parser();
        let arrays = converter.convert_rows(values.map(|value| parser.parse(value)))?;
        let typed =
            |(array, field): (ArrayRef, &FieldRef)| match array.data_type() == field.data_type() {
                true => Ok(array),
                false => Ok(cast(&array, field.data_type())?),
            };
        arrays.into_iter().zip(&self.fields).map(typed).collect()
    }

    /// The numbers in the order of their keys, nulls first.
    pub(super) fn in_order(&self) -> Vec<u32> {
        let mut order = (0..self.different.len() as u32).collect::<Vec<_>>();
        let of = |code: &u32| {
            let value = self.different.value(*code);
            (self.converter.is_some() || value != NULL_TEXT, value)
        };
        order.sort_unstable_by(|a, b| of(a).cmp(&of(b)));
        order
    }
}

/// Texts from their bytes, which came from texts.
pub(super) fn texts<'a>(values: impl Iterator<Item = &'a [u8]>) -> StringArray {
    values.map(|value| std::str::from_utf8(value).ok()).collect()
}

impl Column {
    /// Takes an array in, and says how many bytes of plain texts came to be kept for that. Those
    /// can be many more than the array's: where there are too many different texts, all numbers so
    /// far become texts again.
    fn push(&mut self, array: &ArrayRef, data_type: &DataType) -> Result<usize> {
        let mut bytes = 0;
        if let Self::Texts { different, .. } = self
            && different.len() > TEXTS_MAX
        {
            let texts = std::mem::replace(self, Self::Plain(Vec::new())).into_plain()?;
            bytes += texts.iter().map(Array::get_array_memory_size).sum::<usize>();
            *self = Self::Plain(texts);
        }
        match self {
            Self::Plain(arrays) => {
                let array = plain(array, data_type)?;
                if *data_type == DataType::Utf8 {
                    bytes += array.get_array_memory_size();
                }
                arrays.push(array);
            }
            // There are fewer texts than a signed number holds.
            Self::Texts { different, codes, listed: known } => codes.push(match listed(array) {
                Some(texts) => {
                    let mut code = known.codes(texts, different);
                    texts.keys().iter().map(|number| Some(code(number?) as i32)).collect()
                }
                None => {
                    let texts = plain(array, data_type)?;
                    let texts = texts.as_string::<i32>().iter();
                    texts.map(|text| Some(different.code(text?.as_bytes()) as i32)).collect()
                }
            }),
        }
        Ok(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Plain(arrays) => arrays.is_empty(),
            Self::Texts { codes, .. } => codes.is_empty(),
        }
    }

    pub(super) fn into_plain(self) -> Result<Vec<ArrayRef>> {
        match self {
            Self::Plain(arrays) => Ok(arrays),
            Self::Texts { different, codes, .. } => {
                let values = (0..different.len() as u32).map(|code| different.value(code));
                let values = texts(values);
                codes.iter().map(|codes| Ok(take(&values, codes, None)?)).collect()
            }
        }
    }
}
