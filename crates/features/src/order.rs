//! In which order derived features are computed.

use std::collections::BTreeMap;

use icecore_core::{Derived, Error, FeatureView};

use crate::expression::Expression;

/// The derived features of a view, each after those that it uses; those that do not depend on each
/// other stay in the order of the definition.
///
/// # Errors
///
/// The place of a feature that is computed from itself, and the way around.
pub(crate) fn derived(view: &FeatureView) -> Result<Vec<usize>, (usize, Error)> {
    let by_name: BTreeMap<&str, usize> =
        view.derived.iter().enumerate().map(|(at, derived)| (derived.name.as_str(), at)).collect();
    let uses: Vec<Vec<usize>> =
        view.derived.iter().map(|derived| uses(derived, &by_name)).collect();
    let mut walk = Walk { view, uses: &uses, done: Vec::new(), path: Vec::new() };
    for at in 0..view.derived.len() {
        walk.visit(at)?;
    }
    Ok(walk.done)
}

fn uses(derived: &Derived, by_name: &BTreeMap<&str, usize>) -> Vec<usize> {
    // What does not parse is reported where it stands.
    let columns = Expression::parse(&derived.expression).map(|parsed| parsed.columns());
    columns
        .unwrap_or_default()
        .iter()
        .filter_map(|column| by_name.get(column.as_str()).copied())
        .collect()
}

struct Walk<'a> {
    view: &'a FeatureView,
    uses: &'a [Vec<usize>],
    done: Vec<usize>,
    path: Vec<usize>,
}

impl Walk<'_> {
    fn visit(&mut self, at: usize) -> Result<(), (usize, Error)> {
        if self.done.contains(&at) {
            return Ok(());
        }
        if let Some(begin) = self.path.iter().position(|on_path| *on_path == at) {
            let round = self.path.get(begin..).unwrap_or_default();
            return Err((at, self.cycle(round)));
        }
        self.path.push(at);
        for used in self.uses.get(at).into_iter().flatten() {
            self.visit(*used)?;
        }
        self.path.pop();
        self.done.push(at);
        Ok(())
    }

    fn cycle(&self, round: &[usize]) -> Error {
        let name = |at: &usize| self.view.derived.get(*at).map_or("", |derived| &derived.name);
        let first = round.first().map_or("", name);
        let mut names: Vec<&str> = round.iter().map(name).collect();
        names.push(first);
        Error::invalid(format!("`{first}` is computed from itself")).with_note(names.join(" -> "))
    }
}

#[cfg(test)]
mod tests;
