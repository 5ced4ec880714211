//! The catalog as other programs see it that are written over the `iceberg` crate.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::spec::TableMetadataBuilder;
use iceberg::table::Table;
use iceberg::{
    Catalog, Namespace, NamespaceIdent, Result, TableCommit, TableCreation, TableIdent, TableUpdate,
};
use icecore_core::{Error, ErrorKind, TableName};

use super::IcebergCatalog;
use crate::ids::new_uuid;
use crate::tables::{Collided, Created, Open, Planned, Stored};

/// Looks at what became of a commit whose answer was lost.
const LOOKS_MAX: u32 = 8;
const PAUSE: Duration = Duration::from_millis(50);

impl IcebergCatalog {
    /// This catalog for programs that are written over the `iceberg` crate: its transactions commit
    /// through the same compare-and-swap as icecore's own writers do.
    #[must_use]
    pub fn as_iceberg(&self) -> Arc<dyn Catalog> {
        Arc::new(Foreign { catalog: self.clone() })
    }

    /// What became of updates whose answer was lost.
    async fn look(&self, name: &TableName, open: &Open, added: &[i64]) -> Result<Option<Table>> {
        let tables = self.tables_now();
        for _ in 0..LOOKS_MAX {
            tables.timer().sleep(PAUSE).await;
            let Ok(Some(table)) = tables.find(name).await else { continue };
            let (metadata, location) = (table.metadata(), table.metadata_location());
            let has = |id: &i64| metadata.snapshot_by_id(*id).is_some();
            let location = location.unwrap_or_default();
            let is_there = !added.is_empty() && added.iter().all(has);
            if is_there || open.is_in(metadata, location) {
                return Ok(Some(table));
            }
            if !open.may_come(metadata, location) {
                return Ok(None);
            }
        }
        Err(iceberg::Error::new(
            iceberg::ErrorKind::Unexpected,
            format!("nobody knows whether the commit to `{name}` is stored"),
        ))
    }
}

/// A catalog in the terms of another crate.
#[derive(Debug)]
struct Foreign {
    catalog: IcebergCatalog,
}

/// Our errors in the terms of another crate. A conflict may be tried again.
fn foreign(error: Error) -> iceberg::Error {
    use iceberg::ErrorKind as Kind;
    let kind = match error.kind() {
        ErrorKind::NotFound => Kind::TableNotFound,
        ErrorKind::AlreadyExists => Kind::TableAlreadyExists,
        ErrorKind::Conflict => Kind::CatalogCommitConflicts,
        ErrorKind::Unsupported => Kind::FeatureUnsupported,
        ErrorKind::DataCorrupt | ErrorKind::InvalidInput => Kind::DataInvalid,
        _ => Kind::Unexpected,
    };
    iceberg::Error::new(kind, error.to_string())
        .with_retryable(error.kind() == ErrorKind::Conflict)
        .with_source(error)
}

fn conflict(name: &TableName) -> iceberg::Error {
    foreign(Error::new(ErrorKind::Conflict, format!("another writer committed to `{name}` first")))
}

fn name_of(ident: &TableIdent) -> Result<TableName> {
    let text = format!("{}.{}", ident.namespace().as_ref().join("."), ident.name());
    match TableName::parse(&text) {
        Ok(name) if name.table() == ident.name() => Ok(name),
        Ok(_) => Err(foreign(Error::invalid(format!("`{text}` is no name of a table")))),
        Err(error) => Err(foreign(error)),
    }
}

fn ident_of(name: &TableName) -> Result<TableIdent> {
    let namespace = NamespaceIdent::from_strs(name.namespace().split('.'))?;
    Ok(TableIdent::new(namespace, name.table().to_owned()))
}

fn no_namespace(namespace: &NamespaceIdent) -> iceberg::Error {
    let shown = namespace.as_ref().join(".");
    let message = format!("there is no namespace `{shown}`");
    iceberg::Error::new(iceberg::ErrorKind::NamespaceNotFound, message)
}

impl Foreign {
    async fn properties(
        &self,
        namespace: &NamespaceIdent,
    ) -> Result<Option<BTreeMap<String, String>>> {
        let mut all = self.catalog.tables_now().namespaces().await.map_err(foreign)?;
        Ok(all.remove(&namespace.as_ref().join(".")))
    }

    async fn put(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        let properties: BTreeMap<String, String> = properties.into_iter().collect();
        let name = namespace.as_ref().join(".");
        self.catalog.tables_now().put_namespace(&name, &properties).await.map_err(foreign)
    }
}

#[async_trait]
impl Catalog for Foreign {
    async fn list_namespaces(
        &self,
        parent: Option<&NamespaceIdent>,
    ) -> Result<Vec<NamespaceIdent>> {
        let all = self.catalog.tables_now().namespaces().await.map_err(foreign)?;
        let above = parent.map(|parent| parent.as_ref().clone()).unwrap_or_default();
        let mut found: Vec<NamespaceIdent> = Vec::new();
        for name in all.keys() {
            let parts: Vec<String> = name.split('.').map(str::to_owned).collect();
            // A namespace inside of one that nobody made shows that one.
            if parts.starts_with(&above) && parts.len() > above.len() {
                let child = NamespaceIdent::from_strs(&parts[..=above.len()])?;
                if !found.contains(&child) {
                    found.push(child);
                }
            }
        }
        Ok(found)
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        if self.properties(namespace).await?.is_some() {
            let message = format!("there is a namespace `{}`", namespace.as_ref().join("."));
            let kind = iceberg::ErrorKind::NamespaceAlreadyExists;
            return Err(iceberg::Error::new(kind, message));
        }
        self.put(namespace, properties.clone()).await?;
        Ok(Namespace::with_properties(namespace.clone(), properties))
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        match self.properties(namespace).await? {
            Some(found) => {
                Ok(Namespace::with_properties(namespace.clone(), found.into_iter().collect()))
            }
            None => Err(no_namespace(namespace)),
        }
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        Ok(self.properties(namespace).await?.is_some())
    }

