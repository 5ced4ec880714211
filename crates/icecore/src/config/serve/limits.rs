//! Deadlines and limits of the HTTP service, each within bounds: one that is off by a unit is a
//! mistake, and none can be switched off.

use std::time::Duration;

use icecore_core::{Error, Result, Span};
use icecore_serve::{BreakerOptions, FeatureOptions, ServeOptions};

use super::ServeConfig;

const MILLISECOND: i64 = 1_000;
const SECOND: i64 = 1_000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

impl ServeConfig {
    /// Fails for a limit that is out of its bounds, and for a deadline that nobody would live to see.
    pub(crate) fn check_limits(&self) -> Result<()> {
        let (scores, features) = (self.options()?, self.feature_options()?);
        for (keys, deadlines) in [
            (("cache_deadline", "lake_deadline"), [scores.cache_deadline, scores.lake_deadline]),
            (
                ("feature_deadline", "feature_lake_deadline"),
                [features.store_deadline, features.lake_deadline],
            ),
        ] {
            // What comes after the lakehouse, such as the default, needs time, too.
            if deadlines.into_iter().sum::<Duration>() >= scores.request_timeout {
                let ((first, second), most) = (keys, self.request_timeout);
                return Err(Error::invalid(format!(
                    "`serve.{first}` and `serve.{second}` together are as long as \
                     `serve.request_timeout`, {most}, or longer: requests would be cut off before"
                ))
                .with_help("shorten them, or lengthen `serve.request_timeout`"));
            }
        }
        Ok(())
    }

    /// The limits of all requests, and of those for scores.
    pub(crate) fn options(&self) -> Result<ServeOptions> {
        let bytes = super::super::size(&self.body_limit)?;
        let body_bytes_max = count("body_limit", bytes, (1 << 10, 1 << 30), "a size")?;
        Ok(ServeOptions {
            cache_deadline: time("cache_deadline", self.cache_deadline, (MILLISECOND, MINUTE))?,
            lake_deadline: time("lake_deadline", self.lake_deadline, (MILLISECOND, 10 * MINUTE))?,
            request_timeout: time(
                "request_timeout",
                self.request_timeout,
                (10 * MILLISECOND, HOUR),
            )?,
            drain_timeout: time("drain_timeout", self.drain_timeout, (MILLISECOND, HOUR))?,
            idle_timeout: time("idle_timeout", self.idle_timeout, (SECOND, HOUR))?,
            body_bytes_max,
            max_in_flight: number("max_in_flight", self.max_in_flight, 1_000_000)?,
            connections_max: number("connections_max", self.connections_max, 1_000_000)?,
            breaker: self.breaker()?,
            ..ServeOptions::default()
        })
    }

    /// The limits of requests for features.
    pub(crate) fn feature_options(&self) -> Result<FeatureOptions> {
        let mut options = FeatureOptions::default();
        options.store_deadline =
            time("feature_deadline", self.feature_deadline, (MILLISECOND, MINUTE))?;
        options.lake_deadline =
            time("feature_lake_deadline", self.feature_lake_deadline, (MILLISECOND, 10 * MINUTE))?;
        options.rows_max = number("entities_max", self.entities_max, 1_000_000)?;
        options.breaker = self.breaker()?;
        Ok(options)
    }

    fn breaker(&self) -> Result<BreakerOptions> {
        let failures = number("breaker_failures", self.breaker_failures as usize, 1_000)?;
        let failures = u32::try_from(failures).unwrap_or(self.breaker_failures);
        let pause = time("breaker_pause", self.breaker_pause, (MILLISECOND, HOUR))?;
        Ok(BreakerOptions { failures, pause })
    }
}

fn time(key: &str, set: Span, (least, most): (i64, i64)) -> Result<Duration> {
    if (least..=most).contains(&set.micros()) {
        return Ok(Duration::from_micros(set.micros().unsigned_abs()));
    }
    let (least, most) = (Span::from_micros(least), Span::from_micros(most));
    Err(Error::invalid(format!("`serve.{key}` is {set}, which is out of its bounds"))
        .with_help(format!("write a time from {least} to {most}")))
}

