//! Payment events of users who fade before they churn, and the outcomes that were observed.
//!
//! The truth is known: each user has a day on which they leave, if at all. Activity is zipfian
//! over users, with a daily and a weekly rhythm; some events arrive days late, some arrive twice.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use icecore_core::Date;

use crate::Random;

const DAY_MICROS: i64 = 86_400_000_000;
/// Days over which a user's activity falls to nothing before they leave.
const FADE_DAYS: f64 = 35.0;
/// How many transactions a user makes on average over the whole period.
const EVENTS_PER_USER: u64 = 50;
/// Relative activity of the hours of a day.
const HOURS: [u32; 24] =
    [2, 1, 1, 1, 1, 2, 4, 8, 10, 9, 9, 11, 14, 12, 9, 9, 10, 13, 15, 14, 11, 8, 5, 3];
/// Relative activity of the days of a week, Thursday (1970-01-01) first.
const WEEKDAYS: [f64; 7] = [1.0, 1.25, 1.3, 0.85, 0.8, 0.9, 0.9];

/// What to generate.
#[derive(Debug, Clone, Copy)]
pub struct PaymentOptions {
    /// About how many events.
    pub rows: u64,
    /// Which world.
    pub seed: u64,
    /// How many days of history.
    pub days: u32,
    /// The first day after the history.
    pub end: Date,
}

impl Default for PaymentOptions {
    /// 210 days that end with 2026-06-30.
    fn default() -> Self {
        Self { rows: 1_000_000, seed: 42, days: 210, end: Date::from_days(20_635) }
    }
}

/// A world of users and their payments.
#[derive(Debug, Clone)]
pub struct Payments {
    options: PaymentOptions,
    random: Random,
    users: Vec<User>,
}

#[derive(Debug, Clone)]
struct User {
    token: String,
    /// Transactions a day while fully active.
    rate: f64,
    /// The logarithm of the typical amount.
    amount: f64,
    joined: f64,
    /// The day of leaving, which may lie after the history.
    leaves: f64,
}

/// An event before it becomes a row.
#[derive(Debug, Clone)]
struct Event {
    user: u32,
    serial: u32,
    at: i64,
    /// The day on which it arrives.
    arrives: u32,
    copies: u32,
}

impl Payments {
    /// Makes a world.
    #[must_use]
    pub fn new(options: PaymentOptions) -> Self {
        let random = Random::new(options.seed);
        let count = (options.rows / EVENTS_PER_USER).max(20);
        let mut users: Vec<User> =
            (0..count).map(|user| User::new(user, options.days, random.of(1).of(user))).collect();
        // Scale the rates so that about as many events come out as were asked for.
        let days = f64::from(options.days);
        let expected: f64 = users.iter().map(|user| user.rate * user.active_days(days)).sum();
        let scale = options.rows as f64 / expected.max(1.0);
        for user in &mut users {
            user.rate *= scale;
        }
        Self { options, random, users }
    }

