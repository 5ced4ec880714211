//! Deleting runs and models of a project.

use icecore_core::{Error, ModelRegistry, ModelSelector, ModelVersion, Result, Timestamp};
use icecore_tracking::{DeleteOptions, RemovedRuns};

use crate::Project;

impl Project {
    /// Deletes versions of a model, or all of them, and returns them with the aliases that pointed
    /// at them. The runs that made them stay, with their files.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown model or version. `InvalidInput`, unless forced, for a version that
    /// an alias points at or a scoring definition names by its number, and for a scoring definition
    /// that cannot be read, since nobody knows what it needs.
    pub async fn delete_model(
        &self,
        model: &str,
        versions: Option<&[u32]>,
        options: DeleteOptions,
    ) -> Result<Vec<ModelVersion>> {
        if !options.force {
            let all = self.tracker().versions(Some(model)).await?;
            let goes = |number| versions.is_none_or(|versions| versions.contains(&number));
            for version in all.iter().filter(|version| goes(version.version)) {
                self.expect_unnamed(version)?;
            }
        }
        match versions {
            Some(versions) => self.tracker().delete_versions(model, versions, options).await,
            None => self.tracker().delete_model(model, options).await,
        }
    }

    /// That no scoring definition names a version by its number. One that asks for an alias or the
    /// newest version gets what these mean then.
    fn expect_unnamed(&self, version: &ModelVersion) -> Result<()> {
        let selector = ModelSelector::Version(version.version);
        for name in self.definition_names("scoring")? {
            let spec = self.scoring(&name).map_err(|error| {
                error.with_note("no version is deleted while nobody knows which one it scores with")
            })?;
            let mut uris = std::iter::once(&spec.model).chain(spec.challengers.values());
            if let Some(uri) =
                uris.find(|uri| uri.name == version.model && uri.selector == selector)
            {
                return Err(Error::invalid(format!("`scoring/{name}.toml` scores with {uri}"))
                    .with_help("change that first, or repeat the command with `--force`"));
            }
        }
        Ok(())
    }

    /// Removes the runs that were deleted at this moment or before, with their files: see
    /// [`remove_deleted_runs`](icecore_tracking::remove_deleted_runs).
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Denied` if a file cannot be removed.
    pub async fn remove_deleted_runs(
        &self,
        before: Timestamp,
        options: DeleteOptions,
    ) -> Result<RemovedRuns> {
        let (tracker, artifacts) = (self.tracker(), self.artifacts());
        if options.dry_run {
            icecore_tracking::removable_runs(tracker, artifacts, before).await
        } else {
            icecore_tracking::remove_deleted_runs(tracker, artifacts, before).await
        }
    }
}
