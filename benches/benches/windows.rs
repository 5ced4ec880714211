//! How long the window features of a view take, by where rows come out and how skewed users are.
//!
//! Sketch: an event costs a few ns for each of three windows to enter and leave, its value ~5 ns to
//! become fixed point and ~10 ns to be interned, and each row that comes out ~5 ns for each of the
//! twelve columns. At each event that makes ~150 ns a row, 1.5 s for 10 million; far off that, look
//! for a hash or an allocation per row. The sketch of distinct values adds ~100 ns a row and window
//! for its estimate. Run with `cargo bench -p icecore-benches --bench windows`.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray};
use arrow::datatypes::DataType;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use icecore_core::{AggregateFunction, Closed, Emit, Finite, Span, TimeRange, Window};
use icecore_kernel::{EntityEvents, WindowColumn, WindowKernel, WindowSpec};

const ROWS: usize = 1_000_000;
/// The rows that the engine hands to the kernel at once.
const BLOCK_ROWS: usize = 1 << 17;
const HALF_YEAR_MICROS: u64 = 180 * 86_400_000_000;

/// A block of payments: whole users, sorted by time.
struct Block {
    times: Vec<i64>,
    users: Vec<Range<usize>>,
    inputs: Vec<ArrayRef>,
}

/// A small generator of even numbers (Marsaglia's xorshift), so that every run sees the same data.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Payments of users with so many each, in cents at one of 5,000 merchants.
fn blocks(mut payments: impl FnMut(usize) -> usize) -> Vec<Block> {
    let mut random = Random(0x1234_5678_9abc_def1);
    let (mut blocks, mut total, mut user) = (Vec::new(), 0, 0);
    while total < ROWS {
        let (mut times, mut users) = (Vec::new(), Vec::new());
        while times.len() < BLOCK_ROWS && total < ROWS {
            let start = times.len();
            let count = payments(user).clamp(1, ROWS - total);
            times.extend((0..count).map(|_| random.below(HALF_YEAR_MICROS) as i64));
            times[start..].sort_unstable();
            users.push(start..times.len());
            (total, user) = (total + count, user + 1);
        }
        let amounts = times.iter().map(|_| random.below(100_000) as f64 / 100.0);
        let amounts: ArrayRef = Arc::new(Float64Array::from_iter_values(amounts));
        let merchants = times.iter().map(|_| format!("merchant_{:05}", random.below(5_000)));
        let merchants: ArrayRef = Arc::new(StringArray::from_iter_values(merchants));
        blocks.push(Block { times, users, inputs: vec![amounts, merchants] });
    }
    blocks
}

fn kernel(functions: &[(AggregateFunction, Option<usize>)], emit: &Emit) -> WindowKernel {
    let mut columns = Vec::new();
    for days in [7, 30, 90] {
        for (function, input) in functions {
            let name = format!("{function:?}_{days}d");
            let window = Window::last(Span::from_days(days));
            columns.push(WindowColumn {
                name,
                function: function.clone(),
                input: *input,
                mask: None,
                window,
                closed: Closed::Both,
            });
        }
    }
    let spec = WindowSpec { columns, emit: emit.clone(), idle: None };
    WindowKernel::try_new(spec, &[DataType::Float64, DataType::Utf8]).unwrap()
}

fn windows(c: &mut Criterion) {
    let count = (AggregateFunction::Count, None);
    let sum = (AggregateFunction::Sum, Some(0));
    let mean = (AggregateFunction::Mean, Some(0));
    let max = (AggregateFunction::Max, Some(0));
    let distinct = (AggregateFunction::CountDistinct, Some(1));
    let sketch = (AggregateFunction::ApproxCountDistinct, Some(1));
    let shares = [0.5, 0.95].into_iter().filter_map(Finite::new).collect();
    let views = [
        (
            "count_sum_mean_distinct",
            vec![count.clone(), sum.clone(), mean.clone(), distinct.clone()],
        ),
        ("count_sum_mean", vec![count, sum, mean]),
        ("max", vec![max]),
        ("distinct", vec![distinct]),
        ("sketch", vec![sketch]),
        ("top_10", vec![(AggregateFunction::TopK(10), Some(0))]),
        ("last_10", vec![(AggregateFunction::LastK(10), Some(1))]),
        ("percentiles", vec![(AggregateFunction::ApproxPercentiles(shares), Some(0))]),
    ];
    // One user in ten has nine of ten payments when skewed.
    let data = [
        ("uniform", blocks(|_| 100)),
        ("skewed", blocks(|user| if user % 10 == 0 { 8_100 } else { 100 })),
    ];
    for (emit_name, emit) in [("each_event", Emit::EachEvent), ("last_per_day", Emit::LastPerDay)] {
        let mut group = c.benchmark_group(format!("windows/{emit_name}"));
        group.sample_size(10).throughput(Throughput::Elements(ROWS as u64));
        for (view, functions) in &views {
            let kernel = kernel(functions, &emit);
            for (name, blocks) in &data {
                group.bench_with_input(BenchmarkId::new(*view, name), blocks, |b, blocks| {
                    b.iter(|| blocks.iter().for_each(|block| evaluate(&kernel, block)));
                });
            }
        }
        group.finish();
    }
}

fn evaluate(kernel: &WindowKernel, block: &Block) {
    let Block { times, users, inputs } = block;
    let events = EntityEvents { times, entities: users, inputs, masks: &[] };
    black_box(kernel.evaluate(&events, TimeRange::default()).unwrap());
}

criterion_group!(benches, windows);
criterion_main!(benches);
