//! Tables of a catalog that speaks Iceberg's REST protocol: the server checks requirements, applies
//! updates and writes metadata; icecore writes everything that metadata names.

mod auth;
mod http;
mod lent;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use iceberg::spec::TableMetadata;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{Error, ErrorKind, Result, TableName, Timestamp};
use serde::Serialize;

use crate::error::Context;
use crate::ids::{Ids, new_uuid};
use crate::tables::Hidden;
pub(crate) use auth::Credentials;
pub(crate) use http::RestOptions;
use http::{Answer, Body, Delivery, Http};
use lent::Lent;
use wire::{
    CommitRequest, CommitResponse, ConfigResponse, CreateRequest, Identifier, LoadResponse,
    NamespacesResponse, TablesResponse,
};

/// Levels of namespaces that are listed.
const DEPTH_MAX: usize = 8;
/// Pages of a list, so that a server that repeats itself comes to an end.
const PAGES_MAX: usize = 10_000;

/// A connection to a REST catalog.
#[derive(Debug)]
pub(crate) struct RestCatalog {
    http: Http,
    ids: Arc<dyn Ids>,
    /// `/v1`, or `/v1/PREFIX`.
    root: String,
    /// Where new tables are put, if the client says so and not the server.
    base: Option<String>,
    /// The state of each table that was loaded last.
    marks: Mutex<HashMap<TableName, Mark>>,
}

/// A state of a table that is known.
#[derive(Debug, Clone)]
struct Mark {
    /// What the server calls it.
    etag: String,
    location: String,
    /// When other credentials are needed for its files, if some were lent.
    renewed_at: Option<Timestamp>,
}

/// What the server says about a table.
#[derive(Debug)]
pub(crate) enum Loaded {
    Missing,
    /// It is in the state of this metadata, which was loaded before.
    Same(String),
    New(Box<State>),
}

/// A state of a table.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) location: String,
    pub(crate) metadata: TableMetadata,
    /// Credentials for its files.
    pub(crate) lent: Vec<Lent>,
}

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Posted {
    Done(Box<State>),
    /// The table was in another state, or the name is taken: nothing happened.
    Refused,
    Failed(Error),
    Unknown(Error),
}

impl RestCatalog {
    /// Asks the server how it wants to be used.
    ///
    /// # Errors
    ///
    /// `Denied` if it lets the client not in, `Unavailable` if it does not answer.
    pub(crate) async fn open(
        options: RestOptions,
        warehouse: &str,
        base: Option<String>,
    ) -> Result<Self> {
        let ids = Arc::clone(&options.ids);
        let http = Http::new(options)?;
        let path = match warehouse {
            "" => "/v1/config".to_owned(),
            name => format!("/v1/config?warehouse={}", escaped(name)),
        };
        let config: ConfigResponse = http.get_json(&path).await?.ok_or_else(|| {
            Error::unavailable(format!("`{}` is no REST catalog", http.shown()))
                .with_note("it has no `/v1/config`")
        })?;
        let prefix = config.value("prefix").filter(|prefix| !prefix.is_empty());
        let root = match prefix {
            Some(prefix) => {
                let parts: Vec<String> = prefix.split('/').map(escaped).collect();
                format!("/v1/{}", parts.join("/"))
            }
            None => "/v1".to_owned(),
        };
        Ok(Self { http, ids, root, base, marks: Mutex::default() })
    }

    fn namespace_path(&self, namespace: &str) -> String {
        let levels: Vec<&str> = namespace.split('.').collect();
        format!("{}/namespaces/{}", self.root, escaped(&levels.join("\u{1f}")))
    }

    fn table_path(&self, name: &TableName) -> String {
        format!("{}/tables/{}", self.namespace_path(name.namespace()), escaped(name.table()))
    }

    /// The tables, in order of name.
    pub(crate) async fn list(&self, hidden: Hidden) -> Result<Vec<TableName>> {
        let mut tables = Vec::new();
        for namespace in self.namespace_names().await? {
            let path = format!("{}/tables", self.namespace_path(&namespace));
            let pages =
                self.pages(&path, |page: TablesResponse| (page.identifiers, page.next_page_token));
            let pages = match pages.await {
                Err(error) if hidden.passes(&error) => {
                    tracing::warn!(namespace, %error, "cannot see the tables of a namespace");
                    continue;
                }
                pages => pages?,
            };
            for found in pages.unwrap_or_default() {
                let text = format!("{}.{}", found.namespace.join("."), found.name);
                match TableName::parse(&text) {
                    Ok(name) if name.table() == found.name => tables.push(name),
                    _ => tracing::warn!(table = text, "skipped a table whose name has no form"),
                }
            }
        }
        tables.sort();
        Ok(tables)
    }

