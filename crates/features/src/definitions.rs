//! The entities and feature views of a project.

use std::path::Path;

use icecore_core::{
    Entity, Error, FeatureService, FeatureView, JoinKey, Location, PushSource, Result,
};

use crate::document::{Findings, Places, all_or_none};
use crate::{check, hash, parse, services};

/// The entities and feature views of a project, checked against each other.
///
/// They come from files ([`load`](Self::load), [`parse`](Self::parse)) or from code
/// ([`new`](Self::new)); both ways check the same rules.
#[derive(Debug, Clone, Default)]
pub struct Definitions {
    /// What features describe.
    pub entities: Vec<Entity>,
    /// Groups of features.
    pub views: Vec<FeatureView>,
    /// What models take.
    pub services: Vec<FeatureService>,
    /// Where clients push events.
    pub push_sources: Vec<PushSource>,
    places: Places,
}

impl Definitions {
    /// Reads every `*.toml` of a directory, in order of name. No directory, no definitions.
    ///
    /// # Errors
    ///
    /// All mistakes of all files: the first one, with the others as
    /// [`related`](Error::related). Each has the file, line and column.
    pub fn load(dir: &Path) -> Result<Self> {
        if !dir.try_exists().map_err(|error| Error::unreadable(dir, error))? {
            return Ok(Self::default());
        }
        let entries = std::fs::read_dir(dir).map_err(|error| Error::unreadable(dir, error))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| Error::unreadable(dir, error))?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| Error::unreadable(&path, error))?;
                files.push((path.display().to_string(), text));
            }
        }
        files.sort();
        Self::parse_all(files.iter().map(|(file, text)| (file.as_str(), text.as_str())))
    }

    /// Reads one file; its name appears in errors.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        Self::parse_all([(file, text)])
    }

    /// Reads several files, each a name and its text, as one set of definitions.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn parse_all<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let (mut read, mut found) = (parse::Read::default(), Findings::default());
        for file in files {
            parse::read_file(file, &mut read, &mut found);
        }
        let parse::Read { entities, views, services, push_sources } = read;
        check::check(&entities, &views, &mut found);
        let places = found.places.clone();
        let definitions = Self { entities, views, services, push_sources, places };
        services::check(&definitions, &mut found);
        found.errors.sort_by_cached_key(|error| {
            error.location().map(|at| (at.file.clone(), at.line, at.column))
        });
        all_or_none(found.errors)?;
        Ok(definitions)
    }

    /// Definitions made in code.
    ///
    /// # Errors
    ///
    /// All mistakes, as [`load`](Self::load), without places.
    pub fn new(entities: Vec<Entity>, views: Vec<FeatureView>) -> Result<Self> {
        let mut found = Findings::default();
        check::check(&entities, &views, &mut found);
        all_or_none(found.errors)?;
        let (services, push_sources) = (Vec::new(), Vec::new());
        Ok(Self { entities, views, services, push_sources, places: found.places })
    }

    /// The view of this name.
    ///
    /// # Errors
    ///
    /// `NotFound`, with the nearest name.
    pub fn view(&self, name: &str) -> Result<&FeatureView> {
        self.views.iter().find(|view| view.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.views.iter().map(|view| view.name.as_str()).collect();
            let error = Error::not_found(format!("there is no feature view `{name}`"));
            if names.is_empty() {
                return error.with_help("define one in `features/*.toml`");
            }
            error
                .with_note(format!("feature views: {}", names.join(", ")))
                .with_candidates(name, names)
        })
    }

    /// The feature service of this name.
    ///
    /// # Errors
    ///
    /// `NotFound`, with the nearest name.
    pub fn service(&self, name: &str) -> Result<&FeatureService> {
        self.services.iter().find(|service| service.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.services.iter().map(|known| known.name.as_str()).collect();
            let error = Error::not_found(format!("there is no feature service `{name}`"));
            if names.is_empty() {
                return error.with_help("define one: `[[feature_service]]` in `features/*.toml`");
            }
            error
                .with_note(format!("feature services: {}", names.join(", ")))
                .with_candidates(name, names)
        })
    }

    /// The push source of this name.
    ///
    /// # Errors
    ///
    /// `NotFound`, with the nearest name.
    pub fn push_source(&self, name: &str) -> Result<&PushSource> {
        self.push_sources.iter().find(|source| source.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.push_sources.iter().map(|s| s.name.as_str()).collect();
            let error = Error::not_found(format!("there is no push source `{name}`"));
            if names.is_empty() {
                return error.with_help("define one: `[[push_source]]` in `features/*.toml`");
            }
            error
                .with_note(format!("push sources: {}", names.join(", ")))
                .with_candidates(name, names)
        })
    }

    /// The views that are made of a table's rows as they are: those that see events at once.
    pub fn views_of<'d>(
        &'d self,
        table: &'d icecore_core::TableName,
    ) -> impl Iterator<Item = &'d FeatureView> {
        self.views.iter().filter(move |view| view.source.as_ref() == Some(table))
    }

    /// The entity of this name.
    ///
    /// # Errors
    ///
    /// `NotFound`, with the nearest name.
    pub fn entity(&self, name: &str) -> Result<&Entity> {
        self.entities
            .iter()
            .find(|entity| entity.name == name)
            .ok_or_else(|| check::unknown_entity(name, &self.entities))
    }

    /// The columns that identify what a view describes: the join keys of its entities, in order.
    ///
    /// # Errors
    ///
    /// `NotFound` if the view names an entity that these definitions do not have.
    pub fn join_keys(&self, view: &FeatureView) -> Result<Vec<String>> {
        Ok(self.typed_join_keys(view)?.into_iter().map(|key| key.name).collect())
    }

    /// The same with the types that they were declared to have.
    ///
    /// # Errors
    ///
    /// As [`join_keys`](Self::join_keys).
    pub fn typed_join_keys(&self, view: &FeatureView) -> Result<Vec<JoinKey>> {
        let mut keys = Vec::new();
        for name in &view.entities {
            keys.extend(self.entity(name)?.join_keys.iter().cloned());
        }
        Ok(keys)
    }

    /// SHA-256, in hex, of what a view means. Formatting, comments, descriptions, owners and tags
    /// do not change it; anything that can change a value or a row does.
    #[must_use]
    pub fn definition_hash(&self, view: &FeatureView) -> String {
        hash::definition_hash(self, view)
    }

    /// Where a part of a view stands in its file: `""` for the view itself, `ttl`,
    /// `aggregate.0.column`. Absent for definitions made in code.
    #[must_use]
    pub fn location(&self, view: &FeatureView, part: &str) -> Option<&Location> {
        let index = self.views.iter().position(|known| known.name == view.name)?;
        let path = format!("feature_view.{index}.{part}");
        self.places.nearest(path.trim_end_matches('.'))
    }

    /// Adds to an error where the part of a view stands.
    pub(crate) fn locate(&self, view: &FeatureView, part: &str, error: Error) -> Error {
        match self.location(view, part) {
            Some(location) if error.location().is_none() => error.at(location.clone()),
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests;
