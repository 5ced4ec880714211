//! Whether feature services and push sources name what there is.

use std::collections::BTreeSet;

use icecore_core::Error;

use crate::check::check_name;
use crate::document::Findings;
use crate::{Definitions, resolve_features};

/// Reports services that have no name of their own, and features that nobody has.
pub(crate) fn check(definitions: &Definitions, found: &mut Findings) {
    push_sources(definitions, found);
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
        match resolve_features(definitions, &service.features) {
            Err(error) => report("features", error),
            Ok(views) if !service.online.is_views() => {
                if let Err(error) = one_entity(definitions, &service.name, &views) {
                    report("online", error);
                }
            }
            Ok(_) => {}
        }
    }
}

/// Whether all of a service is rows of the same entity.
fn one_entity(
    definitions: &Definitions,
    service: &str,
    views: &[(String, Vec<String>)],
) -> icecore_core::Result<()> {
    let mut keys: Option<Vec<String>> = None;
    for (name, _) in views {
        let view = definitions.view(name)?;
        if !view.online.is_rows() {
            let error = Error::invalid(format!("`{service}` cannot be a vector"));
            return Err(error.with_note(format!("`{name}` is computed at each request")));
        }
        let own = definitions.join_keys(view)?;
        match &keys {
            Some(keys) if *keys != own => {
                let error = Error::invalid(format!("`{service}` cannot be a vector"));
                return Err(error.with_note(format!("`{name}` is found by {}", own.join(", "))));
            }
            _ => keys = Some(own),
        }
    }
    Ok(())
}

/// Reports push sources without a name of their own.
fn push_sources(definitions: &Definitions, found: &mut Findings) {
    let mut names = BTreeSet::new();
    for (index, source) in definitions.push_sources.iter().enumerate() {
        let place = format!("push_source.{index}.name");
        let mut report = |error: Error| found.errors.push(found.places.locate(&place, error));
        if let Err(error) = check_name(&source.name, "a push source") {
            report(error);
        }
        if !names.insert(source.name.as_str()) {
            report(Error::invalid(format!("there are two push sources `{}`", source.name)));
        }
        let twin = definitions.push_sources.iter().take(index);
        if let Some(twin) = twin.into_iter().find(|other| other.table == source.table) {
            let error =
                Error::invalid(format!("`{}` goes to `{}`, too", source.name, source.table));
            report(error.with_help(format!("push to `{}`", twin.name)));
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
