//! Durations in buckets.
//!
//! The recorder of the rest keeps every value until it is folded into its bucket, with the time at
//! which it came. Here a value is counted in its bucket at once, which takes two additions and no
//! memory, however many requests there are.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Upper bounds of buckets in microseconds, around the deadlines of the two paths: 5 ms and 500 ms.
const BOUNDS_US: [u64; 13] = [
    250, 500, 1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000,
];

/// How often durations of one kind fell into each bucket.
#[derive(Debug, Default)]
pub(super) struct Durations {
    /// The last one has what is above all bounds.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    nanos: AtomicU64,
}

impl Durations {
    pub(super) fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = BOUNDS_US.iter().position(|bound| nanos <= bound * 1_000);
        if let Some(bucket) = self.buckets.get(at.unwrap_or(BOUNDS_US.len())) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// A histogram by two labels.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; 2],
    /// Few, and they only become more.
    series: RwLock<Vec<Series>>,
}

#[derive(Debug)]
struct Series {
    values: [String; 2],
    durations: Arc<Durations>,
}

impl Family {
    pub(super) const fn new(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; 2],
    ) -> Self {
        Self { name, help, labels, series: RwLock::new(Vec::new()) }
    }

    /// Those with these values of the labels.
    pub(super) fn of(&self, values: [&str; 2]) -> Arc<Durations> {
        let find = |all: &[Series]| {
            let found = all.iter().find(|one| one.values == values);
            found.map(|one| Arc::clone(&one.durations))
        };
        let known = find(&self.series.read().unwrap_or_else(PoisonError::into_inner));
        known.unwrap_or_else(|| {
            let mut all = self.series.write().unwrap_or_else(PoisonError::into_inner);
            // Another one may have come first.
            find(&all).unwrap_or_else(|| {
                let durations = Arc::<Durations>::default();
                let values = values.map(str::to_owned);
                all.push(Series { values, durations: Arc::clone(&durations) });
                durations
            })
        })
    }

    /// Writes what was counted in Prometheus's text format.
    pub(super) fn render(&self, to: &mut String) {
        let all = self.series.read().unwrap_or_else(PoisonError::into_inner);
        let Self { name, help, labels: [first, second], .. } = self;
        if all.is_empty() {
            return;
        }
        // Text takes everything.
        let _ = write!(to, "# HELP {name} {help}\n# TYPE {name} histogram\n");
        for Series { values, durations } in &*all {
            let [one, two] = values.each_ref().map(|value| escaped(value));
            let labels = format!("{first}=\"{one}\",{second}=\"{two}\"");
            let mut count = 0;
            let bounds = BOUNDS_US.iter().map(|bound| (*bound as f64 / 1e6).to_string());
            let bounds = bounds.chain(["+Inf".to_owned()]);
            for (bound, bucket) in bounds.zip(&durations.buckets) {
                count += bucket.load(Ordering::Relaxed);
                let _ = writeln!(to, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let sum = Duration::from_nanos(durations.nanos.load(Ordering::Relaxed)).as_secs_f64();
            let _ = writeln!(to, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}");
        }
        to.push('\n');
    }
}

/// A label's value in quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_in_their_bucket_and_those_above() {
        let family = Family::new("took", "How long it took", ["route", "code"]);
        let mut text = String::new();
        family.render(&mut text);
        assert_eq!(text, "", "nothing was measured");
        family.of(["/a", "200"]).record(Duration::from_micros(250));
        family.of(["/a", "200"]).record(Duration::from_nanos(250_001));
        family.of(["/a", "200"]).record(Duration::from_secs(7));
        family.of(["a\"\\b", "404"]).record(Duration::ZERO);
        family.render(&mut text);
        for line in [
            "# TYPE took histogram",
            "took_bucket{route=\"/a\",code=\"200\",le=\"0.00025\"} 1",
            "took_bucket{route=\"/a\",code=\"200\",le=\"0.0005\"} 2",
            "took_bucket{route=\"/a\",code=\"200\",le=\"5\"} 2",
            "took_bucket{route=\"/a\",code=\"200\",le=\"+Inf\"} 3",
            "took_sum{route=\"/a\",code=\"200\"} 7.000500001",
            "took_count{route=\"/a\",code=\"200\"} 3",
            "took_count{route=\"a\\\"\\\\b\",code=\"404\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert_eq!(text.matches("# HELP").count(), 1);
    }
}
