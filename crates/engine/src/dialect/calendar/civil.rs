//! Days and months of the proleptic Gregorian calendar, for any moment of 64 bits: chrono's calendar
//! ends before that.
//!
//! After Howard Hinnant, "chrono-compatible low-level date algorithms": years begin in March, so
//! that the day which not every year has is the last one.

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;
/// Days in 400 years.
const DAYS_OF_ERA: i64 = 146_097;
/// Days from the first of March to the first of the month that is so many months later.
const fn days_before(months: i64) -> i64 {
    (153 * months + 2) / 5
}

/// The number of the month that a day since 1970 lies in: twelve times its year, and its month from
/// zero.
pub(super) const fn month_of(day: i64) -> i64 {
    let day = day + DAYS_TO_1970;
    let (era, of_era) = (day.div_euclid(DAYS_OF_ERA), day.rem_euclid(DAYS_OF_ERA));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let months_since_march = (5 * of_year + 2) / 153;
    (400 * era + year) * 12 + 2 + months_since_march
}

/// The day since 1970 that a month begins with, numbered as by [`month_of`].
pub(super) const fn first_day_of(month: i64) -> i64 {
    let (year, months) = ((month - 2).div_euclid(12), (month - 2).rem_euclid(12));
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let days = of_era * 365 + of_era / 4 - of_era / 100 + days_before(months);
    era * DAYS_OF_ERA + days - DAYS_TO_1970
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, NaiveDate};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn months_are_those_of_the_calendar(day in -95_000_000_i64..=95_000_000) {
            let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
            let date = epoch.checked_add_signed(chrono::TimeDelta::days(day)).unwrap();
            let month = i64::from(date.year()) * 12 + i64::from(date.month0());
            prop_assert_eq!(month_of(day), month);
            prop_assert_eq!(first_day_of(month), day - i64::from(date.day0()));
        }
    }
}
