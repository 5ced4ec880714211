//! The contract of [`OnlineStore`], line by line.
#![expect(clippy::expect_used, clippy::panic, reason = "a suite fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use icecore_core::{
    ErrorKind, NewestRows, OnlineChange, OnlineEntry, OnlineStore, RowVersion, Timestamp,
};

/// Checks that an empty store keeps the contract of [`OnlineStore`].
///
/// `pass_time` makes that much time pass for the store: it moves the store's clock, or sleeps
/// where the clock is the server's.
///
/// # Panics
///
/// If the store breaks the contract.
pub async fn check_online_store(store: &dyn OnlineStore, pass_time: impl AsyncFn(Duration)) {
    store.ping().await.expect("an open store answers a ping");
    answers_in_the_order_of_the_keys(store).await;
    replaces_and_repeats(store).await;
    keeps_any_bytes_and_any_text(store).await;
    deletes(store).await;
    takes_thousands_at_once(store).await;
    refuses_a_life_shorter_than_a_millisecond(store).await;
    forgets_what_is_past_its_time(store, pass_time).await;
    keeps_the_newest_row(store).await;
    corrects_up_to_a_version(store).await;
    agrees_with_a_map_whatever_the_order(store).await;
    fills_where_nothing_newer_is(store).await;
    scans_every_row_of_a_prefix(store).await;
}

fn entry(key: &str, value: &str, ttl: Option<Duration>) -> OnlineEntry {
    OnlineEntry { key: key.to_owned(), value: value.to_owned().into(), ttl }
}

fn keys<const N: usize>(keys: [&str; N]) -> Vec<String> {
    keys.map(str::to_owned).to_vec()
}

async fn read(store: &dyn OnlineStore, wanted: &[&str]) -> Vec<Option<String>> {
    let wanted: Vec<String> = wanted.iter().map(|key| (*key).to_owned()).collect();
    let values = store.get(&wanted).await.expect("reading works");
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    values.into_iter().map(|value| value.map(|value| text(&value))).collect()
}

fn some(value: &str) -> Option<String> {
    Some(value.to_owned())
}

async fn answers_in_the_order_of_the_keys(store: &dyn OnlineStore) {
    let batch = vec![entry("order:a", "1", None), entry("order:b", "2", None)];
    assert_eq!(store.put(batch).await.expect("writing works"), 2);
    let found = read(store, &["order:b", "order:none", "order:a", "order:b"]).await;
    assert_eq!(found, [some("2"), None, some("1"), some("2")]);
    assert_eq!(store.put(vec![]).await.expect("an empty batch is fine"), 0);
    assert!(store.get(&[]).await.expect("no keys are fine").is_empty());
    assert_eq!(store.delete(&[]).await.expect("no keys are fine"), 0);
}

async fn replaces_and_repeats(store: &dyn OnlineStore) {
    for value in ["old", "new", "new"] {
        store.put(vec![entry("replace", value, None)]).await.expect("writing works");
    }
    assert_eq!(read(store, &["replace"]).await, [some("new")]);
    let twice = vec![entry("twice", "first", None), entry("twice", "last", None)];
    store.put(twice).await.expect("a key may come twice");
    assert_eq!(read(store, &["twice"]).await, [some("last")], "the last value of a key counts");
}

async fn keeps_any_bytes_and_any_text(store: &dyn OnlineStore) {
    let binary: Vec<u8> = (0..=255).collect();
    let key = "schlüssel mit leerzeichen:\u{1F9CA}:{}\n".to_owned();
    let value = OnlineEntry { key: key.clone(), value: binary.clone().into(), ttl: None };
    let empty = entry("empty", "", None);
    store.put(vec![value, empty]).await.expect("any text is a key, any bytes are a value");
    let found = store.get(&[key, "empty".to_owned()]).await.expect("reading works");
    assert_eq!(found, [Some(binary.into()), Some(Vec::new().into())]);
}

async fn deletes(store: &dyn OnlineStore) {
    let batch = vec![entry("delete:a", "1", None), entry("delete:b", "2", None)];
    store.put(batch).await.expect("writing works");
    let there = keys(["delete:a", "delete:none", "delete:a"]);
    assert_eq!(store.delete(&there).await.expect("deleting works"), 1);
    assert_eq!(store.delete(&there).await.expect("deleting again is fine"), 0);
    assert_eq!(read(store, &["delete:a", "delete:b"]).await, [None, some("2")]);
}

