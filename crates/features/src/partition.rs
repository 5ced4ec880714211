//! Partitions of feature tables, and the ranges of time that are made of whole ones.

use chrono::{Datelike, Months, NaiveDate};
use icecore_core::{Date, Error, FeatureView, Result, Span, TimeRange, Timestamp};

use crate::expression::unknown_column;

/// The column that holds the UTC date of the event timestamp.
pub(crate) const FEATURE_DATE: &str = "feature_date";

const TRANSFORMS: [&str; 7] = ["identity", "year", "month", "day", "hour", "bucket", "truncate"];

/// A partition field such as `feature_date`, `day(event_timestamp)`, `bucket(16, user_token)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionField {
    /// `identity` where only a column is named.
    pub(crate) transform: String,
    /// The column.
    pub(crate) column: String,
}

impl PartitionField {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let error = || {
            Error::invalid(format!("`{text}` is not a partition field")).with_help(
                "write a column, or a transform of one, such as `day(event_timestamp)` or `bucket(16, user_token)`",
            )
        };
        let Some((transform, rest)) = text.split_once('(') else {
            let column = text.trim();
            if column.is_empty() || column.contains([')', ',']) {
                return Err(error());
            }
            return Ok(Self { transform: "identity".to_owned(), column: column.to_owned() });
        };
        let transform = transform.trim().to_lowercase();
        let arguments = rest.trim_end().strip_suffix(')').ok_or_else(error)?;
        let column = match arguments.split_once(',') {
            Some((width, column)) if width.trim().parse::<u32>().is_ok_and(|n| n > 0) => column,
            Some(_) => return Err(error()),
            None => arguments,
        };
        if !TRANSFORMS.contains(&transform.as_str()) {
            return Err(Error::invalid(format!("unknown partition transform `{transform}`"))
                .with_note(format!("transforms: {}", TRANSFORMS.join(", ")))
                .with_candidates(&transform, TRANSFORMS));
        }
        Ok(Self { transform, column: column.trim().to_owned() })
    }
}

/// Checks one partition field of a view against the columns of its output.
pub(crate) fn check_field(text: &str, columns: &[&str]) -> Result<()> {
    let field = PartitionField::parse(text)?;
    if columns.contains(&field.column.as_str()) {
        return Ok(());
    }
    Err(unknown_column(&field.column, columns, "the feature table"))
}

/// Whether the output has the `feature_date` column.
pub(crate) fn has_feature_date(view: &FeatureView) -> bool {
    let fields = view.partition_by.iter().map(|text| PartitionField::parse(text));
    fields.flatten().any(|field| field.column == FEATURE_DATE)
}

/// The stretch of time that a partition covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grain {
    /// Of a day or a part of it; days are whole.
    Day,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
    /// All time: no partition field tells moments apart.
    Everything,
}

/// The grain of a view's table: ranges of whole grains cover whole partitions.
pub(crate) fn grain(view: &FeatureView) -> Grain {
    let fields = view.partition_by.iter().map(|text| PartitionField::parse(text));
    let times = fields
        .flatten()
        .filter(|field| field.column == FEATURE_DATE || field.column == view.event_timestamp);
    // The finest field bounds a partition's extent.
    times
        .map(|field| match field.transform.as_str() {
            "identity" | "day" | "hour" => Grain::Day,
            "month" => Grain::Month,
            "year" => Grain::Year,
            _ => Grain::Everything,
        })
        .min()
        .unwrap_or(Grain::Everything)
}

impl Grain {
    /// The smallest range of whole partitions around a range.
    pub(crate) fn widen(self, range: TimeRange) -> TimeRange {
        if self == Self::Everything {
            return TimeRange::default();
        }
        let from = range.from.map(|from| self.floor(from.date()).midnight());
        let to = range.to.map(|to| {
            let floor = self.floor(to.date()).midnight();
            if floor == to { to } else { self.next(self.floor(to.date())).midnight() }
        });
        TimeRange { from, to }
    }