    async fn update_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        match self.properties(namespace).await? {
            Some(_) => self.put(namespace, properties).await,
            None => Err(no_namespace(namespace)),
        }
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        let name = namespace.as_ref().join(".");
        if !self.list_tables(namespace).await?.is_empty() {
            return Err(foreign(
                Error::invalid(format!("namespace `{name}` holds tables"))
                    .with_help("drop its tables first"),
            ));
        }
        let was_there = self.catalog.tables_now().remove_namespace(&name).await.map_err(foreign)?;
        if was_there { Ok(()) } else { Err(no_namespace(namespace)) }
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        if self.properties(namespace).await?.is_none() {
            return Err(no_namespace(namespace));
        }
        let name = namespace.as_ref().join(".");
        let tables = self.catalog.tables_now().list().await.map_err(foreign)?;
        tables.iter().filter(|table| table.namespace() == name).map(ident_of).collect()
    }

    async fn create_table(
        &self,
        namespace: &NamespaceIdent,
        creation: TableCreation,
    ) -> Result<Table> {
        let name = name_of(&TableIdent::new(namespace.clone(), creation.name.clone()))?;
        if self.properties(namespace).await?.is_none() {
            return Err(no_namespace(namespace));
        }
        let mut creation = creation;
        if creation.location.is_none() {
            let location = self.catalog.new_location(&name).await.map_err(foreign)?;
            creation.location = Some(location);
        }
        let tables = self.catalog.tables_now();
        let uuid = new_uuid(&**tables.ids());
        let built = TableMetadataBuilder::from_table_creation(creation)?.assign_uuid(uuid);
        match tables.create(&name, built.build()?.metadata).await.map_err(foreign)? {
            Created::Done => tables.load(&name).await.map_err(foreign),
            Created::Taken => Err(foreign(Error::new(
                ErrorKind::AlreadyExists,
                format!("there is a table `{name}`"),
            ))),
        }
    }

    async fn load_table(&self, table: &TableIdent) -> Result<Table> {
        self.catalog.tables_now().load(&name_of(table)?).await.map_err(foreign)
    }

    async fn drop_table(&self, table: &TableIdent) -> Result<()> {
        self.catalog.drop_table(&name_of(table)?).await.map(|_| ()).map_err(foreign)
    }

    /// Files of a table may be those of another as well, which only a check of both can tell.
    async fn purge_table(&self, table: &TableIdent) -> Result<()> {
        Err(foreign(
            Error::unsupported(format!("icecore does not delete the files of `{}`", table.name()))
                .with_help("drop the table, and delete its directory once nobody needs it"),
        ))
    }

    async fn table_exists(&self, table: &TableIdent) -> Result<bool> {
        let found = self.catalog.tables_now().pointer(&name_of(table)?).await;
        found.map(|location| location.is_some()).map_err(foreign)
    }

    async fn rename_table(&self, src: &TableIdent, dest: &TableIdent) -> Result<()> {
        let (from, to) = (name_of(src)?, name_of(dest)?);
        self.catalog.tables_now().rename(&from, &to).await.map_err(foreign)
    }

    async fn register_table(&self, table: &TableIdent, location: String) -> Result<Table> {
        let (name, tables) = (name_of(table)?, self.catalog.tables_now());
        tables.register(&name, &location).await.map_err(foreign)?;
        tables.load(&name).await.map_err(foreign)
    }

    async fn update_table(&self, mut commit: TableCommit) -> Result<Table> {
        let name = name_of(commit.identifier())?;
        let (requirements, updates) = (commit.take_requirements(), commit.take_updates());
        let added: Vec<i64> = updates
            .iter()
            .filter_map(|update| match update {
                TableUpdate::AddSnapshot { snapshot } => Some(snapshot.snapshot_id()),
                _ => None,
            })
            .collect();
        let tables = self.catalog.tables_now();
        let turn = tables.turn(&name);
        let _turn = turn.lock().await;
        let _place = tables.queue(&name, Collided::No).await;
        let head = tables.load(&name).await.map_err(foreign)?;
        let attempt = new_uuid(&**tables.ids()).to_string();
        let planned =
            Planned { name: &name, head: &head, requirements, updates, attempt: &attempt };
        match tables.commit(planned).await.map_err(foreign)? {
            Stored::Done(table) => Ok(table),
            Stored::Moved => Err(conflict(&name)),
            Stored::Failed(error) => Err(foreign(error)),
            Stored::Unknown(error, open) => {
                tracing::warn!(table = %name, %error, "the answer to a commit was lost");
                match self.catalog.look(&name, &open, &added).await? {
                    Some(table) => Ok(table),
                    None => Err(conflict(&name)),
                }
            }
        }
    }
}
