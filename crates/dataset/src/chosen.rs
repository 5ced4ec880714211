//! Which views a set joins, under which names and by which columns, and what it takes of each.

use std::collections::BTreeMap;

use arrow::datatypes::Schema;
use icecore_core::{Error, FeatureView, Knowledge, Result};
use icecore_features::{Definitions, FeatureSelection, resolve_features, select_features};

use crate::lock::LockedView;
use crate::on_demand::LockedOnDemand;
use crate::rules::{ViewRules, Windows};
use crate::spec::DatasetSpec;

/// Features, each with its name in the set.
pub(crate) type Columns = Vec<(String, String)>;

/// A view, and what is taken from it.
pub(crate) struct Chosen<'a> {
    /// Its name in the set: its own, or another one where the set joins it more than once.
    pub(crate) name: String,
    pub(crate) view: &'a FeatureView,
    pub(crate) columns: Columns,
    /// What the set says of it.
    pub(crate) rules: ViewRules,
}

/// The views that a set takes features of, in the order in which it names them.
///
/// # Errors
///
/// `NotFound` and `InvalidInput` for a name that nobody has, or that several have, with its place.
pub(crate) fn chosen_views<'a>(
    definitions: &'a Definitions,
    spec: &DatasetSpec,
) -> Result<Vec<Chosen<'a>>> {
    check_names(definitions, spec)?;
    let mut chosen = Vec::<Chosen<'_>>::new();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for mention in &spec.features {
        let resolved = resolved(definitions, spec, mention);
        let (name, view, features) = resolved.map_err(|error| spec.locate(mention, error))?;
        let at = chosen.iter().position(|known| known.name == name).unwrap_or_else(|| {
            let rules = spec.views.get(&name).cloned().unwrap_or_default();
            chosen.push(Chosen { name: name.clone(), view, columns: Columns::new(), rules });
            chosen.len() - 1
        });
        let Some(of_view) = chosen.get_mut(at) else { continue };
        for feature in features {
            if of_view.columns.iter().any(|(known, _)| *known == feature) {
                let error = Error::invalid(format!("feature `{name}:{feature}` is named twice"))
                    .with_help("leave one of them out");
                return Err(spec.locate(mention, error));
            }
            let column = match spec.full_feature_names {
                true => format!("{name}__{feature}"),
                false => feature.clone(),
            };
            if let Some(other) = owners.insert(column.clone(), name.clone()) {
                let error = Error::invalid(format!(
                    "feature views `{other}` and `{name}` both have a feature `{feature}`"
                ));
                let help = "set `full_feature_names = true`: columns are then named view__feature";
                return Err(spec.locate(mention, error.with_help(help)));
            }
            of_view.columns.push((feature, column));
        }
    }
    check_rules(spec, &chosen)?;
    check_renamed_keys(definitions, spec, &chosen)?;
    Ok(chosen)
}

/// The name in the set of what `name:feature` or `name:*` is of, the view that it is, and the
/// features.
fn resolved<'a>(
    definitions: &'a Definitions,
    spec: &DatasetSpec,
    mention: &str,
) -> Result<(String, &'a FeatureView, Vec<String>)> {
    let renamed = mention
        .split_once(':')
        .and_then(|(name, feature)| Some((name, spec.views.get(name)?.of.as_deref()?, feature)));
    let found = match renamed {
        None => resolve_features(definitions, &[mention]).map_err(|error| {
            let mut others = spec.views.iter().filter(|(_, rules)| rules.of.is_some()).peekable();
            if others.peek().is_none() {
                return error;
            }
            let others: Vec<&str> = others.map(|(name, _)| name.as_str()).collect();
            let asked = mention.split(':').next().unwrap_or_default();
            error
                .with_note(format!("other names of views here: {}", others.join(", ")))
                .with_candidates(asked, others)
        }),
        Some((name, of, feature)) => {
            let found = resolve_features(definitions, &[format!("{of}:{feature}")]);
            found.map_err(|error| error.with_note(format!("`{name}` is feature view `{of}`")))
        }
    };
    let (view, features) = found?
        .pop()
        .ok_or_else(|| Error::internal(format!("`{mention}` was found to be no feature")))?;
    let name = renamed.map_or_else(|| view.clone(), |(name, ..)| name.to_owned());
    Ok((name, definitions.view(&view)?, features))
}

/// That what a set calls views are names, and none that a view has itself.
fn check_names(definitions: &Definitions, spec: &DatasetSpec) -> Result<()> {
    for (name, rules) in &spec.views {
        let Some(of) = &rules.of else { continue };
        let path = ["view", name.as_str()];
        if definitions.views.iter().any(|view| view.name == *name) {
            let error = Error::invalid(format!(
                "`{name}` cannot be another name of `{of}`: there is a feature view `{name}`"
            ));
            let help = "write a name that no feature view has, or leave `of` out";
            return Err(spec.locate_key(&path, error.with_help(help)));
        }
        if !is_name(name) {
            let error = Error::invalid(format!(
                "`{}` cannot be another name of a feature view",
                name.escape_debug()
            ));
            let help = "use letters, digits and `_`, and begin with a letter";
            return Err(spec.locate_key(&path, error.with_help(help)));
        }
        if let Err(error) = definitions.view(of) {
            return Err(spec.locate_value(&["view", name, "of"], error));
        }
    }
    Ok(())
}

/// Whether columns can begin with it, as they do with the names of views.
fn is_name(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let is_plain = name.chars().all(|other| other.is_ascii_alphanumeric() || other == '_');
    begins && is_plain && !name.starts_with("__")
}

