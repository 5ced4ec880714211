//! SQL models of a project.

use std::collections::BTreeMap;

use icecore_core::{Error, ErrorKind, Result, TableName, Timestamp};
use icecore_models::{
    LoadOptions, ModelDocs, ModelProject, ProgressCallback, RunOptions, RunReport, Selection,
};
use serde_json::{Map, Value};

use crate::Project;

/// What to run of a project's SQL models.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ModelJob {
    /// Which models, seeds and tests.
    pub selection: Selection,
    /// Whether incremental models are built anew.
    pub full_refresh: bool,
    /// What `run_started_at` is; absent means now.
    pub started_at: Option<Timestamp>,
    /// Values of `var`.
    pub vars: Map<String, Value>,
    /// Only tests, on the tables as they are.
    pub only_tests: bool,
    /// Told of what begins and what is done.
    pub progress: Option<ProgressCallback>,
}

impl ModelJob {
    /// Everything that is selected.
    #[must_use]
    pub fn new(selection: Selection) -> Self {
        Self { selection, ..Self::default() }
    }
}

impl Project {
    /// Reads the project's SQL models: `models/`, `macros/`, `seeds/`, `tests/`, `dbt_project.yml`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` and `NotFound` with every mistake of every file.
    pub fn models(&self, job: &ModelJob) -> Result<ModelProject> {
        let settings = &self.config().models;
        let mut options = LoadOptions::new(job.started_at.unwrap_or_else(|| self.clock().now()));
        options.schema.clone_from(&settings.schema);
        options.full_refresh = job.full_refresh;
        options.vars = settings.vars.clone();
        options.vars.extend(job.vars.clone());
        options.environment = self.granted(&settings.env_vars);
        ModelProject::load(self.dir(), options)
    }

    /// The variables that templates may see.
    fn granted(&self, names: &[String]) -> BTreeMap<String, String> {
        let of =
            |name: &String| self.environment().get(name).map(|value| (name.clone(), value.clone()));
        names.iter().filter_map(of).collect()
    }

    /// Builds, tests and publishes SQL models, and writes `target/`.
    ///
    /// # Errors
    ///
    /// Those of reading the models and of pinning what they read; what goes wrong with one model is
    /// in the report.
    pub async fn run_models(&self, job: &ModelJob) -> Result<(ModelProject, RunReport)> {
        let models = self.models(job)?;
        icecore_models::write_compiled(&models, self.clock().now())?;
        let mut options = RunOptions::new(std::sync::Arc::clone(self.clock()))
            .with_selection(job.selection.clone());
        if let Some(progress) = &job.progress {
            options = options.with_progress(progress.clone());
        }
        if job.only_tests {
            options = options.with_only_tests();
        }
        options.threads = self.config().models.threads.max(1);
        let report = icecore_models::run(self.engine(), &models, &options).await?;
        icecore_models::write_results(&models, &report)?;
        Ok((models, report))
    }

    /// Says what the selected models are: their SQL, their columns and where these come from.
    /// Nothing is built.
    ///
    /// # Errors
    ///
    /// Those of reading the models.
    pub async fn document_models(&self, job: &ModelJob) -> Result<Vec<ModelDocs>> {
        let models = self.models(job)?;
        icecore_models::write_compiled(&models, self.clock().now())?;
        icecore_models::document(self.engine(), &models, &job.selection).await
    }

    /// Gives a table another name, in one step. What names it, such as definitions, is not changed.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table, `AlreadyExists` if a table or a view has the new name.
    pub async fn rename_table(&self, name: &TableName, to: &TableName) -> Result<()> {
        self.check_no_view(to).await?;
        self.catalog().rename_table(name, to).await
    }

    /// Enters a table whose metadata file exists.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if a table or a view has the name; those of reading the file.
    pub async fn register_table(&self, name: &TableName, metadata_location: &str) -> Result<()> {
        self.check_no_view(name).await?;
        self.catalog().register_table(name, metadata_location).await
    }

    /// What [`rename_table`](Self::rename_table) would say now. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of `rename_table`.
    pub async fn check_rename_table(&self, name: &TableName, to: &TableName) -> Result<()> {
        self.check_no_view(to).await?;
        self.catalog().check_rename_table(name, to).await
    }

    /// What [`register_table`](Self::register_table) would say now. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of `register_table`.
    pub async fn check_register_table(
        &self,
        name: &TableName,
        metadata_location: &str,
    ) -> Result<()> {
        self.check_no_view(name).await?;
        self.catalog().check_register_table(name, metadata_location).await
    }

    async fn check_no_view(&self, name: &TableName) -> Result<()> {
        match self.engine().views().await?.contains_key(name) {
            true => Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("there is a view `{name}` already"),
            )),
            false => Ok(()),
        }
    }

    /// Forgets a table or a view, and says where the metadata of the table's last state is.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is neither.
    pub async fn drop_table_or_view(&self, name: &TableName) -> Result<Option<String>> {
        match self.catalog().drop_table(name).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if self.engine().drop_view(name).await? { Ok(None) } else { Err(error) }
            }
            dropped => dropped.map(Some),
        }
    }
}

/// Reads `--vars`: a YAML or JSON object, or `name=value`.
///
/// # Errors
///
/// `InvalidInput` for what is neither.
pub fn parse_vars(texts: &[String]) -> Result<Map<String, Value>> {
    let mut vars = Map::new();
    for text in texts {
        let plain = text.split_once('=').filter(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        });
        match plain {
            Some((name, value)) => {
                let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
                vars.insert(name.to_owned(), value);
            }
            None => vars.extend(icecore_models::parse_object("--vars", text).map_err(|error| {
                Error::invalid(format!("`--vars` is not understood: {error}"))
                    .with_help("write `--vars 'name: value'` or `--vars name=value`")
            })?),
        }
    }
    Ok(vars)
}
