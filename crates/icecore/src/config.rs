//! Settings: environment over `icecore.toml` over defaults.

mod catalog;
mod environment;
mod push;
mod secret;
mod serve;
mod storage;
mod tracking;

use std::collections::BTreeMap;
use std::path::Path;

use icecore_core::{Error, Result, Span, parse_toml};
use serde::{Deserialize, Serialize};

pub use catalog::CatalogConfig;
pub(crate) use environment::expanded;
pub use push::PushConfig;
pub use secret::Secret;
pub use serve::{LogConfig, ServeConfig, TlsConfig, TokenConfig};
pub use storage::StorageConfig;
pub use tracking::TrackingConfig;

/// The name of a project's settings file.
pub(crate) const FILE_NAME: &str = "icecore.toml";

/// A project's settings. Every one has a default, so that an empty file is a working project.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Where tables are.
    pub catalog: CatalogConfig,
    /// How their files are reached.
    pub storage: StorageConfig,
    /// Where values are that must be served fast.
    pub online: OnlineConfig,
    /// Where runs and models are recorded.
    pub tracking: TrackingConfig,
    /// How scores are served.
    pub serve: ServeConfig,
    /// How events are taken that clients push.
    pub push: PushConfig,
    /// How training sets and features are served to Arrow Flight clients.
    pub flight: FlightConfig,
    /// How queries run.
    pub engine: EngineConfig,
    /// How SQL models are read and run.
    pub models: ModelsConfig,
}

/// Where values are that must be served fast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OnlineConfig {
    /// The store: `embedded:DIRECTORY?access=shared` or `redis://HOST:PORT/DB`.
    pub url: String,
    /// How much memory a service takes for what it read a moment ago, such as `64MiB`; `0` for none.
    pub cache: String,
    /// How old such a value may be.
    pub cache_ttl: Span,
}

impl Default for OnlineConfig {
    fn default() -> Self {
        // A service holds the store while a nightly job fills it.
        Self {
            url: "embedded:.icecore/online?access=shared".to_owned(),
            cache: "64MiB".to_owned(),
            cache_ttl: Span::from_micros(1_000_000),
        }
    }
}

/// How training sets and features are served to Arrow Flight clients, with the token and the
/// certificates of [`ServeConfig`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlightConfig {
    /// The address to listen on. Port 0 picks one.
    pub listen: String,
}

impl Default for FlightConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8815".to_owned() }
    }
}

/// How SQL models are read and run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelsConfig {
    /// The namespace of models that name none. Absent: the schema of a dbt project's profile, and
    /// without one the first folder under `models/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// How many models are built at once, where they do not need each other.
    pub threads: usize,
    /// The variables of the environment that `env_var` may see.
    pub env_vars: Vec<String>,
    /// Values of `var`.
    pub vars: serde_json::Map<String, serde_json::Value>,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self { schema: None, threads: 4, env_vars: Vec::new(), vars: serde_json::Map::new() }
    }
}

/// How queries run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Threads; 0 means one for each core.
    pub threads: usize,
    /// Memory for sorts, joins and aggregates; beyond it they spill to disk. Such as `4GiB`.
    pub memory_limit: String,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { threads: 0, memory_limit: "4GiB".to_owned() }
    }
}

impl Config {
    /// Reads the settings of the project in `dir`, with `environment` laid over them:
    /// `ICECORE_SECTION__KEY` sets a key, `ICECORE_SECTION__KEY_FILE` reads it from a file, and
    /// `${NAME}` in a value of the file stands for a variable.
    ///
    /// # Errors
    ///
    /// `NotFound` if `dir` has no settings file, `InvalidInput` with line and column for a mistake.
    pub fn load(dir: &Path, environment: &BTreeMap<String, String>) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Error::not_found(format!("there is no project in `{}`: it has no `{FILE_NAME}`", dir.display()))
                .with_source(error)
                .with_help("make one with `icecore init DIR` or `icecore demo --dir DIR`, or name another with `--project DIR`")
        })?;
        Self::parse(&path.display().to_string(), &text, environment)
    }

    /// Parses settings.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with line and column for a mistake.
    pub fn parse(file: &str, text: &str, environment: &BTreeMap<String, String>) -> Result<Self> {
        // The file alone first: its mistakes have places.
        let _: Self = parse_toml(file, text)?;
        let mut table: toml::Table = parse_toml(file, text)?;
        for value in table.iter_mut().map(|(_, value)| value) {
            environment::expand(value, environment)?;
        }
        environment::overlay(&mut table, environment)?;
        let config: Self = table.try_into().map_err(|error: toml::de::Error| {
            Error::invalid(format!("cannot apply the environment: {}", error.message()))
        })?;
        config.engine.memory_bytes()?;
        config.online.cache_bytes()?;
        config.storage.options()?;
        config.serve.check_limits()?;
        config.serve.log.as_ref().map_or(Ok(()), |log| log.options().map(|_| ()))?;
        Ok(config)
    }
}

