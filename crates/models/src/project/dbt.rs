//! `dbt_project.yml`, where there is one, and the profile that it names.

use std::path::Path;

use icecore_core::{Error, Result};
use serde_json::Value;

use crate::config::lay_over;
use crate::yaml::{self, Object};

/// The name of a project that has no `dbt_project.yml`.
const NAME: &str = "icecore";

/// What a project says of itself.
#[derive(Debug, Clone)]
pub(super) struct DbtProject {
    pub(super) name: String,
    pub(super) model_paths: Vec<String>,
    pub(super) macro_paths: Vec<String>,
    pub(super) seed_paths: Vec<String>,
    pub(super) test_paths: Vec<String>,
    pub(super) vars: Object,
    /// The namespace of the profile.
    pub(super) schema: Option<String>,
    models: Object,
    seeds: Object,
    tests: Object,
}

impl DbtProject {
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let file = "dbt_project.yml";
        let Some(text) = super::files::text_of(&dir.join(file))? else { return Ok(Self::plain()) };
        let said = yaml::parse(file, &text)?;
        let name = yaml::text(&said, "name").unwrap_or_else(|| NAME.to_owned());
        let paths = |key: &str, default: &str| match yaml::texts(&said, key) {
            paths if paths.is_empty() => vec![default.to_owned()],
            paths => paths,
        };
        let object = |key: &str| said.get(key).and_then(Value::as_object).cloned();
        let mut vars = object("vars").unwrap_or_default();
        // `vars: {project: {…}}` are those of the project alone.
        if let Some(Value::Object(own)) = vars.remove(&name) {
            vars.extend(own);
        }
        let mut tests = object("tests").unwrap_or_default();
        tests.extend(object("data_tests").unwrap_or_default());
        let profile = yaml::text(&said, "profile").unwrap_or_else(|| name.clone());
        Ok(Self {
            model_paths: paths("model-paths", "models"),
            macro_paths: paths("macro-paths", "macros"),
            seed_paths: paths("seed-paths", "seeds"),
            test_paths: paths("test-paths", "tests"),
            vars,
            schema: Some(profile_schema(dir, &profile)?),
            models: object("models").unwrap_or_default(),
            seeds: object("seeds").unwrap_or_default(),
            tests,
            name,
        })
    }

    fn plain() -> Self {
        let one = |path: &str| vec![path.to_owned()];
        Self {
            name: NAME.to_owned(),
            model_paths: one("models"),
            macro_paths: one("macros"),
            seed_paths: one("seeds"),
            test_paths: one("tests"),
            vars: Object::new(),
            schema: None,
            models: Object::new(),
            seeds: Object::new(),
            tests: Object::new(),
        }
    }

    /// What the project says of the models, seeds or tests of a folder.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a folder's settings that are none.
    pub(super) fn settings(&self, kind: super::NodeKind, fqn: &[String]) -> Result<Object> {
        let tree = match kind {
            super::NodeKind::Model => &self.models,
            super::NodeKind::Seed => &self.seeds,
            super::NodeKind::Test => &self.tests,
        };
        let mut found = Object::new();
        let mut at = Some(tree);
        let mut path = fqn.iter();
        while let Some(object) = at {
            let said = object.iter().filter(|(key, value)| {
                key.starts_with('+') || !value.is_object() || *key == "meta"
            });
            let said: Object = said.map(|(key, value)| (key.clone(), value.clone())).collect();
            lay_over(&mut found, &said);
            at = path.next().and_then(|part| object.get(part)).and_then(Value::as_object);
        }
        Ok(found)
    }
}

/// The schema of the profile's target, `main` where it says none.
fn profile_schema(dir: &Path, profile: &str) -> Result<String> {
    const DEFAULT: &str = "main";
    let file = "profiles.yml";
    let Some(text) = super::files::text_of(&dir.join(file))? else { return Ok(DEFAULT.to_owned()) };
    let profiles = yaml::parse(file, &text)?;
    let Some(found) = profiles.get(profile).and_then(Value::as_object) else {
        let names: Vec<&str> = profiles.keys().map(String::as_str).collect();
        return Err(Error::not_found(format!("`{file}` has no profile `{profile}`"))
            .with_candidates(profile, names));
    };
    let target = yaml::text(found, "target").unwrap_or_else(|| "default".to_owned());
    let output = found.get("outputs").and_then(|outputs| outputs.get(&target));
    let output = output.and_then(Value::as_object);
    let schema = output
        .and_then(|output| yaml::text(output, "schema").or_else(|| yaml::text(output, "dataset")));
    // A value that a template would make is the user's own; it is not read here.
    Ok(schema.filter(|schema| !schema.contains("{{")).unwrap_or_else(|| DEFAULT.to_owned()))
}
