//! The requests and answers of Iceberg's REST protocol, as far as icecore uses it.

use std::collections::BTreeMap;

use iceberg::spec::{FormatVersion, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{Error, Result, TableName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::State;
use super::lent::{Lent, placed};
use crate::error::Context;

type Properties = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
pub(super) struct ConfigResponse {
    #[serde(default)]
    defaults: Properties,
    #[serde(default)]
    overrides: Properties,
}

impl ConfigResponse {
    /// A setting: the server's word comes first.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.overrides.get(name).or_else(|| self.defaults.get(name)).map(String::as_str)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct NamespacesResponse {
    pub(super) namespaces: Vec<Vec<String>>,
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NamespaceResponse {
    #[serde(default)]
    pub(super) properties: Option<Properties>,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateNamespace<'a> {
    pub(super) namespace: Vec<&'a str>,
    pub(super) properties: &'a Properties,
}

#[derive(Debug, Serialize)]
pub(super) struct UpdateNamespace<'a> {
    pub(super) removals: Vec<&'a String>,
    pub(super) updates: BTreeMap<&'a String, &'a String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct TablesResponse {
    pub(super) identifiers: Vec<Named>,
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) namespace: Vec<String>,
    pub(super) name: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Identifier<'a> {
    namespace: Vec<&'a str>,
    name: &'a str,
}

impl<'a> Identifier<'a> {
    pub(super) fn of(name: &'a TableName) -> Self {
        Self { namespace: name.namespace().split('.').collect(), name: name.table() }
    }
}

/// As much of a table as says where its metadata is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PointerResponse {
    metadata_location: Option<String>,
}

impl PointerResponse {
    pub(super) fn location(self, name: &TableName) -> Result<String> {
        self.metadata_location.ok_or_else(|| no_location(name))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LoadResponse {
    metadata_location: Option<String>,
    metadata: TableMetadata,
    #[serde(default)]
    config: Option<Properties>,
    #[serde(default)]
    storage_credentials: Option<Vec<Lent>>,
}

impl LoadResponse {
    pub(super) fn state(self, name: &TableName) -> Result<State> {
        let location = self.metadata_location.ok_or_else(|| no_location(name))?;
        let mut lent = self.storage_credentials.unwrap_or_default();
        // Servers of before there were prefixes put them among the table's settings.
        let config = self.config.unwrap_or_default();
        if lent.is_empty() && config.contains_key("s3.access-key-id") {
            lent.push(Lent::everywhere(config));
        }
        let lent = placed(lent, &self.metadata, &location);
        Ok(State { location, metadata: self.metadata, lent })
    }
}

fn no_location(name: &TableName) -> Error {
    Error::corrupt(format!("the catalog names no metadata file of table `{name}`"))
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CreateRequest<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    schema: Value,
    partition_spec: Value,
    write_order: Value,
    stage_create: bool,
    properties: Properties,
}

impl<'a> CreateRequest<'a> {
    pub(super) fn new(
        name: &'a TableName,
        location: Option<String>,
        metadata: &TableMetadata,
    ) -> Result<Self> {
        let cannot = || "cannot write a table's definition as JSON";
        let mut properties: Properties = metadata.properties().clone().into_iter().collect();
        if metadata.format_version() == FormatVersion::V3 {
            properties.insert("format-version".to_owned(), "3".to_owned());
        }
        Ok(Self {
            name: name.table(),
            location,
            schema: serde_json::to_value(metadata.current_schema()).context(cannot)?,
            partition_spec: serde_json::to_value(metadata.default_partition_spec())
                .context(cannot)?,
            write_order: serde_json::to_value(metadata.default_sort_order()).context(cannot)?,
            stage_create: false,
            properties,
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct CommitRequest<'a> {
    pub(super) identifier: Identifier<'a>,
    pub(super) requirements: &'a [TableRequirement],
    pub(super) updates: &'a [TableUpdate],
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CommitResponse {
    pub(super) metadata_location: String,
    pub(super) metadata: TableMetadata,
}

#[derive(Debug, Serialize)]
pub(super) struct RenameRequest<'a> {
    pub(super) source: Identifier<'a>,
    pub(super) destination: Identifier<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct RegisterRequest<'a> {
    pub(super) name: &'a str,
    pub(super) metadata_location: &'a str,
}

/// What a server says when it does not do what was asked.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorResponse {
    pub(super) error: ErrorModel,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum ErrorModel {
    Full {
        message: String,
        #[serde(rename = "type")]
        kind: String,
    },
    /// As OAuth says it.
    Short(String),
}

#[derive(Debug, Deserialize)]
pub(super) struct TokenResponse {
    pub(super) access_token: String,
    #[serde(default)]
    pub(super) expires_in: Option<u64>,
}
