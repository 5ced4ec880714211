//! Models: names, versions, and the aliases that point at them.

use async_trait::async_trait;
use icecore_core::{Error, ModelRegistry, ModelSelector, ModelVersion, Result, RunId};
use sqlx::sqlite::SqliteRow;
use tracing::info;

use super::deletion::DeleteOptions;
use super::runs::of_row;
use super::{SqlTracker, check_name, column, expect_run, moment};
use crate::database::{Tx, cannot_read, cannot_write, commit};

#[async_trait]
impl ModelRegistry for SqlTracker {
    async fn register(
        &self,
        model: &str,
        run: &RunId,
        artifact: &str,
        hash: &str,
    ) -> Result<ModelVersion> {
        check_model_name(model)?;
        check_name("an artifact", artifact)?;
        if hash.len() != 64 || !hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Error::invalid(format!("`{}` is not a sha-256", hash.escape_debug()))
                .with_note("it is written as 64 lowercase hexadecimal digits"));
        }
        let mut tx = self.database.begin_write().await?;
        expect_run(&mut tx, run).await?;
        let known = load(&mut tx, Some(model)).await?;
        if let Some(same) = known.into_iter().find(|v| v.run == *run && v.artifact == artifact) {
            if same.hash == hash {
                return Ok(same);
            }
            return Err(Error::invalid(format!(
                "version {} of `{model}` is `{artifact}` of run `{run}` with another content",
                same.version
            ))
            .with_note("versions never change")
            .with_help("store the new model under another path or in another run"));
        }
        let next = next_version(&mut tx, model).await?;
        let now = self.clock.now();
        sqlx::query("INSERT INTO icecore_model_versions VALUES (?, ?, ?, ?, ?, ?)")
            .bind(model)
            .bind(next)
            .bind(run.as_str())
            .bind(artifact)
            .bind(hash)
            .bind(now.micros())
            .execute(&mut *tx)
            .await
            .map_err(cannot_write)?;
        commit(tx).await?;
        info!(model, version = next, %run, "registered a model");
        Ok(ModelVersion {
            model: model.to_owned(),
            version: next,
            run: run.clone(),
            artifact: artifact.to_owned(),
            hash: hash.to_owned(),
            created_at: now,
            aliases: Vec::new(),
        })
    }

    async fn resolve(&self, model: &str, selector: &ModelSelector) -> Result<ModelVersion> {
        let mut tx = self.database.begin_read().await?;
        select(existing(&mut tx, model).await?, selector)
    }

    async fn set_alias(&self, model: &str, alias: &str, version: u32) -> Result<Option<u32>> {
        check_alias(alias)?;
        let mut tx = self.database.begin_write().await?;
        let versions = existing(&mut tx, model).await?;
        let before =
            versions.iter().find(|v| v.aliases.iter().any(|a| a == alias)).map(|v| v.version);
        select(versions, &ModelSelector::Version(version))?;
        sqlx::query("INSERT OR REPLACE INTO icecore_model_aliases VALUES (?, ?, ?)")
            .bind(model)
            .bind(alias)
            .bind(version)
            .execute(&mut *tx)
            .await
            .map_err(cannot_write)?;
        commit(tx).await?;
        info!(model, alias, version, before, "moved an alias");
        Ok(before)
    }

    async fn versions(&self, model: Option<&str>) -> Result<Vec<ModelVersion>> {
        let mut tx = self.database.begin_read().await?;
        match model {
            Some(model) => existing(&mut tx, model).await,
            None => load(&mut tx, None).await,
        }
    }
}

impl SqlTracker {
    /// Deletes versions of a model, all of them or none, and returns them with the aliases that
    /// pointed at them. The runs that made them, and so their files, stay. A number is not given
    /// again: what names a version names it forever.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown model or version; `InvalidInput` for a version that an alias points
    /// at, unless forced.
    pub async fn delete_versions(
        &self,
        model: &str,
        versions: &[u32],
        options: DeleteOptions,
    ) -> Result<Vec<ModelVersion>> {
        let mut tx = self.database.begin_write().await?;
        let known = existing(&mut tx, model).await?;
        let mut deleted: Vec<ModelVersion> = Vec::new();
        for number in versions {
            let version = select(known.clone(), &ModelSelector::Version(*number))?;
            if !deleted.contains(&version) {
                deleted.push(version);
            }
        }
        self.delete(tx, deleted, options).await
    }

