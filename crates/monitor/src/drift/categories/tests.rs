//! Bounds of distances against those of the whole counts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What is left of counts when each may miss up to so many rows: those of few rows are dropped.
fn summary(counts: &BTreeMap<String, u64>, error: u64) -> Categories {
    let kept = counts.iter().filter(|(_, count)| **count > error);
    // Half of what may be missing is missing.
    let kept = kept.map(|(name, count)| (name.clone(), count - error / 2)).collect();
    Categories::from_parts(kept, counts.values().sum(), error)
}

fn terms(names: &[&str], a: &Categories, b: &Categories, term: fn(f64, f64) -> f64) -> f64 {
    let (a, b) = (Share::all(a, names), Share::all(b, names));
    a.iter().zip(&b).map(|(a, b)| term(a.value, b.value)).sum()
}

fn counts() -> impl Strategy<Value = BTreeMap<String, u64>> {
    prop::collection::btree_map("[a-h]", 1..200_u64, 1..8)
}

proptest! {
    #[test]
    fn bounds_hold_whatever_a_summary_dropped(
        a in counts(), b in counts(), of_a in 0..20_u64, of_b in 0..20_u64,
    ) {
        let (less_a, less_b) = (summary(&a, of_a), summary(&b, of_b));
        let (whole_a, whole_b) = (summary(&a, 0), summary(&b, 0));
        let names: Vec<&str> = a.keys().map(String::as_str).take(4).collect();
        let pairs: Vec<(Share, Share)> =
            Share::all(&less_a, &names).into_iter().zip(Share::all(&less_b, &names)).collect();
        for term in [psi_term, divergence_term] as [fn(f64, f64) -> f64; 2] {
            let found = summed(&pairs, term);
            let exact = terms(&names, &whole_a, &whole_b, term);
            let holds = found.least - 1e-9 <= exact && exact <= found.most + 1e-9;
            prop_assert!(holds, "{found:?} {exact}");
            prop_assert!(found.least <= found.value && found.value <= found.most);
            if of_a == 0 && of_b == 0 {
                prop_assert!(found.error < 1e-9, "{found:?}");
            }
        }
        let of = |a: &Categories, b: &Categories| {
            let profile = |of: &Categories| {
                let mut profile = ColumnProfile::new(crate::ColumnKind::Category);
                profile.categories = of.clone();
                profile
            };
            let (a, b) = (profile(a), profile(b));
            let mut feature = super::super::base("x", &a, &b);
            categories(&mut feature, &a, &b);
            feature.new_share
        };
        let (found, exact) = (of(&less_a, &less_b), of(&whole_a, &whole_b));
        prop_assert_eq!(exact.error, 0.0);
        prop_assert!(found.least <= exact.value + 1e-9 && exact.value <= found.most + 1e-9);
    }
}
