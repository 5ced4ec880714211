//! What differs between two models.

use icecore_core::Result;

use crate::file::decode;
use crate::scorer::Scorer;
use crate::tree::Ensemble;

/// What differs first between two model files, in words; nothing where they predict the same.
/// Where their rows came from is not compared.
///
/// # Errors
///
/// As [`decode_model`](crate::decode_model).
pub fn first_difference(a: &[u8], b: &[u8]) -> Result<Option<String>> {
    let (a, b) = (decode(a)?, decode(b)?);
    let differs = |what: &str, a: String, b: String| Some(format!("{what}: {a}, now {b}"));
    if a.header.algorithm != b.header.algorithm {
        return Ok(differs("algorithm", a.header.algorithm, b.header.algorithm));
    }
    if a.header.rows != b.header.rows {
        return Ok(differs("rows", a.header.rows.to_string(), b.header.rows.to_string()));
    }
    let names = a.header.params.keys().chain(b.header.params.keys());
    for name in names {
        let value = |of: &crate::model::Header| of.params.get(name).cloned();
        let (a, b) = (value(&a.header), value(&b.header));
        if a != b {
            let shown = |value: Option<String>| value.unwrap_or_else(|| "absent".to_owned());
            return Ok(differs(&format!("parameter `{name}`"), shown(a), shown(b)));
        }
    }
    if a.header.signature != b.header.signature || a.header.categories != b.header.categories {
        return Ok(Some("the inputs, their types or their categories".to_owned()));
    }
    if a.header.steps != b.header.steps {
        let pairs = a.header.steps.iter().zip(&b.header.steps);
        let first = pairs.into_iter().find(|(a, b)| a != b);
        return Ok(Some(match first {
            Some((a, b)) => format!("preprocessing of `{}`: {a:?}, now {b:?}", a.column),
            None => "the number of steps of preprocessing".to_owned(),
        }));
    }
    Ok(match (&a.scorer, &b.scorer) {
        (Scorer::Trees(a), Scorer::Trees(b)) => of_trees(a.ensemble(), b.ensemble()),
        (Scorer::Linear(a), Scorer::Linear(b)) if a == b => None,
        (Scorer::LinearClasses(a), Scorer::LinearClasses(b)) if a == b => None,
        (Scorer::Bayes(a), Scorer::Bayes(b)) if a == b => None,
        (Scorer::Neighbors(a), Scorer::Neighbors(b)) if a == b => None,
        (Scorer::Kernel(a), Scorer::Kernel(b)) if a == b => None,
        _ => Some("the weights".to_owned()),
    })
}

fn of_trees(a: &Ensemble, b: &Ensemble) -> Option<String> {
    if a.bases != b.bases {
        return Some(format!("what predictions begin with: {:?}, now {:?}", a.bases, b.bases));
    }
    for (number, (of_a, of_b)) in a.trees.iter().zip(&b.trees).enumerate() {
        let pairs = of_a.nodes().iter().zip(of_b.nodes()).enumerate();
        if let Some((node, (a, b))) = pairs.into_iter().find(|(_, (a, b))| a != b) {
            return Some(format!("tree {number}, node {node}: {a:?}, now {b:?}"));
        }
        if of_a != of_b {
            return Some(format!("tree {number}: its size, or the rows of its nodes"));
        }
    }
    let (of_a, of_b) = (a.trees.len(), b.trees.len());
    (of_a != of_b).then(|| format!("trees: {of_a}, now {of_b}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{churn, make, params};

    #[test]
    fn the_first_difference_is_told() {
        let fit = |seed: u64, trees: f64, l2: f64| {
            let given = params([("n_estimators", trees), ("l2", l2)]);
            make("gbdt", &given).fit(&churn(500, seed)).unwrap().encode().unwrap()
        };
        let model = fit(1, 3.0, 0.0);
        assert_eq!(first_difference(&model, &fit(1, 3.0, 0.0)).unwrap(), None);
        let of = |other: Vec<u8>| first_difference(&model, &other).unwrap().unwrap();
        assert_eq!(of(fit(1, 4.0, 0.0)), "parameter `n_estimators`: 3, now 4");
        assert_eq!(of(fit(1, 3.0, 2.0)), "parameter `l2`: 0, now 2");
        let rows = of(fit(2, 3.0, 0.0));
        assert!(
            rows.starts_with("what predictions begin with") || rows.starts_with("tree 0"),
            "{rows}"
        );
    }
}
