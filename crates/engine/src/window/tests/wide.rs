//! Entities whose events do not fit the memory.

use icecore_core::Error;

use super::*;
use crate::window::AskedRows;

/// An event an hour and user, in order, as batches with memory of their own.
fn hourly(users: usize, hours: i64) -> Vec<RecordBatch> {
    let event = |user: usize, hour: i64| {
        let time = hour / 2 * 2 * 3_600_000_000;
        let merchant = Some(format!("shop {}", hour * 31 % 17));
        (Some(user as u8), Some(time), (hour % 97) as f64 / 8.0, merchant, Some(hour % 5 == 0))
    };
    let events = (0..users).flat_map(|user| (0..hours).map(move |hour| event(user, hour)));
    let events = events.collect::<Vec<Event>>();
    events.chunks(100).map(batch).collect()
}

/// The rows of a plan whose memory has so many bytes.
async fn within(
    bytes: usize,
    batches: &[RecordBatch],
    node: WindowNode,
) -> Result<Vec<String>, Error> {
    let context = in_order(&batches[0], bytes);
    context.deregister_table("events").unwrap();
    let order = vec![vec![col("user").sort(true, true), col("at").sort(true, true)]];
    let table = MemTable::try_new(batches[0].schema(), vec![batches.to_vec()]).unwrap();
    context.register_table("events", Arc::new(table.with_sort_order(order))).unwrap();
    let frame = window_frame(context.table("events").await.unwrap(), node)?;
    let rows = frame.collect().await.map_err(from_datafusion)?;
    Ok(lines(&rows))
}

// C44: memory is bounded by what the widest window sees of an entity, not by the entity.
#[tokio::test]
async fn an_entity_comes_part_after_part() {
    let batches = hourly(3, 9_000);
    let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
    let hours = |hours: i64| Timestamp::from_micros(hours * 3_600_000_000 + 1);
    let range = TimeRange { from: Some(hours(200)), to: Some(hours(8_000)) };
    let questions = AskedRows { rows: "declined".into(), known: None, delay: Span::from_days(1) };
    let every = Emit::every(Span::from_micros(7 * 3_600_000_000));
    let cases = [
        (Emit::EachEvent, TimeRange::default(), None),
        (Emit::EachEvent, range, None),
        (Emit::LastPerDay, TimeRange::default(), None),
        (every, range, None),
        (Emit::At(vec![hours(100), hours(5_000), hours(8_999)]), range, None),
        (Emit::EachEvent, TimeRange::default(), Some(questions)),
    ];
    for (emit, range, asked) in cases {
        let mut node = node(emit, range);
        node.asked = asked;
        let whole = within(usize::MAX, &batches, node.clone()).await.unwrap();
        assert!(!whole.is_empty(), "{node:?}");
        // An entity takes a third of all, and twice that while a block is made of it.
        let parts = within(bytes / 6, &batches, node.clone()).await.unwrap();
        assert_eq!(parts, whole, "{node:?}");
    }
}

// What fails while rows are computed keeps its kind and message through the plan.
#[tokio::test]
async fn a_window_wider_than_memory_is_an_error_that_says_so() {
    let batches = hourly(1, 9_000);
    let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
    let mut node = node(Emit::LastPerDay, TimeRange::default());
    for window in [Window::LIFETIME, days(300)] {
        node.spec.columns[0].window = window;
        let error = within(bytes / 2, &batches, node.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error:?}");
        let expected =
            "the events that the widest window sees of one entity do not fit the memory limit";
        assert_eq!(error.to_string(), expected);
    }
}