    /// Deletes all versions of a model, as [`delete_versions`](Self::delete_versions) does.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown model; `InvalidInput` if an alias points at a version, unless
    /// forced.
    pub async fn delete_model(
        &self,
        model: &str,
        options: DeleteOptions,
    ) -> Result<Vec<ModelVersion>> {
        let mut tx = self.database.begin_write().await?;
        let all = existing(&mut tx, model).await?;
        self.delete(tx, all, options).await
    }

    async fn delete(
        &self,
        mut tx: Tx,
        versions: Vec<ModelVersion>,
        options: DeleteOptions,
    ) -> Result<Vec<ModelVersion>> {
        for version in &versions {
            if !options.force {
                expect_without_alias(version)?;
            }
            delete_version(&mut tx, version).await?;
        }
        // A dry run did all of it, and does not commit.
        if !options.dry_run {
            commit(tx).await?;
            info!(versions = listed(&versions), "deleted versions of a model");
        }
        Ok(versions)
    }
}

/// That no alias points at a version.
fn expect_without_alias(version: &ModelVersion) -> Result<()> {
    let Some(alias) = version.aliases.first() else { return Ok(()) };
    Err(Error::invalid(format!("an alias points at {version}")).with_help(format!(
        "`icecore models promote {} VERSION --to {alias}` moves it, `--force` deletes it with the \
         version",
        version.model
    )))
}

/// Deletes a version and the aliases that point at it.
pub(super) async fn delete_version(tx: &mut Tx, version: &ModelVersion) -> Result<()> {
    for table in ["icecore_model_aliases", "icecore_model_versions"] {
        sqlx::query(&format!("DELETE FROM {table} WHERE model = ? AND version = ?"))
            .bind(&version.model)
            .bind(version.version)
            .execute(&mut **tx)
            .await
            .map_err(cannot_write)?;
    }
    Ok(())
}

