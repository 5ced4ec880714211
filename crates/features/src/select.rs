//! Features by name, and the tables that point-in-time joins read them from.

use std::collections::BTreeMap;

use icecore_core::{Error, FeatureTable, FeatureView, PinnedTable, Result, TableName};

use crate::Definitions;
use crate::document::all_or_none;
use crate::on_demand;

/// Finds features named `view:feature` or `view:*`: the views in order of first mention, each
/// with its features in the order of mention.
///
/// # Errors
///
/// All names that do not exist, are not of that form, or come twice, each with the nearest one.
///
/// ```
/// # let definitions = icecore_features::Definitions::parse("f.toml", r#"
/// # [[entity]]
/// # name = "user"
/// # [[feature_view]]
/// # name = "account"
/// # entities = ["user"]
/// # source = "ml_features.user_features"
/// # columns = ["balance", "tier"]
/// # "#)?;
/// let found = icecore_features::resolve_features(&definitions, &["account:tier"])?;
/// assert_eq!(found, [("account".to_owned(), vec!["tier".to_owned()])]);
/// # Ok::<(), icecore_core::Error>(())
/// ```
pub fn resolve_features<S: AsRef<str>>(
    definitions: &Definitions,
    features: &[S],
) -> Result<Vec<(String, Vec<String>)>> {
    let (mut found, mut errors) = (Vec::<(String, Vec<String>)>::new(), Vec::new());
    for feature in features.iter().map(AsRef::as_ref) {
        let (view, names) = match resolve(definitions, feature) {
            Ok(resolved) => resolved,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let index = found.iter().position(|(known, _)| *known == view.name).unwrap_or_else(|| {
            found.push((view.name.clone(), Vec::new()));
            found.len() - 1
        });
        let Some((_, taken)) = found.get_mut(index) else { continue };
        for name in names {
            if taken.contains(&name) {
                let error =
                    Error::invalid(format!("feature `{}:{name}` is named twice", view.name));
                errors.push(error.with_help("leave one of them out"));
            } else {
                taken.push(name);
            }
        }
    }
    all_or_none(errors)?;
    Ok(found)
}

fn resolve<'d>(
    definitions: &'d Definitions,
    feature: &str,
) -> Result<(&'d FeatureView, Vec<String>)> {
    let Some((view, name)) = feature.split_once(':') else {
        let error = Error::invalid(format!("`{feature}` does not name a feature"));
        let owner = definitions
            .views
            .iter()
            .find(|view| view.feature_names().iter().any(|name| name == feature));
        return Err(match owner {
            Some(view) => error.with_help(format!("did you mean `{}:{feature}`?", view.name)),
            None => error.with_help("write `view:feature`, or `view:*` for all of a view"),
        });
    };
    let view = definitions.view(view)?;
    if name == "*" {
        return Ok((view, view.feature_names()));
    }
    require_feature(view, name)?;
    Ok((view, vec![name.to_owned()]))
}

/// Fails, with the nearest name, if the view has no such feature.
pub(crate) fn require_feature(view: &FeatureView, name: &str) -> Result<()> {
    let names = view.feature_names();
    if names.iter().any(|known| known == name) {
        return Ok(());
    }
    Err(Error::not_found(format!("feature view `{}` has no feature `{name}`", view.name))
        .with_note(format!("features: {}", names.join(", ")))
        .with_candidates(name, names.iter().map(String::as_str)))
}

/// The table that holds a view's rows: its own, or the source of stored features.
///
/// # Errors
///
/// `InvalidInput` if the view has neither, which no checked definition has.
pub fn feature_source(view: &FeatureView) -> Result<&TableName> {
    let table = if view.is_stored() { view.source.as_ref() } else { view.table.as_ref() };
    table.ok_or_else(|| {
        Error::invalid(format!("feature view `{}` has no table to read its rows from", view.name))
    })
}

/// What a point-in-time join takes from a view.
///
/// `columns` are features and their names in the output. `spine_keys` maps join keys to the
/// spine's columns where those have other names.
///
/// # Errors
///
/// `NotFound` for a feature or join key that the view does not have; `InvalidInput` for a feature
/// that is computed on demand, and for a pin of another table than [`feature_source`].
pub fn feature_table(
    definitions: &Definitions,
    view: &FeatureView,
    pin: PinnedTable,
    columns: &[(String, String)],
    spine_keys: &BTreeMap<String, String>,
) -> Result<FeatureTable> {
    let source = feature_source(view)?;
    if *source != pin.table {
        return Err(Error::invalid(format!(
            "feature view `{}` keeps its rows in `{source}`, not in `{}`",
            view.name, pin.table
        )));
    }
    moment_table(definitions, view, pin, columns, spine_keys)
}

/// The same for windows that end at the moments of a spine: `pin` is of the events that they are
/// computed from.
///
/// # Errors
///
/// As [`feature_table`], whatever table the pin is of.
pub fn moment_table(
    definitions: &Definitions,
    view: &FeatureView,
    pin: PinnedTable,
    columns: &[(String, String)],
    spine_keys: &BTreeMap<String, String>,
) -> Result<FeatureTable> {
    let on_demand = on_demand::names(view);
    for (feature, _) in columns {
        require_feature(view, feature)?;
        if on_demand.contains(feature) {
            return Err(Error::invalid(format!(
                "`{}:{feature}` is computed when it is asked for, and no table holds it",
                view.name
            )));
        }
    }
    let join_keys = definitions.join_keys(view)?;
    if let Some(unknown) = spine_keys.keys().find(|key| !join_keys.contains(key)) {
        return Err(Error::not_found(format!(
            "feature view `{}` has no join key `{unknown}`",
            view.name
        ))
        .with_note(format!("join keys: {}", join_keys.join(", ")))
        .with_candidates(unknown, join_keys.iter().map(String::as_str)));
    }
    let keys = join_keys.into_iter().map(|key| {
        let spine = spine_keys.get(&key).unwrap_or(&key).clone();
        (key, spine)
    });
    Ok(FeatureTable {
        view: view.name.clone(),
        table: pin,
        keys: keys.collect(),
        event_timestamp: view.event_timestamp.clone(),
        created_timestamp: view.created_timestamp.clone(),
        ttl: view.ttl,
        delay: None,
        knowledge: None,
        strict: false,
        columns: columns.to_vec(),
    })
}

#[cfg(test)]
mod tests;
