//! Which partitions are meant by the time that it is, or by the newest that there are.

use futures::TryStreamExt;
use icecore_catalog::IcebergCatalog;
use icecore_core::{Error, PinnedTable, Result, ScanOptions, SnapshotCatalog, Timestamp};

use super::partition::{PartitionFilter, Partitioning};
use super::profile_of_table;
use super::unit::Unit;

impl PartitionFilter {
    /// The same partitions by name. Those by time may be written as `latest` (the newest that has
    /// rows), `latest-N`, `now`, `-1h` (the hour before this one), `-7d`, `today`, `yesterday`, or
    /// by a larger unit: a date is all of its hours.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a field that the table is not partitioned by, and for what names no time
    /// where the partitions are by time; `NotFound` for the newest partition of a table without
    /// rows.
    pub async fn resolve(
        &self,
        catalog: &IcebergCatalog,
        pin: &PinnedTable,
        now: Timestamp,
    ) -> Result<Self> {
        let described = catalog.describe(&pin.table).await?;
        let partitioning = Partitioning::parse(&described.partition_by);
        partitioning.check(self)?;
        let schema = catalog.schema(pin).await?;
        let Some((field, unit)) = partitioning.unit_of(self.field(), &schema) else {
            return Ok(self.clone());
        };
        let (from, to) = self.ends();
        let newest = match from.starts_with("latest") || to.starts_with("latest") {
            true => Some(newest(catalog, pin, (&field, unit)).await?),
            false => None,
        };
        let moments = Moments { unit, now, newest };
        let (first, _) = moments.read(from)?;
        let (_, last) = moments.read(to)?;
        if first > last {
            return Err(Error::invalid(format!("`{self}` ends before it begins"))
                .with_help("write the earlier one first: `FIELD=FROM..TO`"));
        }
        let name = |one| unit.name(one).ok_or_else(|| moments.nonsense(from));
        Ok(self.between(name(first)?, name(last)?))
    }
}

/// What times are told by.
struct Moments {
    unit: Unit,
    now: Timestamp,
    newest: Option<i64>,
}

impl Moments {
    /// The first and the last partition that a text means.
    fn read(&self, text: &str) -> Result<(i64, i64)> {
        self.find(text).ok_or_else(|| self.nonsense(text))
    }

    fn find(&self, text: &str) -> Option<(i64, i64)> {
        let one = |one: i64| Some((one, one));
        let (now, today) = (self.unit.of(self.now)?, Unit::Day.of(self.now)?);
        if let Some(before) = text.strip_prefix("latest") {
            let before = match before.strip_prefix('-') {
                Some(count) => plain(count)?,
                None if before.is_empty() => 0,
                None => return None,
            };
            return one(self.newest?.checked_sub(before)?);
        }
        if let Some(ago) = text.strip_prefix('-') {
            let split = ago.find(|letter: char| !letter.is_ascii_digit())?;
            let (count, letter) = ago.split_at_checked(split)?;
            let count = plain(count)?.checked_mul(self.unit.count_of(letter)?)?;
            return one(now.checked_sub(count)?);
        }
        match text {
            "now" => one(now),
            "today" => self.unit.within(Unit::Day, today),
            "yesterday" => self.unit.within(Unit::Day, today.checked_sub(1)?),
            _ => {
                let (unit, named) = Unit::parse(text)?;
                self.unit.within(unit, named)
            }
        }
    }

    fn nonsense(&self, text: &str) -> Error {
        let (name, ago) = self.unit.examples();
        let message = format!("`{}` names no partition of this table", text.escape_debug());
        Error::invalid(message).with_help(format!(
            "write one such as `{name}`, `latest`, `latest-2` or `{ago}`, or a range of them: \
             `FROM..TO`"
        ))
    }
}

fn plain(text: &str) -> Option<i64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// The newest partition that has rows: from the statistics where they are complete, else from the
/// rows themselves.
async fn newest(
    catalog: &IcebergCatalog,
    pin: &PinnedTable,
    (field, unit): (&Partitioning, Unit),
) -> Result<i64> {
    let known = profile_of_table(catalog, pin, None).await?;
    let mut newest = None;
    let mut see = |label: &str| {
        for part in label.split('/') {
            let named = part.split_once('=').filter(|(name, _)| field.is_by(name));
            let found = named.and_then(|(_, value)| Unit::parse(value));
            newest = newest.max(found.filter(|(of, _)| *of == unit).map(|(_, one)| one));
        }
    };
    if known.complete {
        let with_rows = known.partitions.iter().filter(|(_, profile)| profile.rows() > 0);
        with_rows.for_each(|(label, _)| see(label));
    } else {
        let scan = ScanOptions::default().with_columns(field.columns());
        let mut rows = catalog.scan(pin, scan).await?;
        while let Some(batch) = rows.try_next().await? {
            field.groups(&batch)?.iter().for_each(|(label, _)| see(label));
        }
    }
    newest.ok_or_else(|| {
        Error::not_found(format!("`{pin}` has no rows, so none of its partitions is the newest"))
            .with_help("name partitions by the time that it is, such as `-1h` or `yesterday`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(unit: Unit, text: &str) -> Option<(String, String)> {
        let now = Timestamp::parse("2026-07-01T10:30:00Z").unwrap();
        let newest = Some(unit.of(Timestamp::parse("2026-06-30T23:00:00Z").unwrap()).unwrap());
        let (first, last) = Moments { unit, now, newest }.find(text)?;
        Some((unit.name(first)?, unit.name(last)?))
    }

    #[test]
    fn partitions_are_told_by_the_clock_and_by_the_newest() {
        for (unit, text, first, last) in [
            (Unit::Hour, "-1h", "2026-07-01T09", "2026-07-01T09"),
            (Unit::Hour, "-1d", "2026-06-30T10", "2026-06-30T10"),
            (Unit::Hour, "now", "2026-07-01T10", "2026-07-01T10"),
            (Unit::Hour, "latest", "2026-06-30T23", "2026-06-30T23"),
            (Unit::Hour, "latest-23", "2026-06-30T00", "2026-06-30T00"),
            (Unit::Hour, "yesterday", "2026-06-30T00", "2026-06-30T23"),
            (Unit::Hour, "2026-02", "2026-02-01T00", "2026-02-28T23"),
            (Unit::Day, "yesterday", "2026-06-30", "2026-06-30"),
            (Unit::Day, "-2w", "2026-06-17", "2026-06-17"),
            (Unit::Day, "2026-07-04", "2026-07-04", "2026-07-04"),
            (Unit::Month, "-1mo", "2026-06", "2026-06"),
            (Unit::Year, "latest", "2026", "2026"),
        ] {
            let expected = Some((first.to_owned(), last.to_owned()));
            assert_eq!(read(unit, text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for (unit, text) in [
            (Unit::Day, "yesterdy"),
            (Unit::Day, "-1h"),
            (Unit::Day, "2026-07-01T10"),
            (Unit::Day, "-d"),
            (Unit::Day, "--1d"),
            (Unit::Hour, "latest+1"),
            (Unit::Hour, "latest--1"),
            (Unit::Hour, "-99999999999999999999h"),
            (Unit::Month, "today"),
            (Unit::Hour, ""),
        ] {
            assert_eq!(read(unit, text), None, "{text}");
        }
    }
}