    /// Every item of a list that comes in pages; `None` where there is no such list.
    async fn pages<P: serde::de::DeserializeOwned, T>(
        &self,
        path: &str,
        open: impl Fn(P) -> (Vec<T>, Option<String>),
    ) -> Result<Option<Vec<T>>> {
        let (mut items, mut token) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let mark = if path.contains('?') { '&' } else { '?' };
            let page = match &token {
                Some(token) => format!("{path}{mark}pageToken={}", escaped(token)),
                None => path.to_owned(),
            };
            let Some(page) = self.http.get_json(&page).await? else { return Ok(None) };
            let (more, next) = open(page);
            items.extend(more);
            token = next.filter(|next| !next.is_empty());
            if token.is_none() {
                return Ok(Some(items));
            }
        }
        Err(Error::corrupt(format!("the list `{path}` of `{}` does not end", self.http.shown())))
    }

    /// The names of all namespaces, with those inside of others.
    pub(crate) async fn namespace_names(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut level = vec![Vec::<String>::new()];
        for _ in 0..DEPTH_MAX {
            let mut next = Vec::new();
            for parent in level {
                let mut path = format!("{}/namespaces", self.root);
                if !parent.is_empty() {
                    path.push_str(&format!("?parent={}", escaped(&parent.join("\u{1f}"))));
                }
                let pages = self.pages(&path, |page: NamespacesResponse| {
                    (page.namespaces, page.next_page_token)
                });
                // A server without namespaces in namespaces may refuse to look for some.
                let children = match pages.await {
                    Ok(children) => children.unwrap_or_default(),
                    Err(error) if parent.is_empty() => return Err(error),
                    Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
                    Err(_) => Vec::new(),
                };
                for child in children.into_iter().filter(|child| child.len() == parent.len() + 1) {
                    if found.insert(child.join(".")) {
                        next.push(child);
                    }
                }
            }
            level = next;
        }
        Ok(found)
    }

    /// The properties of a namespace, or `None` where there is none.
    pub(crate) async fn namespace(&self, name: &str) -> Result<Option<BTreeMap<String, String>>> {
        let found: Option<wire::NamespaceResponse> =
            self.http.get_json(&self.namespace_path(name)).await?;
        Ok(found.map(|found| found.properties.unwrap_or_default()))
    }

    /// Creates a namespace, or changes its properties where it is there.
    pub(crate) async fn put_namespace(
        &self,
        name: &str,
        properties: &BTreeMap<String, String>,
    ) -> Result<()> {
        let levels: Vec<&str> = name.split('.').collect();
        let create = wire::CreateNamespace { namespace: levels, properties };
        let path = format!("{}/namespaces", self.root);
        match self.post(&path, &create).await? {
            Delivery::Answered(answer) if answer.status == 409 => {}
            sent => return self.http.success(sent).map(|_| ()),
        }
        let old = self.namespace(name).await?.unwrap_or_default();
        let removals: Vec<&String> =
            old.keys().filter(|key| !properties.contains_key(*key)).collect();
        let updates: BTreeMap<&String, &String> =
            properties.iter().filter(|(key, value)| old.get(*key) != Some(value)).collect();
        if removals.is_empty() && updates.is_empty() {
            return Ok(());
        }
        let path = format!("{}/properties", self.namespace_path(name));
        let change = wire::UpdateNamespace { removals, updates };
        let sent = self.post(&path, &change).await?;
        self.http.success(sent).map(|_| ())
    }

    /// Removes a namespace and says whether there was one.
    pub(crate) async fn remove_namespace(&self, name: &str) -> Result<bool> {
        match self.http.delete(&self.namespace_path(name)).await {
            Delivery::Answered(answer) if answer.status == 404 => Ok(false),
            sent => self.http.success(sent).map(|_| true),
        }
    }

    /// The table as it is now. A state that was loaded before is not sent again where the server
    /// knows how to say so, unless it is `afresh` or the credentials that came with it are old:
    /// others come only with a state.
    pub(crate) async fn load(
        &self,
        name: &TableName,
        afresh: Afresh,
        now: Timestamp,
    ) -> Result<Loaded> {
        let mark = match afresh {
            Afresh::No => self.marks().get(name).cloned(),
            Afresh::Yes => None,
        };
        let mark = mark.filter(|mark| mark.renewed_at.is_none_or(|at| now < at));
        let known = mark.as_ref().map(|mark| mark.etag.as_str());
        let answer = self.http.get_table(&self.table_path(name), known).await?;
        match (answer.status, mark) {
            (404, _) => return Ok(Loaded::Missing),
            (304, Some(mark)) => return Ok(Loaded::Same(mark.location)),
            _ => {}
        }
        let etag = answer.etag.clone();
        let loaded: LoadResponse = self.http.parse(&answer)?;
        let state = loaded.state(name)?;
        if let Some(etag) = etag {
            let location = state.location.clone();
            let renewed_at = state.lent.iter().map(|lent| lent.renewed_at(now)).min();
            self.marks().insert(name.clone(), Mark { etag, location, renewed_at });
        }
        Ok(Loaded::New(Box::new(state)))
    }

    /// Where the metadata of a table is, or `None` where there is no such table. Little more than
    /// that is sent, and no credentials: whoever asks it asks it of every table.
    pub(crate) async fn pointer(&self, name: &TableName) -> Result<Option<String>> {
        let path = format!("{}?snapshots=refs", self.table_path(name));
        let found: Option<wire::PointerResponse> = self.http.get_json(&path).await?;
        found.map(|found| found.location(name)).transpose()
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, HashMap<TableName, Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a table with the columns and so on of this metadata.
    pub(crate) async fn create(&self, name: &TableName, metadata: &TableMetadata) -> Posted {
        let namespace = name.namespace();
        match self.namespace(namespace).await {
            Ok(Some(_)) => {}
            Ok(None) => {
                if let Err(error) = self.put_namespace(namespace, &BTreeMap::new()).await {
                    return Posted::Failed(error);
                }
            }
            Err(error) => return Posted::Failed(error),
        }
        let location = self.base.is_some().then(|| metadata.location().to_owned());
        let request = match CreateRequest::new(name, location, metadata) {
            Ok(request) => request,
            Err(error) => return Posted::Failed(error),
        };
        let path = format!("{}/tables", self.namespace_path(namespace));
        let sent = match self.post(&path, &request).await {
            Ok(sent) => sent,
            Err(error) => return Posted::Failed(error),
        };
        self.posted(sent, |answer| self.http.parse::<LoadResponse>(answer)?.state(name))
    }

    /// Applies updates to a table if it meets the requirements.
    pub(crate) async fn commit(
        &self,
        name: &TableName,
        requirements: &[TableRequirement],
        updates: &[TableUpdate],
    ) -> Posted {
        let request = CommitRequest { identifier: Identifier::of(name), requirements, updates };
        let sent = match self.post(&self.table_path(name), &request).await {
            Ok(sent) => sent,
            Err(error) => return Posted::Failed(error),
        };
        self.posted(sent, |answer| {
            let done: CommitResponse = self.http.parse(answer)?;
            Ok(State {
                location: done.metadata_location,
                metadata: done.metadata,
                lent: Vec::new(),
            })
        })
    }

    /// Sorts an answer by what it says about whether something happened.
    fn posted(&self, sent: Delivery, read: impl Fn(&Answer) -> Result<State>) -> Posted {
        match sent {
            Delivery::NotSent(error) => Posted::Failed(error),
            Delivery::Lost(error) => Posted::Unknown(error),
            Delivery::Answered(answer) => match answer.status {
                200..300 => match read(&answer) {
                    Ok(state) => Posted::Done(Box::new(state)),
                    Err(error) => Posted::Unknown(error),
                },
                409 => Posted::Refused,
                // Whatever stands between may answer so while the server goes on.
                500.. => Posted::Unknown(self.http.refusal(&answer)),
                _ => Posted::Failed(self.http.refusal(&answer)),
            },
        }
    }

    /// Drops a table and says whether there was one. Its files stay.
    pub(crate) async fn remove(&self, name: &TableName) -> Result<bool> {
        let path = format!("{}?purgeRequested=false", self.table_path(name));
        self.marks().remove(name);
        match self.http.delete(&path).await {
            Delivery::Answered(answer) if answer.status == 404 => Ok(false),
            sent => self.http.success(sent).map(|_| true),
        }
    }

    /// Gives a table another name.
    pub(crate) async fn rename(&self, from: &TableName, to: &TableName) -> Result<()> {
        let request =
            wire::RenameRequest { source: Identifier::of(from), destination: Identifier::of(to) };
        let sent = self.post(&format!("{}/tables/rename", self.root), &request).await?;
        self.http.success(sent).map(|_| ())
    }

    /// Enters a table whose metadata exists.
    pub(crate) async fn register(&self, name: &TableName, metadata_location: &str) -> Result<()> {
        let path = format!("{}/register", self.namespace_path(name.namespace()));
        let request = wire::RegisterRequest { name: name.table(), metadata_location };
        let sent = self.post(&path, &request).await?;
        self.http.success(sent).map(|_| ())
    }

    /// Posts a change. A server that got it twice does it once.
    async fn post(&self, path: &str, request: &(impl Serialize + Sync)) -> Result<Delivery> {
        let json = serde_json::to_vec(request).context(|| "cannot write a request as JSON")?;
        let key = new_uuid(&*self.ids).to_string();
        Ok(self.http.post(path, Body { json, key }).await)
    }
}

/// Whether what is known already will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afresh {
    No,
    Yes,
}

/// A part of a path or a query, with everything escaped that could mean something there.
fn escaped(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(byte.into());
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
