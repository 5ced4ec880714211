//! The files of a project.

use std::fs;
use std::path::Path;

use icecore_core::{Error, Result};

use super::dbt::DbtProject;
use crate::template::{MacroFile, macro_files};
use crate::yaml::{self, Object};

/// The most bytes of a file of models.
const FILE_MAX: u64 = 4 << 20;
/// How deep folders may lie in each other.
const DEPTH_MAX: usize = 32;

/// A file of a project.
#[derive(Debug, Clone)]
pub(super) struct SourceFile {
    /// From the folder of its kind: `features/x.sql`.
    pub(super) path: String,
    /// From the project: `models/features/x.sql`.
    pub(super) file: String,
    /// Its text; empty for seeds.
    pub(super) text: String,
}

impl SourceFile {
    /// The name without folders and extension.
    pub(super) fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    /// The folders.
    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        self.path.rsplit_once('/').map(|(folders, _)| folders.split('/')).into_iter().flatten()
    }
}

/// Everything that a project has.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) models: Vec<SourceFile>,
    pub(super) seeds: Vec<SourceFile>,
    pub(super) tests: Vec<SourceFile>,
    /// Property files, parsed.
    pub(super) properties: Vec<(SourceFile, Object)>,
    pub(super) macros: Vec<MacroFile>,
}

impl Files {
    pub(super) fn read(dir: &Path, dbt: &DbtProject) -> Result<Self> {
        let all = |roots: &[String], extensions: &[&str]| -> Result<Vec<SourceFile>> {
            let mut found = Vec::new();
            for root in roots {
                walk(dir, root, "", extensions, &mut found)?;
            }
            found.sort_by(|a, b| a.file.cmp(&b.file));
            Ok(found)
        };
        let mut macros = all(&dbt.macro_paths, &["sql"])?;
        let (generic, tests) = all(&dbt.test_paths, &["sql"])?
            .into_iter()
            .partition::<Vec<_>, _>(|file| file.path.starts_with("generic/"));
        macros.extend(generic);
        let mut properties = Vec::new();
        for roots in [&dbt.model_paths, &dbt.seed_paths] {
            for file in all(roots, &["yml", "yaml"])? {
                let object = yaml::parse(&file.file, &file.text)?;
                properties.push((file, object));
            }
        }
        Ok(Self {
            models: all(&dbt.model_paths, &["sql"])?,
            seeds: all(&dbt.seed_paths, &["csv"])?,
            tests,
            properties,
            macros: macro_files(macros.into_iter().map(|file| (file.file, file.text))),
        })
    }
}

/// The text of a file, if it is there.
pub(super) fn text_of(path: &Path) -> Result<Option<String>> {
    let unreadable = |error: std::io::Error| {
        Error::unavailable(format!("cannot read `{}`", path.display())).with_source(error)
    };
    match fs::metadata(path) {
        Ok(found) if found.len() > FILE_MAX => {
            return Err(Error::new(
                icecore_core::ErrorKind::LimitExceeded,
                format!("`{}` is too large for a file of models", path.display()),
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    }
    fs::read_to_string(path).map(Some).map_err(unreadable)
}

fn walk(
    dir: &Path,
    root: &str,
    below: &str,
    extensions: &[&str],
    found: &mut Vec<SourceFile>,
) -> Result<()> {
    if below.matches('/').count() > DEPTH_MAX {
        return Err(Error::invalid(format!("folders under `{root}/` lie too deep in each other")));
    }
    let here = dir.join(root).join(below);
    let entries = match fs::read_dir(&here) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(
                Error::unavailable(format!("cannot read `{}`", here.display())).with_source(error)
            );
        }
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        // A link could lead out of the project.
        let Ok(kind) = entry.file_type() else { continue };
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if name.starts_with('.') || kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            walk(dir, root, &path, extensions, found)?;
        } else if extensions.iter().any(|wanted| name.ends_with(&format!(".{wanted}"))) {
            let is_text = !name.ends_with(".csv");
            let text =
                if is_text { text_of(&entry.path())?.unwrap_or_default() } else { String::new() };
            found.push(SourceFile { file: format!("{root}/{path}"), path, text });
        }
    }
    Ok(())
}