    fn floor(self, date: Date) -> Date {
        let calendar = calendar(date);
        let first = match self {
            Self::Month => calendar.and_then(|date| date.with_day(1)),
            Self::Year => calendar.and_then(|date| date.with_ordinal(1)),
            Self::Day | Self::Everything => None,
        };
        first.map_or(date, |first| Date::from_days(first.to_epoch_days()))
    }

    fn next(self, date: Date) -> Date {
        let months = match self {
            Self::Month => 1,
            Self::Year => 12,
            Self::Day | Self::Everything => return date.plus_days(1),
        };
        let next = calendar(date).and_then(|date| date.checked_add_months(Months::new(months)));
        next.map_or(date.plus_days(1), |next| Date::from_days(next.to_epoch_days()))
    }
}

fn calendar(date: Date) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(date.days())
}

/// The first moment of the grid `every` that is not before `moment`.
pub(crate) fn grid_point_from(moment: Timestamp, every: Span, align: Span) -> Timestamp {
    let (micros, every) = (moment.micros(), every.micros().max(1));
    // Both remainders are below the step, so their difference is a number that there is.
    let past = (micros.rem_euclid(every) - align.micros().rem_euclid(every)).rem_euclid(every);
    let ahead = if past == 0 { 0 } else { every - past };
    Timestamp::from_micros(micros.saturating_add(ahead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    // C48: a range never covers a part of a partition.
    #[test]
    fn ranges_widen_to_whole_partitions() {
        let range = TimeRange {
            from: Some(at("2024-02-10T05:00:00Z")),
            to: Some(at("2024-03-01T00:00:01Z")),
        };
        let check = |grain: Grain, from: &str, to: &str| {
            let widened = grain.widen(range);
            assert_eq!(widened.from, Some(at(from)), "{grain:?}");
            assert_eq!(widened.to, Some(at(to)), "{grain:?}");
            assert_eq!(grain.widen(widened), widened, "{grain:?}");
        };
        check(Grain::Day, "2024-02-10", "2024-03-02");
        check(Grain::Month, "2024-02-01", "2024-04-01");
        check(Grain::Year, "2024-01-01", "2025-01-01");
        assert_eq!(Grain::Everything.widen(range), TimeRange::default());
    }

    #[test]
    fn the_grid_has_points_before_the_epoch_too() {
        let (day, none) = (Span::from_days(1), Span::from_micros(0));
        assert_eq!(grid_point_from(at("1969-12-31T10:00:00Z"), day, none), at("1970-01-01"));
        assert_eq!(grid_point_from(at("1969-12-31"), day, none), at("1969-12-31"));
        assert_eq!(grid_point_from(at("2024-01-01T00:00:00.000001Z"), day, none), at("2024-01-02"));
        let eight = Span::parse("8h").unwrap();
        let point = |moment| grid_point_from(at(moment), day, eight);
        assert_eq!(point("2024-01-01T08:00:00Z"), at("2024-01-01T08:00:00Z"));
        assert_eq!(point("2024-01-01T09:00:00Z"), at("2024-01-02T08:00:00Z"));
        assert_eq!(point("1969-12-31T07:00:00Z"), at("1969-12-31T08:00:00Z"));
    }

    #[test]
    fn partition_fields_are_columns_and_transforms() {
        let field = |transform: &str, column: &str| PartitionField {
            transform: transform.to_owned(),
            column: column.to_owned(),
        };
        assert_eq!(
            PartitionField::parse("feature_date").unwrap(),
            field("identity", "feature_date")
        );
        assert_eq!(PartitionField::parse("Day( t )").unwrap(), field("day", "t"));
        assert_eq!(PartitionField::parse("bucket(16, user)").unwrap(), field("bucket", "user"));
        assert_eq!(
            PartitionField::parse("dya(t)").unwrap_err().help(),
            Some("did you mean `day`?")
        );
        for bad in ["", "day(t", "bucket(0, t)", "bucket(x, t)", "a,b"] {
            assert!(PartitionField::parse(bad).is_err(), "{bad}");
        }
    }
}