    /// The columns of the events: `txn_id`, `user_token`, `amount`, `merchant_id`, `status`,
    /// `event_timestamp`.
    #[must_use]
    pub fn event_schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("txn_id", DataType::Utf8, false),
            Field::new("user_token", DataType::Utf8, false),
            Field::new("amount", DataType::Float64, true),
            Field::new("merchant_id", DataType::Utf8, true),
            Field::new("status", DataType::Utf8, true),
            Field::new("event_timestamp", timestamp(), false),
        ]))
    }

    /// The columns of the outcomes: `user_token`, `observed_at`, `churned`, `outcome_at`.
    #[must_use]
    pub fn outcome_schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("user_token", DataType::Utf8, false),
            Field::new("observed_at", timestamp(), false),
            Field::new("churned", DataType::Boolean, false),
            Field::new("outcome_at", timestamp(), false),
        ]))
    }

    /// The days on which outcomes are observed: 90, 60 and 30 days before the end.
    #[must_use]
    pub fn observation_days(&self) -> Vec<Date> {
        [90, 60, 30].into_iter().map(|before| self.options.end.plus_days(-before)).collect()
    }

    /// One batch for each day, in the order in which events arrive. Memory is that of one day.
    pub fn events(&self) -> impl Iterator<Item = RecordBatch> + '_ {
        let mut late: Vec<Event> = Vec::new();
        (0..self.options.days).map(move |day| {
            let mut events = self.day(day);
            events.append(&mut late);
            let last = day + 1 == self.options.days;
            let (now, later) = events.into_iter().partition(|event| last || event.arrives <= day);
            late = later;
            self.rows(now)
        })
    }

    /// The outcomes that are known at the end: for each user who was a customer on an observation
    /// day, whether they left within 30 days.
    #[must_use]
    pub fn outcomes(&self) -> RecordBatch {
        let first = self.first_day();
        let (mut users, mut observed, mut churned) = (Vec::new(), Vec::new(), Vec::new());
        for date in self.observation_days() {
            let day = f64::from(date.days() - first);
            for (number, user) in self.users.iter().enumerate() {
                if user.joined > day - 7.0 || user.leaves < day - 14.0 {
                    continue;
                }
                let mut random =
                    self.random.of(2).of(number as u64).of(date.days().unsigned_abs().into());
                let seconds = random.below(86_400).cast_signed();
                users.push(user.token.as_str());
                observed.push(date.midnight().micros() + seconds * 1_000_000);
                churned.push(user.leaves < day + 30.0);
            }
        }
        let known = observed.iter().map(|at| at + 30 * DAY_MICROS);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(users)),
            Arc::new(utc(known.clone().map(|at| at - 30 * DAY_MICROS))),
            Arc::new(BooleanArray::from(churned)),
            Arc::new(utc(known)),
        ];
        batch(Self::outcome_schema(), columns)
    }

    fn first_day(&self) -> i32 {
        self.options.end.days() - self.options.days.cast_signed()
    }

    /// What happened on a day.
    fn day(&self, day: u32) -> Vec<Event> {
        let date = self.first_day() + day.cast_signed();
        let weekday = WEEKDAYS[date.rem_euclid(7).unsigned_abs() as usize];
        let midnight = Date::from_days(date).midnight().micros();
        let mut events = Vec::new();
        for (number, user) in self.users.iter().enumerate() {
            let rate = user.rate_on(f64::from(day)) * weekday;
            if rate <= 0.0 {
                continue;
            }
            let mut random = self.random.of(3).of(number as u64).of(day.into());
            for serial in 0..random.poisson(rate) {
                let late = if random.unit() < 0.01 { 1 + random.below(3) } else { 0 };
                events.push(Event {
                    user: u32::try_from(number).unwrap_or(u32::MAX),
                    serial,
                    at: midnight + time_of_day(&mut random),
                    arrives: day + u32::try_from(late).unwrap_or(0),
                    copies: if random.unit() < 0.005 { 2 } else { 1 },
                });
            }
        }
        events.sort_by_key(|event| (event.at, event.user, event.serial));
        events
    }

    fn rows(&self, events: Vec<Event>) -> RecordBatch {
        let first = Date::from_days(self.first_day()).midnight().micros();
        let (mut ids, mut tokens, mut amounts) = (Vec::new(), Vec::new(), Vec::new());
        let (mut merchants, mut statuses, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for event in events {
            let user = &self.users[event.user as usize];
            let day = event.at.div_euclid(DAY_MICROS) - first.div_euclid(DAY_MICROS);
            let mut random = self.random.of(4).of(event.user.into()).of(day.unsigned_abs());
            let mut random = random.of(random.bits()).of(event.serial.into());
            let fading = 1.0 - user.fade(day as f64);
            let cents = (0.7_f64.mul_add(random.normal(), user.amount).exp() * 100.0).round();
            let merchant = (random.unit().powi(3) * 800.0) as u32;
            let status = match random.unit() {
                p if p < 0.14_f64.mul_add(fading, 0.03) => "declined",
                p if p > 0.985 => "refunded",
                _ => "completed",
            };
            let id = format!("t{:016x}", random.bits());
            for _ in 0..event.copies {
                ids.push(id.clone());
                tokens.push(user.token.as_str());
                amounts.push(cents / 100.0);
                merchants.push(format!("m{merchant:04}"));
                statuses.push(status);
                times.push(event.at);
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(ids)),
            Arc::new(StringArray::from(tokens)),
            Arc::new(Float64Array::from(amounts)),
            Arc::new(StringArray::from(merchants)),
            Arc::new(StringArray::from(statuses)),
            Arc::new(utc(times.into_iter())),
        ];
        batch(Self::event_schema(), columns)
    }
}