/// Versions for people: `models:/churn/3 (Production), models:/churn/4`.
pub(super) fn listed(versions: &[ModelVersion]) -> String {
    versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The versions that a run made.
pub(super) async fn versions_of_run(tx: &mut Tx, run: &RunId) -> Result<Vec<ModelVersion>> {
    let mut versions = load(tx, None).await?;
    versions.retain(|version| version.run == *run);
    Ok(versions)
}

/// The number after the greatest that a model ever had.
async fn next_version(tx: &mut Tx, model: &str) -> Result<u32> {
    sqlx::query_scalar(
        "INSERT INTO icecore_models VALUES (?, 1)
         ON CONFLICT DO UPDATE SET last_version = last_version + 1 RETURNING last_version",
    )
    .bind(model)
    .fetch_one(&mut **tx)
    .await
    .map_err(cannot_write)
}

/// The versions of one model or of all, in order of name and version.
async fn load(tx: &mut Tx, model: Option<&str>) -> Result<Vec<ModelVersion>> {
    let rows = sqlx::query(
        "SELECT * FROM icecore_model_versions WHERE ?1 IS NULL OR model = ?1
         ORDER BY model, version",
    )
    .bind(model)
    .fetch_all(&mut **tx)
    .await
    .map_err(cannot_read)?;
    let mut versions = rows.iter().map(version).collect::<Result<Vec<_>>>()?;
    let rows = sqlx::query(
        "SELECT * FROM icecore_model_aliases WHERE ?1 IS NULL OR model = ?1
         ORDER BY model, alias",
    )
    .bind(model)
    .fetch_all(&mut **tx)
    .await
    .map_err(cannot_read)?;
    for row in &rows {
        let (name, number): (String, u32) = (column(row, "model")?, column(row, "version")?);
        let place = versions
            .binary_search_by(|v| (v.model.as_str(), v.version).cmp(&(name.as_str(), number)));
        if let Some(version) = place.ok().and_then(|at| versions.get_mut(at)) {
            version.aliases.push(column(row, "alias")?);
        }
    }
    Ok(versions)
}

/// The versions of a model that has some.
async fn existing(tx: &mut Tx, model: &str) -> Result<Vec<ModelVersion>> {
    let versions = load(tx, Some(model)).await?;
    if !versions.is_empty() {
        return Ok(versions);
    }
    let known: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT model FROM icecore_model_versions ORDER BY model")
            .fetch_all(&mut **tx)
            .await
            .map_err(cannot_read)?;
    let error = Error::not_found(format!("there is no model `{}`", model.escape_debug()));
    Err(if known.is_empty() {
        error.with_note("no model was registered yet").with_help("`icecore train` registers one")
    } else {
        error
            .with_note(format!("models: {}", known.join(", ")))
            .with_candidates(model, known.iter().map(String::as_str))
    })
}

fn select(mut versions: Vec<ModelVersion>, selector: &ModelSelector) -> Result<ModelVersion> {
    let place = match selector {
        ModelSelector::Latest => versions.len().checked_sub(1),
        ModelSelector::Version(number) => versions.iter().position(|v| v.version == *number),
        ModelSelector::Alias(alias) => versions.iter().position(|v| v.aliases.contains(alias)),
    };
    match place {
        Some(place) => Ok(versions.swap_remove(place)),
        None => Err(unknown_version(&versions, selector)),
    }
}

fn unknown_version(versions: &[ModelVersion], selector: &ModelSelector) -> Error {
    let model = versions.first().map_or("", |version| version.model.as_str());
    let aliases: Vec<&str> =
        versions.iter().flat_map(|v| v.aliases.iter().map(String::as_str)).collect();
    let listed: Vec<String> = versions
        .iter()
        .map(|v| match v.aliases.as_slice() {
            [] => v.version.to_string(),
            aliases => format!("{} ({})", v.version, aliases.join(", ")),
        })
        .collect();
    let note = format!("versions: {}", listed.join(", "));
    match selector {
        ModelSelector::Latest => Error::not_found(format!("model `{model}` has no version")),
        ModelSelector::Version(number) => {
            Error::not_found(format!("model `{model}` has no version {number}")).with_note(note)
        }
        ModelSelector::Alias(alias) => {
            let error = Error::not_found(format!(
                "model `{model}` has no alias `{}`",
                alias.escape_debug()
            ))
            .with_note(note);
            if aliases.is_empty() {
                error.with_help(format!("`icecore models promote {model} VERSION --to {alias}`"))
            } else {
                error.with_candidates(alias, aliases)
            }
        }
    }
}

fn version(row: &SqliteRow) -> Result<ModelVersion> {
    Ok(ModelVersion {
        model: column(row, "model")?,
        version: column(row, "version")?,
        run: of_row(row)?,
        artifact: column(row, "artifact")?,
        hash: column(row, "hash")?,
        created_at: moment(row, "created_at")?,
        aliases: Vec::new(),
    })
}

/// A model's name is a part of `models:/NAME/VERSION`.
fn check_model_name(model: &str) -> Result<()> {
    check_name("a model", model)?;
    if model.contains(['/', ':', '@']) {
        return Err(Error::invalid(format!("`{model}` is no name for a model"))
            .with_note("`/`, `:` and `@` separate a model's name from its version"));
    }
    Ok(())
}

/// An alias is told from a version: it is not a number, and not `latest`.
fn check_alias(alias: &str) -> Result<()> {
    check_name("an alias", alias)?;
    let taken = alias.eq_ignore_ascii_case("latest") || alias.parse::<u64>().is_ok();
    if taken || alias.contains(['/', ':', '@']) {
        return Err(Error::invalid(format!("`{alias}` is no name for an alias"))
            .with_note("numbers and `latest` mean versions; `/`, `:` and `@` separate names"));
    }
    Ok(())
}
