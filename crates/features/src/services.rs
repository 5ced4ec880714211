//! Whether feature services name what there is.

use std::collections::BTreeSet;

use icecore_core::Error;

use crate::document::Findings;
use crate::{Definitions, resolve_features};

/// Reports services that have no name of their own, and features that nobody has.
pub(crate) fn check(definitions: &Definitions, found: &mut Findings) {
    let mut names = BTreeSet::new();
    for (index, service) in definitions.services.iter().enumerate() {
        let path = format!("feature_service.{index}");
        if found.broken.contains(&path) {
            continue;
        }
        let mut report = |part: &str, error: Error| {
            let error = found.places.locate(&format!("{path}.{part}"), error);
            found.errors.push(error);
        };
        if !names.insert(service.name.as_str()) {
            let error =
                Error::invalid(format!("there are two feature services `{}`", service.name));
            report("name", error);
        }
        if service.features.is_empty() {
            let error =
                Error::invalid(format!("feature service `{}` has no feature", service.name));
            report("features", error.with_help("write `features = [\"view:feature\"]`"));
        }
        if let Err(error) = resolve_features(definitions, &service.features) {
            report("features", error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = r#"
        [[entity]]
        name = "user"
        [[feature_view]]
        name = "account"
        entities = ["user"]
        source = "ml.users"
        columns = ["balance", "tier"]
    "#;

    fn parse(service: &str) -> icecore_core::Result<Definitions> {
        Definitions::parse("f.toml", &format!("{VIEW}\n[[feature_service]]\n{service}"))
    }

    #[test]
    fn a_service_is_a_list_of_features_under_one_name() {
        let definitions = parse("name = 'churn'\nfeatures = ['account:tier']").unwrap();
        assert_eq!(definitions.service("churn").unwrap().features, ["account:tier"]);
        let error = definitions.service("chrn").unwrap_err();
        assert_eq!(error.help(), Some("did you mean `churn`?"));
    }

    #[test]
    fn what_nobody_has_is_named_with_its_place() {
        let error = parse("name = 'churn'\nfeatures = ['account:teir']").unwrap_err();
        assert_eq!(error.help(), Some("did you mean `tier`?"));
        assert!(error.location().is_some_and(|at| at.line > 8), "{error:?}");
        assert!(parse("name = 'churn'\nfeatures = []").is_err());
        let twice = "name = 'a'\nfeatures = ['account:tier']\n[[feature_service]]\nname = 'a'\nfeatures = ['account:tier']";
        assert!(parse(twice).is_err());
    }
}
