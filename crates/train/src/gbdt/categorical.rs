//! The best question about categories.
//!
//! Few categories are asked for one by one. Of many, ordered by the mean of their gradients, the
//! best division into two is one of those that the order allows (Fisher, "On grouping for maximum
//! homogeneity", 1958), as in LightGBM.

use super::packed::Sums;
use super::split_search::{Asked, Asker, Found, Search, larger};
use super::value::Slope;
use crate::tree::{CategorySet, Side};

/// Up to so many categories are asked for one by one.
const ONE_BY_ONE_MAX: usize = 4;

/// The best question about a feature whose cells are given, missing values first, with a score
/// above `best_score`.
pub(super) fn best(
    search: &Search<'_>,
    cells: &[Sums],
    asker: Asker,
    best_score: f64,
) -> Option<Found> {
    // Missing values are a category, too: the one of code zero.
    let mut codes: Vec<u8> =
        (0..=u8::MAX).zip(cells).filter(|(_, cell)| cell.rows > 0).map(|(code, _)| code).collect();
    if codes.len() < 2 {
        return None;
    }
    let mut best = Best { search, asker, best_score, found: None };
    if codes.len() <= ONE_BY_ONE_MAX {
        for code in &codes {
            best.consider(&[*code], cells[usize::from(*code)]);
        }
        return best.finish(cells);
    }
    let smooth = search.penalties.cat_smooth;
    codes.sort_by(|a, b| {
        let ratio = |code: u8| Slope::new(cells[usize::from(code)], &search.steps).ratio(smooth);
        ratio(*a).total_cmp(&ratio(*b)).then(a.cmp(b))
    });
    let mut left = Sums::default();
    for count in 1..codes.len() {
        left.add(cells[usize::from(codes[count - 1])]);
        best.consider(&codes[..count], left);
    }
    best.finish(cells)
}

/// The best of the divisions that were considered.
struct Best<'a> {
    search: &'a Search<'a>,
    asker: Asker,
    best_score: f64,
    found: Option<(Vec<u8>, Sums, f64)>,
}

impl Best<'_> {
    fn consider(&mut self, codes: &[u8], left: Sums) {
        let right = self.asker.totals.minus(left);
        let least = self.search.penalties.min_samples_leaf;
        if left.rows < least || right.rows < least {
            return;
        }
        let l2 = self.search.penalties.l2 + self.search.penalties.cat_l2;
        let worth = |sums| self.search.worth(sums, l2, self.asker.bounds);
        let score = worth(left) + worth(right);
        if score > self.best_score {
            self.best_score = score;
            self.found = Some((codes.to_vec(), left, score));
        }
    }

    fn finish(self, cells: &[Sums]) -> Option<Found> {
        let (codes, left, score) = self.found?;
        let mut set = CategorySet::default();
        for category in codes.iter().filter_map(|code| code.checked_sub(1)) {
            set.insert(category);
        }
        let missing = match cells.first() {
            Some(missing) if missing.rows > 0 => {
                if codes.contains(&0) {
                    Side::Left
                } else {
                    Side::Right
                }
            }
            _ => larger(left, self.asker.totals),
        };
        Some(Found { asked: Asked::OneOf(set), missing, left, score })
    }
}
