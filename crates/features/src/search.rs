//! Finding feature views.

use icecore_core::FeatureView;

use crate::Definitions;
use crate::lineage::view_lineage;

/// What to look for; everything that is named has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchQuery {
    /// A part of the name of the view, of a feature, or of a description, in any case.
    pub text: Option<String>,
    /// A tag, or `tag=value`.
    pub tag: Option<String>,
    /// The owner.
    pub owner: Option<String>,
    /// A column: a feature, or a column of the source that one looks at.
    pub column: Option<String>,
}

/// A view that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundView<'d> {
    /// The view.
    pub view: &'d FeatureView,
    /// The features that fit; all, where nothing was asked about single ones.
    pub features: Vec<String>,
}

/// The views that fit, in the order of the definitions.
#[must_use]
pub fn search<'d>(definitions: &'d Definitions, query: &SearchQuery) -> Vec<FoundView<'d>> {
    definitions.views.iter().filter_map(|view| look(definitions, view, query)).collect()
}

fn look<'d>(
    definitions: &Definitions,
    view: &'d FeatureView,
    query: &SearchQuery,
) -> Option<FoundView<'d>> {
    if query.owner.as_ref().is_some_and(|owner| view.owner.as_ref() != Some(owner)) {
        return None;
    }
    if let Some(tag) = &query.tag {
        let fits = match tag.split_once('=') {
            Some((name, value)) => view.tags.get(name).is_some_and(|known| known == value),
            None => view.tags.contains_key(tag),
        };
        if !fits {
            return None;
        }
    }
    let mut features = view.feature_names();
    if let Some(text) = &query.text {
        let text = text.to_lowercase();
        let has = |hay: &str| hay.to_lowercase().contains(&text);
        if !has(&view.name) && !view.description.as_deref().is_some_and(has) {
            features.retain(|name| has(name));
        }
        if features.is_empty() {
            return None;
        }
    }
    if let Some(column) = &query.column {
        let lineage = view_lineage(definitions, view);
        features.retain(|name| {
            let of = lineage.iter().find(|of| of.feature == *name);
            name == column || of.is_some_and(|of| of.inputs.iter().any(|i| i.column == *column))
        });
        if features.is_empty() {
            return None;
        }
    }
    Some(FoundView { view, features })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::VIEWS;

    #[test]
    fn views_are_found_by_name_tag_owner_and_column() {
        let text = VIEWS.replacen(
            "closed = \"both\"",
            "closed = \"both\"\nowner = \"risk\"\ntags = { tier = \"gold\" }",
            1,
        );
        let definitions = Definitions::parse("f.toml", &text).unwrap();
        let found = |query: SearchQuery| -> Vec<(String, usize)> {
            let found = search(&definitions, &query);
            found.iter().map(|f| (f.view.name.clone(), f.features.len())).collect()
        };
        let first = definitions.views[0].name.clone();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found(SearchQuery::default()).len(), 2);
        let query = SearchQuery { owner: some("risk"), ..SearchQuery::default() };
        assert_eq!(found(query), [(first.clone(), 11)]);
        for (tag, count) in [("tier", 1), ("tier=gold", 1), ("tier=silver", 0), ("none", 0)] {
            let query = SearchQuery { tag: some(tag), ..SearchQuery::default() };
            assert_eq!(found(query).len(), count, "{tag}");
        }
        let query = SearchQuery { text: some("DECLINE"), ..SearchQuery::default() };
        assert_eq!(found(query), [(first.clone(), 2), ("churn_features".to_owned(), 2)]);
        let query = SearchQuery { column: some("status"), ..SearchQuery::default() };
        assert_eq!(found(query), [(first.clone(), 2), ("churn_features".to_owned(), 2)]);
        let query = SearchQuery { column: some("txn_amount_7d"), ..SearchQuery::default() };
        assert_eq!(found(query), [(first, 1)]);
    }
}
