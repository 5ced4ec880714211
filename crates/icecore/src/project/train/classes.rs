//! Labels of several classes: each number from zero on has rows.

use std::collections::BTreeSet;

use icecore_core::{Error, OutputKind, Result};

use super::Training;

/// So many classes are named.
const NAMED_MAX: usize = 10;

impl Training {
    /// Refuses numbers of classes that leave others out: a model would learn classes that are not.
    pub(super) async fn check_classes(&self) -> Result<()> {
        let Some(label) = &self.lock.plan.label else { return Ok(()) };
        if self.recipe.output() != OutputKind::Classes {
            return Ok(());
        }
        let rows = self.rows.clone();
        let seen = tokio::task::spawn_blocking(move || {
            let mut seen = BTreeSet::new();
            rows.source().read(&mut |part| {
                let weights = part.weights().map(|weights| weights.values());
                for (row, label) in part.labels().values().iter().enumerate() {
                    let counts = weights.is_none_or(|weights| weights[row] > 0.0);
                    // What is no number of a class, the algorithm refuses.
                    if counts && *label >= 0.0 && label.fract() == 0.0 {
                        seen.insert(*label as u64);
                    }
                }
                Ok(())
            })?;
            Ok::<_, Error>(seen)
        });
        let seen = seen
            .await
            .map_err(|error| Error::internal("reading labels stopped").with_source(error))??;
        check(&seen, label)
    }
}

fn check(seen: &BTreeSet<u64>, label: &str) -> Result<()> {
    let Some(last) = seen.last() else { return Ok(()) };
    let missing: Vec<u64> =
        (0..*last).filter(|class| !seen.contains(class)).take(NAMED_MAX).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let named = |classes: &mut dyn Iterator<Item = &u64>| {
        classes.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let more = if missing.len() == NAMED_MAX { ", …" } else { "" };
    let there = if seen.len() > NAMED_MAX { ", …" } else { "" };
    Err(Error::invalid(format!(
        "the classes in `{label}` are not numbered from 0 on: no row has {}{more}",
        named(&mut missing.iter())
    ))
    .with_note(format!("classes with rows: {}{there}", named(&mut seen.iter().take(NAMED_MAX))))
    .with_help(format!(
        "number them in the spine: `dense_rank() OVER (ORDER BY {label}) - 1 AS {label}`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_numbered_without_gaps() {
        let of = |seen: &[u64]| check(&seen.iter().copied().collect(), "plan");
        assert!(of(&[]).is_ok() && of(&[0]).is_ok() && of(&[0, 1, 2]).is_ok());
        let error = of(&[3, 7]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the classes in `plan` are not numbered from 0 on: no row has 0, 1, 2, 4, 5, 6"
        );
        assert!(
            error.help().is_some_and(|help| help.contains("dense_rank() OVER (ORDER BY plan)"))
        );
        assert!(of(&[1, 100]).unwrap_err().to_string().ends_with("9, 10, …"));
        // Too many to look at each.
        assert!(of(&[u64::MAX]).is_err());
    }
}
