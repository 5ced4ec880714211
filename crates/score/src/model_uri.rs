//! `models:/NAME/SELECTOR`, as MLflow writes it.

use std::fmt;
use std::str::FromStr;

use icecore_core::{Error, ModelSelector, Result};
use serde::{Deserialize, Serialize};

/// A reference to a registered model.
///
/// ```
/// use icecore_core::ModelSelector;
/// use icecore_score::ModelUri;
/// let uri: ModelUri = "models:/churn-prediction-gbm/Production".parse()?;
/// assert_eq!(uri.name, "churn-prediction-gbm");
/// assert_eq!(uri.selector, ModelSelector::Alias("Production".into()));
/// assert_eq!("models:/m/7".parse::<ModelUri>()?.selector, ModelSelector::Version(7));
/// # Ok::<(), icecore_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelUri {
    /// The model's name.
    pub name: String,
    /// Which version.
    pub selector: ModelSelector,
}

impl FromStr for ModelUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let error = || {
            Error::invalid(format!("`{text}` does not name a model")).with_help(
                "write `models:/NAME/VERSION`, `models:/NAME/ALIAS`, `models:/NAME@ALIAS` or `models:/NAME/latest`",
            )
        };
        let rest = text.strip_prefix("models:/").ok_or_else(error)?;
        let (name, selector) = rest
            .rsplit_once('@')
            .map(|(name, alias)| (name, ModelSelector::Alias(alias.to_owned())))
            .or_else(|| rest.rsplit_once('/').map(|(name, what)| (name, selector(what))))
            .ok_or_else(error)?;
        let empty = name.is_empty() || selector == ModelSelector::Alias(String::new());
        if empty { Err(error()) } else { Ok(Self { name: name.to_owned(), selector }) }
    }
}

fn selector(text: &str) -> ModelSelector {
    match text.parse() {
        Ok(version) => ModelSelector::Version(version),
        Err(_) if text == "latest" => ModelSelector::Latest,
        Err(_) => ModelSelector::Alias(text.to_owned()),
    }
}

impl fmt::Display for ModelUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.selector {
            ModelSelector::Latest => write!(f, "models:/{}/latest", self.name),
            ModelSelector::Version(version) => write!(f, "models:/{}/{version}", self.name),
            ModelSelector::Alias(alias) => write!(f, "models:/{}/{alias}", self.name),
        }
    }
}

impl TryFrom<String> for ModelUri {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ModelUri> for String {
    fn from(uri: ModelUri) -> Self {
        uri.to_string()
    }
}
