//! Gathered events in the order of their entities.
//!
//! Sorting rows by the text of their keys compares and copies the same few texts again and again.
//! Here rows are put in order by the numbers of their keys, by counting: one pass to count, one to
//! place. Rows of an entity keep the order in which they came, which for a log is that of time, and
//! only entities whose rows did not come so are sorted.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int32Array, PrimitiveArray, UInt32Array, new_empty_array,
};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Int32Type, TimestampMicrosecondType};
use datafusion::error::{DataFusionError, Result};
use icecore_kernel::Interner;

use super::gather::{Column, Part, texts};

/// All events, by entity.
#[derive(Debug)]
pub(super) struct Arranged {
    /// The keys of each entity, in order.
    keys: Vec<ArrayRef>,
    /// Where the rows of each entity start in `places`, and where those of the last one end.
    starts: Vec<usize>,
    /// The row at each place.
    places: Vec<u32>,
    times: PrimitiveArray<TimestampMicrosecondType>,
    /// The inputs, then the masks.
    columns: Vec<ArrayRef>,
}

/// Events of whole entities, in the order of their times.
pub(super) struct ArrangedBlock {
    pub(super) times: Vec<i64>,
    pub(super) columns: Vec<ArrayRef>,
    pub(super) entities: Vec<Range<usize>>,
}

impl Arranged {
    pub(super) fn try_new(mut parts: Vec<Part>) -> Result<Self> {
        let (keys, ranks) = ranked(&mut parts)?;
        let mut starts = vec![0_usize; ranks.entities + 1];
        for (part, ranks) in parts.iter_mut().zip(&ranks.of_part) {
            for code in part.codes.iter_mut().flatten() {
                *code = ranks[*code as usize];
                starts[*code as usize + 1] += 1;
            }
        }
        let mut total = 0;
        for start in &mut starts {
            total += *start;
            *start = total;
        }
        let mut places = vec![0_u32; total];
        let mut next = starts.clone();
        let codes = parts.iter().flat_map(|part| part.codes.iter().flatten());
        for (row, code) in codes.enumerate() {
            let place = &mut next[*code as usize];
            // Fewer rows than this are gathered.
            places[*place] = row as u32;
            *place += 1;
        }
        parts.iter_mut().for_each(|part| part.codes = Vec::new());
        let types = parts.first().map(Part::column_types).unwrap_or_default();
        let mut of_parts =
            parts.into_iter().map(|part| part.columns.into_iter()).collect::<Vec<_>>();
        let mut column = |data_type: &DataType| {
            joined(of_parts.iter_mut().filter_map(Iterator::next).collect(), data_type)
        };
        let columns = types.iter().map(&mut column).collect::<Result<Vec<_>>>()?;
        let mut columns = columns.into_iter();
        let times = columns
            .next()
            .and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>().cloned());
        let times =
            times.ok_or_else(|| DataFusionError::Internal("window events have no time".into()))?;
        Ok(Self { keys, starts, places, times, columns: columns.collect() })
    }

    /// How many entities there are.
    pub(super) const fn entities(&self) -> usize {
        self.starts.len() - 1
    }

    /// The end of a block that starts with an entity and has about so many rows.
    pub(super) fn block_end(&self, entities: Range<usize>, rows: usize) -> usize {
        let wanted = self.starts[entities.start] + rows;
        let end = self.starts.partition_point(|start| *start <= wanted).saturating_sub(1);
        end.clamp(entities.start + 1, entities.end)
    }

    pub(super) fn block(&self, entities: Range<usize>) -> Result<ArrangedBlock> {
        let base = self.starts[entities.start];
        let mut rows = self.places[base..self.starts[entities.end]].to_vec();
        let time = |row: &u32| self.times.values()[*row as usize];
        let ranges = self.starts[entities.start..=entities.end].windows(2);
        let ranges = ranges.map(|pair| pair[0] - base..pair[1] - base).collect::<Vec<_>>();
        for range in &ranges {
            let of_entity = &mut rows[range.clone()];
            if !of_entity.is_sorted_by_key(time) {
                of_entity.sort_by_key(time);
            }
        }
        let times = rows.iter().map(time).collect();
        let rows = UInt32Array::from(rows);
        let columns = self.columns.iter().map(|column| Ok(take(column, &rows, None)?));
        Ok(ArrangedBlock { times, columns: columns.collect::<Result<_>>()?, entities: ranges })
    }

    /// The keys of entities, one row for each number.
    pub(super) fn keys_of(&self, entities: &UInt32Array) -> Result<Vec<ArrayRef>> {
        self.keys.iter().map(|key| Ok(take(key, entities, None)?)).collect()
    }

    /// The types of the inputs and masks as they are kept.
    pub(super) fn column_types(&self) -> impl Iterator<Item = DataType> + '_ {
        self.columns.iter().map(|column| column.data_type().clone())
    }
}

/// The place of each part's entities among all.
struct Ranks {
    of_part: Vec<Vec<u32>>,
    entities: usize,
}

fn ranked(parts: &mut [Part]) -> Result<(Vec<ArrayRef>, Ranks)> {
    let Some((first, others)) = parts.split_first_mut() else {
        return Ok((Vec::new(), Ranks { of_part: Vec::new(), entities: 0 }));
    };
    let of_first = (0..first.keys.different.len() as u32).collect();
    let mut of_part: Vec<Vec<u32>> = vec![of_first];
    for part in others {
        of_part.push(renumbered(&part.keys.different, &mut first.keys.different));
    }
    let order = first.keys.in_order();
    let mut rank_of = vec![0_u32; order.len()];
    (0..).zip(&order).for_each(|(rank, code)| rank_of[*code as usize] = rank);
    for codes in &mut of_part {
        codes.iter_mut().for_each(|code| *code = rank_of[*code as usize]);
    }
    Ok((first.keys.arrays(&order)?, Ranks { of_part, entities: order.len() }))
}

/// The numbers that the values of one have in another.
fn renumbered(from: &Interner, to: &mut Interner) -> Vec<u32> {
    (0..from.len() as u32).map(|code| to.code(from.value(code))).collect()
}

/// One column of all parts.
fn joined(columns: Vec<Column>, data_type: &DataType) -> Result<ArrayRef> {
    if columns.iter().all(Column::is_empty) {
        return Ok(new_empty_array(data_type));
    }
    let is_texts = |column: &Column| matches!(column, Column::Texts { .. });
    if !columns.iter().all(is_texts) {
        let arrays = columns.into_iter().map(Column::into_plain).collect::<Result<Vec<_>>>()?;
        let arrays = arrays.iter().flatten().map(AsRef::as_ref).collect::<Vec<_>>();
        return Ok(concat(&arrays)?);
    }
    let mut all = Interner::default();
    let mut codes: Vec<Int32Array> = Vec::new();
    for column in columns {
        let Column::Texts { different, codes: of_part, .. } = column else { continue };
        let renumbered = renumbered(&different, &mut all);
        let renumber = |code: i32| renumbered.get(code as usize).map_or(0, |code| *code as i32);
        codes.extend(of_part.iter().map(|codes| codes.unary::<_, Int32Type>(renumber)));
    }
    let codes = codes.iter().map(|codes| codes as &dyn arrow::array::Array).collect::<Vec<_>>();
    let codes = concat(&codes)?;
    let values = texts((0..all.len() as u32).map(|code| all.value(code)));
    let codes = codes.as_primitive::<Int32Type>().clone();
    Ok(Arc::new(DictionaryArray::try_new(codes, Arc::new(values))?))
}
