//! `icecore models`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List models and their versions
    List,
    /// Show a model's versions
    Show {
        /// The model
        name: String,
    },
    /// Point an alias at a version
    Promote {
        /// The model
        name: String,
        /// The version
        version: u32,
        /// The alias, such as `Production`
        #[arg(long, value_name = "ALIAS")]
        to: String,
        /// Say what would happen, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete versions of a model; the runs that made them stay
    Delete {
        /// The model
        name: String,
        /// The versions
        #[arg(required_unless_present = "all", value_name = "VERSION")]
        versions: Vec<u32>,
        /// All versions: the model itself
        #[arg(long, conflicts_with = "versions")]
        all: bool,
        /// Delete the aliases that point at them as well
        #[arg(long)]
        force: bool,
        /// Say what would go, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show how much each input of a model counts
    Importance(WhichModel),
    /// Show what each input adds to the predictions of rows: exact Shapley values
    Explain(ExplainArgs),
    /// Write a model to a file: ours, LightGBM's text, ONNX, or an MLflow model folder
    Export(ExportModelArgs),
    /// Register a model of LightGBM (text), of XGBoost (JSON, UBJSON), of ONNX, or of another project
    Import {
        /// The name to register it under
        name: String,
        /// The file of the model
        file: PathBuf,
        /// Read the model and say what it is, register nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// A registered model, and which version of it.
#[derive(Debug, Args)]
pub(crate) struct WhichModel {
    /// The model
    pub(crate) name: String,
    /// A version or an alias [default: the newest version]
    #[arg(long, value_name = "VERSION|ALIAS")]
    pub(crate) version: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) model: WhichModel,
    /// The rows, with the model's inputs as columns
    #[arg(long, value_name = "QUERY")]
    pub(crate) sql: String,
    /// Explain at most N rows
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ExportModelArgs {
    #[command(flatten)]
    pub(crate) model: WhichModel,
    /// The format
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) to: ModelFormatArg,
    /// The file, or the folder for MLflow
    #[arg(long, value_name = "PATH")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelFormatArg {
    /// What icecore itself reads
    Icecore,
    /// LightGBM's text
    Lightgbm,
    /// A folder as MLflow makes them
    Mlflow,
    /// Open Neural Network Exchange
    Onnx,
}