impl OnlineConfig {
    /// The size of the cache in bytes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is not a size.
    pub fn cache_bytes(&self) -> Result<u64> {
        if self.cache.trim() == "0" { Ok(0) } else { size(&self.cache) }
    }
}

impl EngineConfig {
    /// The memory limit in bytes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is not a size of at least 64 MiB.
    pub fn memory_bytes(&self) -> Result<usize> {
        let bytes = size(&self.memory_limit).ok().and_then(|bytes| usize::try_from(bytes).ok());
        bytes.filter(|bytes| *bytes >= 64 << 20).ok_or_else(|| {
            Error::invalid(format!("`{}` is not a memory limit", self.memory_limit.trim()))
                .with_help("write at least `64MiB`, for example `4GiB`")
        })
    }
}

/// A size such as `64MiB`, in bytes.
fn size(text: &str) -> Result<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[split..].trim() {
        "" | "B" => 1_u64,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    let bytes = text[..split].parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| {
        Error::invalid(format!("`{text}` is not a size")).with_help("write for example `64MiB`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config> {
        let environment =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::parse("icecore.toml", text, &environment)
    }

    #[test]
    fn an_empty_file_is_a_working_project() {
        let config = parse("", &[]).unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.engine.memory_bytes().unwrap(), 4 << 30);
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let text = "[online]\nurl = 'redis://${HOST}:6379/${DB}'\n[engine]\nthreads = 4\n";
        let set = [("HOST", "cache"), ("DB", "${HOST}"), ("ICECORE_ENGINE__THREADS", "2")];
        let config = parse(text, &set).unwrap();
        assert_eq!(config.online.url, "redis://cache:6379/${HOST}");
        assert_eq!(config.engine.threads, 2);
    }

    #[test]
    fn secrets_are_read_and_never_shown() {
        let text = "[catalog]\nuri = 'postgres://me@db/lake'\n[storage]\nazure_key = 'k3y'\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "123456\n").unwrap();
        let path = file.path().to_str().unwrap();
        let set = [
            ("ICECORE_CATALOG__PASSWORD_FILE", path),
            ("ICECORE_CATALOG__CREDENTIAL", "me:hunter2"),
            ("ICECORE_STORAGE__ALLOW_HTTP", "true"),
        ];
        let config = parse(text, &set).unwrap();
        // It looks like a number, and is a password all the same.
        assert_eq!(config.catalog.password.as_ref().unwrap().reveal(), "123456");
        assert_eq!(config.catalog.credential.as_ref().unwrap().reveal(), "me:hunter2");
        assert!(config.storage.allow_http);
        let shown = format!("{config:?} {}", toml::to_string(&config).unwrap());
        for secret in ["123456", "hunter2", "k3y"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    // The page of settings names every one.
    #[test]
    fn every_setting_is_documented() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/settings.md");
        let page = std::fs::read_to_string(page).unwrap();
        let keys = |text: &str| -> Vec<String> {
            let error = parse(text, &[]).unwrap_err();
            let keys = error.notes()[0].strip_prefix("keys: ").unwrap();
            keys.split(", ").map(str::to_owned).collect()
        };
        for section in keys("nothing = 1") {
            assert!(page.contains(&format!("`[{section}]`")), "{section}");
            let of_section = keys(&format!("[{section}]\nnothing = 1"));
            assert!(!of_section.is_empty());
            for key in of_section {
                let spelled = [format!("`{key}`"), format!("`{section}.{key}`")];
                assert!(spelled.iter().any(|key| page.contains(key)), "{section}.{key}");
            }
        }
    }

    #[test]
    fn the_file_of_a_new_project_has_the_defaults() {
        let text = include_str!("../templates/icecore.toml");
        assert_eq!(parse(text, &[]).unwrap(), Config::default());
        // What is commented out is the default.
        let lines = text.lines().map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.contains(" = ") && !setting.contains("endpoint") => setting,
            _ => line,
        });
        let lines = lines.filter(|line| !line.starts_with("region"));
        let set = lines.collect::<Vec<_>>().join("\n");
        assert_eq!(parse(&set, &[]).unwrap(), Config::default());
    }

    #[test]
    fn limits_are_sizes() {
        let config = parse("[storage]\nmanifest_limit = '1 GiB'", &[]).unwrap();
        assert_eq!(config.storage.options().unwrap().limits.manifest_bytes, 1 << 30);
        assert!(parse("[storage]\nmanifest_limit = 'a lot'", &[]).is_err());
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let error = parse("[engine]\nthreds = 4\n", &[]).unwrap_err();
        let place = error.location().unwrap();
        assert_eq!((place.line, place.column), (2, 1), "{error}");
        assert_eq!(error.help(), Some("did you mean `threads`?"));
        assert!(parse("[online]\nurl = '${NOBODY_SET_THIS}'", &[]).is_err());
        assert!(parse("[engine]\nmemory_limit = '4 bananas'", &[]).is_err());
    }
}
