//! Models from and for others, and what their predictions are made of.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use bytes::Bytes;
use icecore_core::{
    ArtifactStore, Error, ErrorKind, Importance, Model, ModelRegistry, ModelSelector, ModelVersion,
    NewRun, OutputKind, Prediction, Result, RunEntries, RunStatus, RunTracker,
};
use icecore_train::{import_model, model_hash, to_lightgbm, to_mlflow, to_onnx};
use serde::Serialize;

use crate::Project;
use crate::project::train::MODEL_FILE;

/// The format that a model is exported in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelFormat {
    /// Our own file.
    Icecore,
    /// LightGBM's text.
    LightGbm,
    /// An MLflow model folder with LightGBM's flavour.
    Mlflow,
    /// ONNX, for ONNX Runtime.
    Onnx,
}

/// How much an input of a model counts, by each measure of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputImportance {
    /// The input's name.
    pub name: String,
    /// Its share of what all splits gained, or of the weights.
    pub gain: f64,
    /// Its share of the splits; absent where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splits: Option<f64>,
}

/// Why a row is predicted as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The class that it is about, where there are more than two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<usize>,
    /// The prediction.
    pub prediction: f64,
    /// The raw score before it becomes that, the sum of what follows.
    pub margin: f64,
    /// The mean raw score of the training rows.
    pub expected: f64,
    /// What each input adds, the greatest first.
    pub contributions: Vec<(String, f64)>,
}

impl Project {
    /// Registers a model of LightGBM, of XGBoost, of ONNX or of another project.
    ///
    /// # Errors
    ///
    /// `DataCorrupt` or `Unsupported` if the file is none that can be read.
    pub async fn import_model(&self, name: &str, file: &Path) -> Result<ModelVersion> {
        let imported = read_model(file)?;
        let run = NewRun::new(format!("/ml/{name}"), format!("import-{name}"))
            .with_tag("icecore.imported_from", file.display().to_string());
        let run = self.tracker().start(run).await?;
        let bytes = Bytes::from(imported.encode()?);
        let hash = model_hash(&bytes);
        let params = [("algorithm".to_owned(), "imported".to_owned())].into();
        self.tracker().log(&run, RunEntries { params, ..RunEntries::default() }).await?;
        self.artifacts().put(&run, MODEL_FILE, bytes).await?;
        let version = self.tracker().register(name, &run, MODEL_FILE, &hash).await?;
        self.tracker().finish(&run, RunStatus::Finished).await?;
        Ok(version)
    }

    /// Writes a registered model to a file, or to a folder for MLflow; returns what was written.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such model; `AlreadyExists` if the file is there; `Unsupported` if
    /// the format cannot hold the model.
    pub async fn export_model(
        &self,
        name: &str,
        selector: &ModelSelector,
        (format, output): (ModelFormat, &Path),
    ) -> Result<Vec<PathBuf>> {
        let version = self.tracker().resolve(name, selector).await?;
        let model = self.load_model(&version).await?;
        let files: Vec<(PathBuf, Vec<u8>)> = match format {
            ModelFormat::Icecore => vec![(output.to_owned(), model.encode()?)],
            ModelFormat::LightGbm => {
                vec![(output.to_owned(), to_lightgbm(&*model)?.into_bytes())]
            }
            ModelFormat::Onnx => vec![(output.to_owned(), to_onnx(&*model)?)],
            ModelFormat::Mlflow => to_mlflow(&*model)?
                .into_iter()
                .map(|(name, text)| (output.join(name), text.into_bytes()))
                .collect(),
        };
        let failed = |error: std::io::Error| {
            Error::unavailable(format!("cannot write `{}`", output.display())).with_source(error)
        };
        if output.try_exists().map_err(failed)? {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("`{}` is there already", output.display()),
            )
            .with_help("name another file, or remove it"));
        }
        for (path, bytes) in &files {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(failed)?;
            }
            std::fs::write(path, bytes).map_err(failed)?;
        }
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }

    /// How much each input of a registered model counts, the greatest gain first.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such model.
    pub async fn model_importance(
        &self,
        name: &str,
        selector: &ModelSelector,
    ) -> Result<Vec<InputImportance>> {
        let version = self.tracker().resolve(name, selector).await?;
        let model = self.load_model(&version).await?;
        let splits = model.importance_by(Importance::Splits);
        let names = model.signature().inputs.iter().map(|input| input.name.clone());
        let mut inputs: Vec<InputImportance> = names
            .zip(model.importance())
            .enumerate()
            .map(|(at, (name, gain))| InputImportance {
                name,
                gain,
                splits: splits.get(at).copied(),
            })
            .collect();
        inputs.sort_by(|a, b| b.gain.total_cmp(&a.gain).then_with(|| a.name.cmp(&b.name)));
        Ok(inputs)
    }

    /// Explains a registered model's predictions for rows, by exact Shapley values. Each row has an
    /// explanation, or with more than two classes one of each class.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such model; `InvalidInput` if the rows lack an input;
    /// `Unsupported` for one that cannot explain itself.
    pub async fn explain_model(
        &self,
        name: &str,
        selector: &ModelSelector,
        rows: RecordBatch,
    ) -> Result<Vec<Explanation>> {
        let version = self.tracker().resolve(name, selector).await?;
        let model = self.load_model(&version).await?;
        tokio::task::spawn_blocking(move || explain(&*model, &rows))
            .await
            .map_err(|error| Error::internal("explaining stopped").with_source(error))?
    }
}

/// Reads a model of any format that can be imported.
///
/// # Errors
///
/// `NotFound` if there is no such file; else as [`import_model`].
pub fn read_model(file: &Path) -> Result<Arc<dyn Model>> {
    let bytes = std::fs::read(file).map_err(|error| Error::unreadable(file, error))?;
    import_model(&bytes)
}

fn explain(model: &dyn Model, rows: &RecordBatch) -> Result<Vec<Explanation>> {
    let numbers = |array: &dyn Array| {
        let array = array.as_fixed_size_list_opt().map_or(array, |lists| lists.values());
        array
            .as_primitive_opt::<Float64Type>()
            .map(|array| array.values().to_vec())
            .ok_or_else(|| Error::internal(format!("the model gave {}", array.data_type())))
    };
    let predictions = numbers(&model.predict(rows)?)?;
    let margins = numbers(&model.predict_as(rows, Prediction::Margin)?)?;
    let shares = numbers(&model.predict_as(rows, Prediction::Contributions)?)?;
    let classes = predictions.len() / rows.num_rows().max(1);
    let has_classes = model.signature().output == OutputKind::Classes;
    let inputs = &model.signature().inputs;
    let of_rows = shares.chunks(inputs.len() + 1).zip(predictions).zip(margins);
    let explanation = |(at, ((of_row, prediction), margin)): (usize, ((&[f64], f64), f64))| {
        let names = inputs.iter().map(|input| input.name.clone());
        let mut contributions: Vec<(String, f64)> = names.zip(of_row.iter().copied()).collect();
        contributions.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then_with(|| a.0.cmp(&b.0)));
        let expected = of_row.last().copied().unwrap_or(0.0);
        let class = has_classes.then(|| at % classes.max(1));
        Explanation { class, prediction, margin, expected, contributions }
    };
    Ok(of_rows.enumerate().map(explanation).collect())
}