async fn takes_thousands_at_once(store: &dyn OnlineStore) {
    let count = 2_345_u64;
    let batch = (0..count).map(|i| entry(&format!("many:{i}"), &i.to_string(), None)).collect();
    assert_eq!(store.put(batch).await.expect("writing works"), count);
    let wanted: Vec<String> = (0..count + 1).map(|i| format!("many:{i}")).collect();
    let found = store.get(&wanted).await.expect("reading works");
    for (i, value) in found.iter().enumerate() {
        let expected = (i < 2_345).then(|| i.to_string().into());
        assert_eq!(*value, expected, "the value of key {i}");
    }
    assert_eq!(store.delete(&wanted).await.expect("deleting works"), count);
}

async fn refuses_a_life_shorter_than_a_millisecond(store: &dyn OnlineStore) {
    for ttl in [Duration::ZERO, Duration::from_micros(999)] {
        let batch = vec![entry("short:ok", "1", None), entry("short:bad", "1", Some(ttl))];
        match store.put(batch).await {
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}"),
            Ok(_) => panic!("a time to live of {ttl:?} must be refused"),
        }
        assert_eq!(read(store, &["short:ok", "short:bad"]).await, [None, None]);
    }
}

async fn forgets_what_is_past_its_time(store: &dyn OnlineStore, pass_time: impl AsyncFn(Duration)) {
    let short = Some(Duration::from_millis(150));
    let long = Some(Duration::from_secs(86_400));
    let batch = vec![
        entry("ttl:short", "1", short),
        entry("ttl:long", "2", long),
        entry("ttl:ever", "3", Some(Duration::MAX)),
        entry("ttl:prolonged", "4", short),
        entry("ttl:freed", "5", short),
    ];
    store.put(batch).await.expect("writing works");
    let again = vec![entry("ttl:prolonged", "4", long), entry("ttl:freed", "6", None)];
    store.put(again).await.expect("writing again gives a new time to live");

    pass_time(Duration::from_millis(200)).await;
    let all = ["ttl:short", "ttl:long", "ttl:ever", "ttl:prolonged", "ttl:freed"];
    let expected = [None, some("2"), some("3"), some("4"), some("6")];
    assert_eq!(read(store, &all).await, expected);
    let gone = store.delete(&keys(["ttl:short"])).await.expect("deleting works");
    assert_eq!(gone, 0, "what is past its time is not there");
    store.put(vec![entry("ttl:short", "7", long)]).await.expect("it can be written again");
    assert_eq!(read(store, &["ttl:short"]).await, [some("7")]);
}

fn version(event: i64, created: i64) -> RowVersion {
    RowVersion { event: Timestamp::from_micros(event), created: Timestamp::from_micros(created) }
}

fn row(version: RowVersion, text: &str) -> Bytes {
    [&version.to_bytes()[..], text.as_bytes()].concat().into()
}

fn change(key: &str, version: RowVersion, text: &str) -> OnlineChange {
    let key = Bytes::from(key.to_owned());
    OnlineChange { key, row: Some(row(version, text)), until: version }
}

async fn row_text(store: &dyn OnlineStore, key: &str) -> Option<String> {
    let key = Bytes::from(key.to_owned());
    let row = store.rows(&[key]).await.expect("reading rows works").pop().flatten()?;
    Some(String::from_utf8_lossy(&row[RowVersion::LEN..]).into_owned())
}

async fn apply(store: &dyn OnlineStore, changes: Vec<OnlineChange>) -> (u64, u64) {
    let summary = store.apply(changes).await.expect("applying works");
    (summary.applied, summary.stale)
}

async fn keeps_the_newest_row(store: &dyn OnlineStore) {
    let key = "ic:newest:{01}u1";
    assert_eq!(apply(store, vec![]).await, (0, 0));
    // Times before 1970, far in the future, and apart by one in the least of their digits.
    let versions = [(i64::MIN, 0), (-1, 5), (0, -1), (0, 0), (1 << 53, 0), ((1 << 53) + 1, 0)];
    let last = version(i64::MAX, i64::MAX);
    for (event, created) in versions {
        let at = version(event, created);
        assert_eq!(apply(store, vec![change(key, at, "new")]).await, (1, 0), "{at:?}");
        let older = version(event, created.saturating_sub(1));
        if older < at {
            assert_eq!(apply(store, vec![change(key, older, "old")]).await, (0, 1), "{older:?}");
        }
        assert_eq!(row_text(store, key).await, some("new"));
        assert_eq!(apply(store, vec![change(key, at, "same version")]).await, (1, 0));
        assert_eq!(row_text(store, key).await, some("same version"));
    }
    let twice = vec![change(key, last, "first"), change(key, version(7, 7), "older")];
    assert_eq!(apply(store, twice).await, (1, 1), "a key may come twice");
    assert_eq!(row_text(store, key).await, some("first"));
}