/// That every view with rules of its own is joined.
fn check_rules(spec: &DatasetSpec, chosen: &[Chosen<'_>]) -> Result<()> {
    let names = || chosen.iter().map(|chosen| chosen.name.as_str());
    match spec.views.keys().find(|name| names().all(|known| known != name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let message = format!(
                "dataset `{}` takes no feature of `{name}`, which it has rules for",
                spec.name
            );
            let error = Error::not_found(message)
                .with_note(format!("feature views: {}", names().collect::<Vec<_>>().join(", ")))
                .with_candidates(name, names());
            Err(spec.locate_key(&["view", name], error))
        }
    }
}

/// That every renamed key is one that a view is joined by.
fn check_renamed_keys(
    definitions: &Definitions,
    spec: &DatasetSpec,
    chosen: &[Chosen<'_>],
) -> Result<()> {
    let mut known = Vec::new();
    for Chosen { name, view, rules, .. } in chosen {
        let own = definitions.join_keys(view)?;
        if let Some(key) = rules.keys.keys().find(|key| !own.contains(key)) {
            let error = Error::not_found(format!(
                "`keys` of `{name}` renames `{key}`, by which the view is not joined"
            ))
            .with_note(format!("join keys: {}", own.join(", ")))
            .with_candidates(key, own.iter().map(String::as_str));
            return Err(spec.locate_key(&["view", name, "keys", key], error));
        }
        known.extend(own);
    }
    known.sort();
    known.dedup();
    match spec.keys.keys().find(|key| !known.contains(key)) {
        None => Ok(()),
        Some(key) => {
            let error = Error::not_found(format!(
                "`keys` renames `{key}`, by which no view of dataset `{}` is joined",
                spec.name
            ))
            .with_note(format!("join keys: {}", known.join(", ")))
            .with_candidates(key, known.iter().map(String::as_str));
            Err(spec.locate_key(&["keys", key], error))
        }
    }
}

/// That a spine has the columns that views are joined by, in types that compare.
///
/// # Errors
///
/// `InvalidInput` with the place at which the set names the column.
pub(crate) fn check_keys(
    spec: &DatasetSpec,
    (view, stored): (&LockedView, Option<&Schema>),
    spine: &Schema,
) -> Result<()> {
    for (own, column) in &view.keys {
        let found = match spine.column_with_name(column) {
            None => {
                let names = || spine.fields().iter().map(|field| field.name().as_str());
                Err(Error::invalid(format!(
                    "the spine has no column `{column}`, by which feature view `{}` is joined",
                    view.name
                ))
                .with_note(format!(
                    "columns of the spine: {}",
                    names().collect::<Vec<_>>().join(", ")
                ))
                .with_candidates(column, names()))
            }
            Some((_, field)) => match stored.and_then(|stored| stored.column_with_name(own)) {
                Some((_, own)) => icecore_pit::check_key(&view.name, own, field),
                // Whoever makes the rows says what is wrong with them.
                None => Ok(()),
            },
        };
        let Err(error) = found else { continue };
        let of_view = spec.views.get(&view.name).is_some_and(|rules| rules.keys.contains_key(own));
        return Err(match (of_view, spec.keys.contains_key(own)) {
            (true, _) => spec.locate_value(&["view", &view.name, "keys", own], error),
            (false, true) => spec.locate_value(&["keys", own], error),
            (false, false) => spec.locate(&spec.name, error),
        });
    }
    Ok(())
}

impl Chosen<'_> {
    /// The clock that the set asks for.
    pub(crate) fn knowledge(&self, spec: &DatasetSpec) -> Option<Knowledge> {
        self.rules.knowledge.or(spec.knowledge)
    }

    /// The view's keys that the spine has under other names.
    pub(crate) fn renamed_keys(
        &self,
        definitions: &Definitions,
        spec: &DatasetSpec,
    ) -> Result<BTreeMap<String, String>> {
        let own = definitions.join_keys(self.view)?;
        let of_set = spec.keys.iter().filter(|(key, _)| own.contains(key));
        let renamed = of_set.chain(&self.rules.keys);
        Ok(renamed.map(|(key, column)| (key.clone(), column.clone())).collect())
    }

    /// What the view's table holds of the features, and what is computed from it.
    pub(crate) fn by_place(&self) -> Result<(Columns, Option<LockedOnDemand>)> {
        let names: Vec<String> = self.columns.iter().map(|(feature, _)| feature.clone()).collect();
        let FeatureSelection { stored, asked, on_demand } = select_features(self.view, &names)?;
        let (taken, computed) =
            self.columns.iter().cloned().partition(|(feature, _)| stored.contains(feature));
        let helpers = stored.into_iter().skip(asked).collect();
        let on_demand = (!on_demand.steps.is_empty()).then_some(LockedOnDemand {
            columns: computed,
            helpers,
            features: on_demand,
        });
        Ok((taken, on_demand))
    }

    /// Whether windows end at the spine's moments, which only computed views can.
    pub(crate) fn check_windows(&self, spec: &DatasetSpec) -> Result<Windows> {
        if self.rules.windows == Windows::Stored {
            return Ok(Windows::Stored);
        }
        let name = &self.name;
        if self.view.is_stored() {
            let error = format!("feature view `{name}` stores features and has no windows");
            return Err(spec.locate_value(&["view", name, "windows"], Error::invalid(error)));
        }
        if self.knowledge(spec) == Some(Knowledge::Snapshot) {
            let error = "`knowledge = \"snapshot\"` is of stored rows, and windows that end at the \
                         spine's moments have none";
            return Err(spec.locate("snapshot", Error::invalid(error)).with_help(
                "let the created or the event timestamp decide, or leave `windows` out",
            ));
        }
        Ok(Windows::Moment)
    }
}