impl User {
    fn new(number: u64, days: u32, mut random: Random) -> Self {
        let days = f64::from(days);
        let joined = if random.unit() < 0.7 { 0.0 } else { random.unit() * days * 0.8 };
        // Four of ten stay for ever.
        let stays = random.unit() < 0.4;
        let leaves = joined + 14.0 + random.exponential(days * 0.8);
        Self {
            token: format!("u{number:07}"),
            // Zipf with exponent 0.6, shuffled by nothing: the lowest numbers are the busiest.
            rate: ((number + 1) as f64).powf(-0.6),
            amount: 0.6_f64.mul_add(random.normal(), 3.2),
            joined,
            leaves: if stays { f64::INFINITY } else { leaves },
        }
    }

    /// How much of the full activity is left on a day, from 1 to 0.
    fn fade(&self, day: f64) -> f64 {
        ((self.leaves - day) / FADE_DAYS).clamp(0.0, 1.0)
    }

    fn rate_on(&self, day: f64) -> f64 {
        if day < self.joined || day >= self.leaves { 0.0 } else { self.rate * self.fade(day) }
    }

    /// Fully active days' worth of activity in the history.
    fn active_days(&self, days: f64) -> f64 {
        let mut sum = 0.0;
        let mut day = 0.0;
        while day < days {
            sum += if day < self.joined || day >= self.leaves { 0.0 } else { self.fade(day) };
            day += 1.0;
        }
        sum
    }
}

fn time_of_day(random: &mut Random) -> i64 {
    let mut left = random.below(HOURS.iter().sum::<u32>().into());
    let mut hour = 0;
    for weight in HOURS {
        if left < u64::from(weight) {
            break;
        }
        left -= u64::from(weight);
        hour += 1;
    }
    hour * 3_600_000_000 + random.below(3_600_000).cast_signed() * 1000
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

fn utc(times: impl Iterator<Item = i64>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from_iter_values(times).with_timezone("+00:00")
}

#[expect(clippy::expect_used, reason = "the columns above are those of the schema")]
fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(schema, columns).expect("columns of the schema")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(rows: u64, seed: u64) -> Payments {
        Payments::new(PaymentOptions { rows, seed, ..PaymentOptions::default() })
    }

    #[test]
    fn a_seed_makes_one_world() {
        let events = |seed| world(2000, seed).events().collect::<Vec<_>>();
        assert_eq!(events(1), events(1));
        assert_ne!(events(1), events(2));
        assert_eq!(world(2000, 1).outcomes(), world(2000, 1).outcomes());
    }

    #[test]
    fn about_as_many_events_come_out_as_were_asked_for() {
        for rows in [1000_u64, 20_000] {
            let got: usize = world(rows, 7).events().map(|batch| batch.num_rows()).sum();
            let ratio = got as f64 / rows as f64;
            assert!((0.85..1.15).contains(&ratio), "{got} of {rows}");
        }
    }

    #[test]
    fn the_end_is_the_first_of_july() {
        assert_eq!(PaymentOptions::default().end.to_string(), "2026-07-01");
    }
}