fn number(key: &str, set: usize, most: usize) -> Result<usize> {
    count(key, set as u64, (1, most as u64), "a number")
}

fn count(key: &str, set: u64, (least, most): (u64, u64), what: &str) -> Result<usize> {
    let within = usize::try_from(set).ok().filter(|_| (least..=most).contains(&set));
    within.ok_or_else(|| {
        Error::invalid(format!("`serve.{key}` is {set}, which is out of its bounds"))
            .with_help(format!("write {what} from {least} to {most}"))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::Config;

    fn parse(lines: &str) -> icecore_core::Result<Config> {
        Config::parse("icecore.toml", &format!("[serve]\n{lines}"), &BTreeMap::new())
    }

    #[test]
    fn limits_reach_the_service() {
        let config = parse(
            "cache_deadline = '20ms'\nlake_deadline = '1s'\nfeature_deadline = '200ms'\n\
             feature_lake_deadline = '3s'\nrequest_timeout = '10s'\ndrain_timeout = '1m'\n\
             idle_timeout = '30s'\nbody_limit = '1MiB'\nmax_in_flight = 7\nconnections_max = 9\n\
             entities_max = 100\nbreaker_failures = 3\nbreaker_pause = '2s'",
        )
        .unwrap();
        let (scores, features) =
            (config.serve.options().unwrap(), config.serve.feature_options().unwrap());
        assert_eq!(scores.cache_deadline.as_millis(), 20);
        assert_eq!(scores.lake_deadline.as_millis(), 1_000);
        assert_eq!(scores.request_timeout.as_secs(), 10);
        assert_eq!((scores.drain_timeout.as_secs(), scores.idle_timeout.as_secs()), (60, 30));
        assert_eq!((scores.body_bytes_max, scores.max_in_flight), (1 << 20, 7));
        assert_eq!((scores.connections_max, features.rows_max), (9, 100));
        assert_eq!(features.store_deadline.as_millis(), 200);
        assert_eq!(features.lake_deadline.as_secs(), 3);
        for breaker in [scores.breaker, features.breaker] {
            assert_eq!((breaker.failures, breaker.pause.as_secs()), (3, 2));
        }
    }

    // What is written nowhere is what the library takes by itself.
    #[test]
    fn the_defaults_are_the_library_s() {
        let config = parse("").unwrap().serve;
        let (own, library) = (config.options().unwrap(), icecore_serve::ServeOptions::default());
        assert_eq!(format!("{own:?}"), format!("{library:?}"));
        let (own, library) =
            (config.feature_options().unwrap(), icecore_serve::FeatureOptions::default());
        assert_eq!(format!("{own:?}"), format!("{library:?}"));
    }

    #[test]
    fn a_limit_out_of_its_bounds_is_named_with_them() {
        for (line, key) in [
            ("cache_deadline = '1h'", "cache_deadline"),
            ("cache_deadline = '1us'", "cache_deadline"),
            ("lake_deadline = '1d'", "lake_deadline"),
            ("feature_deadline = '10us'", "feature_deadline"),
            ("feature_lake_deadline = '1h'", "feature_lake_deadline"),
            ("request_timeout = '1ms'", "request_timeout"),
            ("request_timeout = '2s'", "feature_lake_deadline"),
            ("lake_deadline = '5s'", "lake_deadline"),
            ("drain_timeout = '1w'", "drain_timeout"),
            ("idle_timeout = '10ms'", "idle_timeout"),
            ("body_limit = '1B'", "body_limit"),
            ("body_limit = '100GiB'", "body_limit"),
            ("max_in_flight = 0", "max_in_flight"),
            ("connections_max = 0", "connections_max"),
            ("entities_max = 100000000", "entities_max"),
            ("breaker_failures = 0", "breaker_failures"),
            ("breaker_pause = '1y'", "breaker_pause"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.to_string().contains(&format!("`serve.{key}`")), "{line}: {error}");
            assert!(error.help().is_some(), "{line}");
        }
    }
}