async fn corrects_up_to_a_version(store: &dyn OnlineStore) {
    let key = "ic:corrected:{02}u1";
    let bytes = || Bytes::from(key.to_owned());
    apply(store, vec![change(key, version(10, 10), "wrong")]).await;
    // The row of 10 is gone from the table, and the one of 5 is the newest again.
    let correction = OnlineChange {
        key: bytes(),
        row: Some(row(version(5, 5), "right")),
        until: version(10, 10),
    };
    assert_eq!(apply(store, vec![correction.clone()]).await, (1, 0));
    assert_eq!(row_text(store, key).await, some("right"));
    apply(store, vec![change(key, version(11, 0), "pushed meanwhile")]).await;
    assert_eq!(apply(store, vec![correction]).await, (0, 1));
    let removal = |until| OnlineChange { key: bytes(), row: None, until };
    assert_eq!(apply(store, vec![removal(version(10, 99))]).await, (0, 1));
    assert_eq!(row_text(store, key).await, some("pushed meanwhile"));
    assert_eq!(apply(store, vec![removal(version(11, 0))]).await, (1, 0));
    assert_eq!(row_text(store, key).await, None);
    assert_eq!(apply(store, vec![removal(version(11, 0))]).await, (1, 0), "safe to repeat");
}

async fn agrees_with_a_map_whatever_the_order(store: &dyn OnlineStore) {
    let mut random = crate::Random::new(7);
    let mut expected: BTreeMap<String, (RowVersion, String)> = BTreeMap::new();
    for batch in 0..20 {
        let mut changes = Vec::new();
        for place in 0..random.below(1_500) {
            let user = random.below(300);
            let key = format!("ic:random:{{{:02x}}}u{user}", user % 256);
            let at = version(random.below(40) as i64 - 20, random.below(3) as i64);
            let text = format!("{batch}/{place}");
            changes.push(change(&key, at, &text));
            let there = expected.entry(key).or_insert((at, text.clone()));
            if at >= there.0 {
                *there = (at, text);
            }
        }
        apply(store, changes).await;
    }
    for (key, (_, text)) in &expected {
        assert_eq!(row_text(store, key).await.as_ref(), Some(text), "{key}");
    }
}

async fn fills_where_nothing_newer_is(store: &dyn OnlineStore) {
    let key = |user: usize| Bytes::from(format!("ic:fill:{{{:02x}}}u{user}", user % 256));
    let rows = |users: std::ops::Range<usize>, at: RowVersion, text: &str| {
        NewestRows::of(users.map(|user| (key(user), at, row(at, text))))
    };
    let fill = async |rows| {
        let summary = store.fill(rows).await.expect("filling works");
        (summary.applied, summary.stale)
    };
    assert_eq!(fill(NewestRows::default()).await, (0, 0));
    assert_eq!(fill(rows(0..5_000, version(5, 5), "first")).await, (5_000, 0));
    // Some are there, older and newer ones, and some are not.
    apply(store, vec![change("ic:fill:{07}u7", version(9, 0), "pushed meanwhile")]).await;
    assert_eq!(fill(rows(0..6_000, version(6, 0), "second")).await, (5_999, 1));
    assert_eq!(fill(rows(4_990..7_000, version(5, 9), "older")).await, (1_000, 1_010));
    for (user, expected) in [(0, "second"), (7, "pushed meanwhile"), (5_999, "second")] {
        let key = String::from_utf8_lossy(&key(user)).into_owned();
        assert_eq!(row_text(store, &key).await, some(expected), "row {user}");
    }
    assert_eq!(row_text(store, "ic:fill:{57}u6999").await, some("older"));
    assert_eq!(row_text(store, "ic:fill:{58}u7000").await, None);
}

async fn scans_every_row_of_a_prefix(store: &dyn OnlineStore) {
    let at = version(1, 1);
    let count = 5_000;
    let key = |user: usize| format!("ic:scan[*?:{{{:02x}}}u{user}", user % 256);
    apply(store, (0..count).map(|user| change(&key(user), at, &user.to_string())).collect()).await;
    apply(store, vec![change("ic:scan:{00}other", at, "other")]).await;
    let (mut found, mut cursor) = (BTreeMap::new(), None);
    loop {
        let page = store.scan(b"ic:scan[*?:", cursor).await.expect("scanning works");
        found.extend(page.rows);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), count, "every row of the prefix, and no other");
    for user in 0..count {
        let found = found.get(key(user).as_bytes()).map(|row| row[RowVersion::LEN..].to_vec());
        assert_eq!(found, Some(user.to_string().into_bytes()), "row {user}");
    }
    assert!(store.scan(b"ic:nobody:", None).await.expect("scanning works").rows.is_empty());
}
