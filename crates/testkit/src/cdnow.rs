//! The CDNOW purchase histories (Fader and Hardie) as payment events and outcomes.
//!
//! The file has whitespace-separated lines of customer id, date, number of CDs and dollar value.
//! It is real: some lines are malformed, customers buy twice on a day, some purchases cost nothing.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use icecore_core::{Date, Error, Location, Result, Span};

use crate::Payments;

/// Outcomes look this far ahead.
const HORIZON: Span = Span::from_days(90);

/// Purchase histories, read and turned into the tables of the churn story.
#[derive(Debug)]
pub struct Cdnow {
    /// The purchases, in the columns of [`Payments::event_schema`], in order of date.
    pub events: RecordBatch,
    /// For each customer who bought in the 90 days up to an observation day: whether they bought
    /// nothing in the 90 days after it. The columns are those of [`Payments::outcome_schema`].
    pub outcomes: RecordBatch,
    /// The days on which outcomes were observed.
    pub observation_days: Vec<Date>,
    /// The day of the last purchase.
    pub last_day: Date,
    /// The lines that could not be read, each with its place.
    pub malformed: Vec<Error>,
}

struct Purchase<'a> {
    customer: &'a str,
    date: Date,
    amount: f64,
    line: usize,
}

impl Cdnow {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// `NotFound` if it cannot be read, `InvalidInput` if no line of it is a purchase.
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        let unreadable =
            |error| Error::not_found(format!("cannot read `{file}`")).with_source(error);
        let reader = std::io::BufReader::new(std::fs::File::open(path).map_err(unreadable)?);
        let lines = reader.lines().collect::<Result<Vec<_>, _>>().map_err(unreadable)?;

        let (mut purchases, mut malformed) = (Vec::new(), Vec::new());
        for (index, text) in lines.iter().enumerate() {
            let header = index == 0 && text.contains("customer_id");
            if header || text.trim().is_empty() {
                continue;
            }
            match purchase(text, index + 1) {
                Ok(purchase) => purchases.push(purchase),
                Err(error) => malformed.push(error.at(Location {
                    file: file.clone(),
                    line: index + 1,
                    column: 0,
                })),
            }
        }
        purchases.sort_by_key(|purchase| (purchase.date, purchase.line));
        let Some(last_day) = purchases.last().map(|purchase| purchase.date) else {
            return Err(Error::invalid(format!("`{file}` has no purchase"))
                .with_help("each line is: customer id, date as YYYYMMDD, number of items, amount")
                .with_related(malformed));
        };
        let observation_days = observation_days(purchases[0].date, last_day);
        Ok(Self {
            events: events(&purchases)?,
            outcomes: outcomes(&purchases, &observation_days)?,
            observation_days,
            last_day,
            malformed,
        })
    }
}

fn purchase(text: &str, line: usize) -> Result<Purchase<'_>> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [customer, date, _items, amount] = fields[..] else {
        return Err(Error::invalid(format!("expected 4 columns, found {}", fields.len())));
    };
    let bad_date = || Error::invalid(format!("`{date}` is not a date of the form YYYYMMDD"));
    if date.len() != 8 || !date.is_ascii() {
        return Err(bad_date());
    }
    let date = Date::parse(&format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]))
        .map_err(|_| bad_date())?;
    let amount = amount
        .parse::<f64>()
        .ok()
        .filter(|amount| amount.is_finite() && *amount >= 0.0)
        .ok_or_else(|| Error::invalid(format!("`{amount}` is not an amount")))?;
    Ok(Purchase { customer, date, amount, line })
}

/// Every 90 days after the first quarter, while 90 days of outcomes are left.
fn observation_days(first: Date, last: Date) -> Vec<Date> {
    (1..)
        .map(|quarter| first.plus_days(quarter * 90))
        .take_while(|day| day.plus_days(90) <= last)
        .collect()
}

fn events(purchases: &[Purchase<'_>]) -> Result<RecordBatch> {
    let column = |text: &dyn Fn(&Purchase<'_>) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(purchases.iter().map(text)))
    };
    let columns: Vec<ArrayRef> = vec![
        column(&|purchase| format!("line-{}", purchase.line)),
        column(&|purchase| purchase.customer.to_owned()),
        Arc::new(Float64Array::from_iter_values(purchases.iter().map(|p| p.amount))),
        column(&|_| "cdnow".to_owned()),
        column(&|_| "completed".to_owned()),
        Arc::new(utc(purchases.iter().map(|purchase| purchase.date))),
    ];
    Ok(RecordBatch::try_new(Payments::event_schema(), columns)?)
}

fn outcomes(purchases: &[Purchase<'_>], days: &[Date]) -> Result<RecordBatch> {
    let mut histories: BTreeMap<&str, Vec<Date>> = BTreeMap::new();
    for purchase in purchases {
        histories.entry(purchase.customer).or_default().push(purchase.date);
    }
    let horizon = i32::try_from(HORIZON.micros() / Span::from_days(1).micros()).unwrap_or(90);
    let (mut customers, mut observed, mut churned) = (Vec::new(), Vec::new(), Vec::new());
    for day in days {
        for (customer, dates) in &histories {
            // Purchases have no time of day: those of the observation day are features, so they
            // must not be outcomes.
            let bought =
                |after: Date, to: Date| dates.iter().any(|date| after < *date && *date <= to);
            if bought(day.plus_days(-horizon - 1), *day) {
                customers.push(*customer);
                observed.push(*day);
                churned.push(!bought(*day, day.plus_days(horizon)));
            }
        }
    }
    let known: Vec<Date> = observed.iter().map(|day| day.plus_days(horizon)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(customers)),
        Arc::new(utc(observed.into_iter())),
        Arc::new(BooleanArray::from(churned)),
        Arc::new(utc(known.into_iter())),
    ];
    Ok(RecordBatch::try_new(Payments::outcome_schema(), columns)?)
}

fn utc(dates: impl Iterator<Item = Date>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from_iter_values(dates.map(|date| date.midnight().micros()))
        .with_timezone("+00:00")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn malformed_lines_are_named_and_the_rest_is_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(
            file,
            " customer_id  date n v\r\n 00001 19970101  1   11.77\r\n 00001 19970101 2 3.00\n\
             00002 19970112  1\n00003 19971331 1 2.0\n\n00004 19980701 1 0.00\n"
        )
        .unwrap();
        let cdnow = Cdnow::read(file.path()).unwrap();
        assert_eq!(cdnow.events.num_rows(), 3);
        let lines: Vec<_> =
            cdnow.malformed.iter().map(|error| error.location().unwrap().line).collect();
        assert_eq!(lines, [4, 5]);
        assert_eq!(cdnow.last_day.to_string(), "1998-07-01");
        assert!(cdnow.outcomes.num_rows() >= 1);
    }

    #[test]
    fn a_file_without_purchases_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Cdnow::read(file.path()).is_err());
    }
}
