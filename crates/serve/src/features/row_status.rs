//! What became of each entity's features, over all views.

use icecore_online::{FeatureStatus, RowStatus};

use super::FeatureAnswer;

impl FeatureAnswer {
    /// The worst of what the views have of each entity, as in `feature_status` of what is scored in
    /// batches: too old is worse than not there, and that than present.
    #[must_use]
    pub fn row_statuses(&self) -> Vec<FeatureStatus> {
        self.over_views(RowStatus::Found, |worst, view| match (worst, view) {
            (RowStatus::OutsideMaxAge, _) | (_, RowStatus::OutsideMaxAge) => {
                RowStatus::OutsideMaxAge
            }
            (RowStatus::NotFound, _) | (_, RowStatus::NotFound) => RowStatus::NotFound,
            (RowStatus::Found, RowStatus::Found) => RowStatus::Found,
        })
        .map(|worst| match worst {
            RowStatus::Found => FeatureStatus::Present,
            RowStatus::NotFound => FeatureStatus::NotFound,
            RowStatus::OutsideMaxAge => FeatureStatus::OutsideMaxAge,
        })
        .collect()
    }

    /// Whether any view has a row of an entity that is young enough; of the others nothing is known.
    #[must_use]
    pub fn known_rows(&self) -> Vec<bool> {
        self.over_views(RowStatus::NotFound, |best, view| match (best, view) {
            (RowStatus::Found, _) | (_, RowStatus::Found) => RowStatus::Found,
            _ => RowStatus::NotFound,
        })
        .map(|best| best == RowStatus::Found)
        .collect()
    }

    fn over_views(
        &self,
        start: RowStatus,
        fold: impl Fn(RowStatus, RowStatus) -> RowStatus,
    ) -> impl Iterator<Item = RowStatus> {
        let rows = self.rows.first().map_or(0, Vec::len);
        let mut all = vec![start; rows];
        for view in &self.rows {
            for (row, status) in all.iter_mut().zip(view) {
                *row = fold(*row, *status);
            }
        }
        all.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::FeatureSource;

    #[test]
    fn an_entity_is_as_its_worst_view_and_known_by_its_best() {
        use FeatureStatus::{NotFound, OutsideMaxAge, Present};
        let (found, none, old) = (RowStatus::Found, RowStatus::NotFound, RowStatus::OutsideMaxAge);
        let answer = |rows: Vec<Vec<RowStatus>>| FeatureAnswer {
            columns: Vec::new(),
            join_keys: 0,
            views: Vec::new(),
            rows,
            source: FeatureSource::Online,
        };
        let one = answer(vec![vec![found, none, old]]);
        assert_eq!(one.row_statuses(), [Present, NotFound, OutsideMaxAge]);
        assert_eq!(one.known_rows(), [true, false, false]);
        let two = answer(vec![vec![found, old, old, old], vec![old, none, found, old]]);
        assert_eq!(two.row_statuses(), [OutsideMaxAge; 4]);
        let absent = answer(vec![vec![found, none], vec![none, none]]);
        assert_eq!(absent.row_statuses(), [NotFound; 2]);
        assert_eq!(two.known_rows(), [true, false, true, false]);
    }
}
