//! Who knows which tables there are: a database of pointers, or a catalog behind a protocol.

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, Result, TableName};

use super::Tables;
use crate::pointer::{PointerStore, Swap, taken};
use crate::rest::{Afresh, Loaded, Posted, RestCatalog, State};

/// How often a rename or a drop meets a commit before it gives up.
const TRIES: usize = 32;

/// Who knows which tables there are.
#[derive(Debug)]
pub(crate) enum Backend {
    /// A database of pointers: icecore writes metadata, and swaps.
    Pointers(Arc<dyn PointerStore>),
    /// A catalog that writes metadata itself.
    Rest(Box<RestCatalog>),
}

/// What becomes of what the client may not look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hidden {
    /// It is an error.
    Fails,
    /// It is passed over, with a warning.
    IsSkipped,
}

impl Hidden {
    /// Whether an error says that something is hidden, and that is to be passed over.
    pub(crate) fn passes(self, error: &Error) -> bool {
        self == Self::IsSkipped && error.kind() == ErrorKind::Denied
    }
}

/// What became of a new table.
#[derive(Debug)]
pub(crate) enum Created {
    Done,
    /// The name is taken.
    Taken,
}

/// Namespaces and their properties.
pub(crate) type Namespaces = BTreeMap<String, BTreeMap<String, String>>;

impl Tables {
    /// The tables, in order of name.
    pub(crate) async fn list(&self) -> Result<Vec<TableName>> {
        self.list_of(Hidden::Fails).await
    }

    /// The tables, in order of name, with or without those of namespaces that are hidden.
    pub(crate) async fn list_of(&self, hidden: Hidden) -> Result<Vec<TableName>> {
        match &self.backend {
            Backend::Pointers(pointers) => pointers.list().await,
            Backend::Rest(rest) => rest.list(hidden).await,
        }
    }

    /// Whether a server has the tables.
    pub(crate) const fn is_remote(&self) -> bool {
        matches!(self.backend, Backend::Rest(_))
    }

    /// Where a table's metadata is, or `None` where there is no such table.
    pub(crate) async fn pointer(&self, name: &TableName) -> Result<Option<String>> {
        match &self.backend {
            Backend::Pointers(pointers) => pointers.find(name).await,
            Backend::Rest(rest) => rest.pointer(name).await,
        }
    }

    /// The table as it is now, or `None` where there is none.
    pub(crate) async fn find(&self, name: &TableName) -> Result<Option<Table>> {
        let pointers = match &self.backend {
            Backend::Pointers(pointers) => pointers,
            Backend::Rest(rest) => return self.find_by_rest(rest, name).await,
        };
        let Some(location) = pointers.find(name).await? else { return Ok(None) };
        if let Some(table) = self.cache.get(name, &location) {
            return Ok(Some(table));
        }
        let metadata = self.files.read_metadata(&location).await?;
        let table = self.build(name, metadata, &location)?;
        self.cache.insert(&location, &table);
        Ok(Some(table))
    }

    async fn find_by_rest(&self, rest: &RestCatalog, name: &TableName) -> Result<Option<Table>> {
        let now = self.clock.now();
        let mut loaded = rest.load(name, Afresh::No, now).await?;
        if let Loaded::Same(location) = &loaded {
            if let Some(table) = self.cache.get(name, location) {
                return Ok(Some(table));
            }
            loaded = rest.load(name, Afresh::Yes, now).await?;
        }
        match loaded {
            Loaded::New(state) => self.accept(name, *state).map(Some),
            Loaded::Missing => Ok(None),
            Loaded::Same(_) => {
                Err(Error::corrupt(format!("the catalog does not say what table `{name}` is")))
            }
        }
    }

    /// The table that a catalog says to be in this state.
    pub(super) fn accept(&self, name: &TableName, state: State) -> Result<Table> {
        let mut places = Vec::with_capacity(state.lent.len());
        for lent in state.lent {
            // Credentials for no place of files help nobody, and keep nobody from reading.
            if let Err(error) = self.files.lend(&lent.prefix, lent.config) {
                tracing::warn!(table = %name, %error, "the catalog lends what is of no use");
            }
            places.push(lent.prefix);
        }
        self.files.take_back(state.metadata.location(), &places);
        if let Some(table) = self.cache.get(name, &state.location) {
            return Ok(table);
        }
        let table = self.build(name, state.metadata, &state.location)?;
        self.cache.insert(&state.location, &table);
        Ok(table)
    }

    /// Enters a new table.
    ///
    /// # Errors
    ///
    /// `OutcomeUnknown` if nobody knows whether it is there: creating it again does no harm.
    pub(crate) async fn create(
        &self,
        name: &TableName,
        metadata: TableMetadata,
    ) -> Result<Created> {
        let lost = |error: Error| {
            Error::new(
                ErrorKind::OutcomeUnknown,
                format!("nobody knows whether table `{name}` was created"),
            )
            .with_help("create it again: that does no harm")
            .with_source(error)
        };
        let pointers = match &self.backend {
            Backend::Pointers(pointers) => pointers,
            Backend::Rest(rest) => {
                return match rest.create(name, &metadata).await {
                    Posted::Done(state) => self.accept(name, *state).map(|_| Created::Done),
                    Posted::Refused => Ok(Created::Taken),
                    Posted::Failed(error) => Err(error),
                    // Whoever made it, it is there.
                    Posted::Unknown(error) => match self.find(name).await {
                        Ok(Some(_)) => Ok(Created::Taken),
                        _ => Err(lost(error)),
                    },
                };
            }
        };
        let next = self.write_first(name, metadata).await?;
        let failed = match pointers.create(name, &next.location).await {
            Swap::Done => {
                self.adopt(next);
                return Ok(Created::Done);
            }
            Swap::Moved => Ok(Created::Taken),
            Swap::Failed(error) => Err(error),
            // A created table has its own metadata file, so whose it is can be read.
            Swap::Unknown(error) => {
                return match pointers.find(name).await {
                    Ok(Some(location)) if location == next.location => Ok(Created::Done),
                    Ok(Some(_)) => Ok(Created::Taken),
                    _ => Err(lost(error)),
                };
            }
        };
        self.discard(std::slice::from_ref(&next.location)).await;
        failed
    }

    /// Forgets a table, and says where the metadata of its last state is; `None` if there is no such
    /// table. Its metadata is not read: one that is broken can be forgotten, too.
    pub(crate) async fn remove(&self, name: &TableName) -> Result<Option<String>> {
        let pointers = match &self.backend {
            Backend::Pointers(pointers) => pointers,
            Backend::Rest(rest) => {
                let at = rest.pointer(name).await?;
                return rest.remove(name).await.map(|was_there| at.filter(|_| was_there));
            }
        };
        let _place = pointers.queue(name).await;
        for _ in 0..TRIES {
            let Some(at) = pointers.find(name).await? else { return Ok(None) };
            match pointers.remove(name, &at).await {
                Swap::Done => return Ok(Some(at)),
                // Somebody committed: the state that is forgotten is the one that is named.
                Swap::Moved => {}
                // Dropping twice does no harm, so the caller may simply try again.
                Swap::Failed(error) | Swap::Unknown(error) => return Err(error),
            }
        }
        Err(busy(name, "drop it"))
    }

    /// Forgets a table whose pointer is this one still, and says whether it was.
    pub(crate) async fn remove_at(&self, name: &TableName, at: &str) -> Result<bool> {
        match &self.backend {
            Backend::Rest(rest) => rest.remove(name).await,
            Backend::Pointers(pointers) => match pointers.remove(name, at).await {
                Swap::Done => Ok(true),
                Swap::Moved => Ok(false),
                Swap::Failed(error) | Swap::Unknown(error) => Err(error),
            },
        }
    }

    /// The namespaces: those that tables are in, and those that exist without.
    pub(crate) async fn namespaces(&self) -> Result<Namespaces> {
        let mut found = match &self.backend {
            Backend::Rest(rest) => {
                let mut found = Namespaces::new();
                for name in rest.namespace_names().await? {
                    let properties = rest.namespace(&name).await?.unwrap_or_default();
                    found.insert(name, properties);
                }
                return Ok(found);
            }
            Backend::Pointers(pointers) => match pointers.namespaces() {
                Some(namespaces) => namespaces.list().await?,
                None => Namespaces::new(),
            },
        };
        for table in self.list().await? {
            found.entry(table.namespace().to_owned()).or_default();
        }
        Ok(found)
    }

    /// Makes a namespace exist with these properties.
    pub(crate) async fn put_namespace(
        &self,
        name: &str,
        properties: &BTreeMap<String, String>,
    ) -> Result<()> {
        match &self.backend {
            Backend::Rest(rest) => rest.put_namespace(name, properties).await,
            Backend::Pointers(pointers) => match pointers.namespaces() {
                Some(namespaces) => namespaces.put(name, properties).await,
                None => Err(Error::unsupported("this catalog keeps no namespaces")),
            },
        }
    }

    /// Removes a namespace that holds nothing, and says whether there was one.
    pub(crate) async fn remove_namespace(&self, name: &str) -> Result<bool> {
        match &self.backend {
            Backend::Rest(rest) => rest.remove_namespace(name).await,
            Backend::Pointers(pointers) => match pointers.namespaces() {
                Some(namespaces) => namespaces.remove(name).await,
                None => Ok(false),
            },
        }
    }

    /// Gives a table another name, in one step that no commit falls between; its files stay where
    /// they are.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table; `AlreadyExists` if the new name is taken; `Conflict` if
    /// others commit to the table without a pause; `OutcomeUnknown` if nobody knows.
    pub(crate) async fn rename(&self, from: &TableName, to: &TableName) -> Result<()> {
        let pointers = match &self.backend {
            Backend::Rest(rest) => return rest.rename(from, to).await,
            Backend::Pointers(pointers) => pointers,
        };
        // Whoever commits meanwhile comes after: without a turn a rename just tries its luck.
        let _place = pointers.queue(from).await;
        for _ in 0..TRIES {
            let table = self.load(from).await?;
            let at = super::location_of(&table)?;
            match pointers.rename(from, to, at).await {
                Swap::Done => return Ok(()),
                Swap::Moved => {}
                Swap::Failed(error) => return Err(error),
                Swap::Unknown(error) => return self.look_for_renamed((from, to), at, error).await,
            }
        }
        Err(busy(from, "rename it"))
    }

    /// Whether a table has its new name, after the answer to that was lost. A table that others
    /// committed to since points elsewhere, but it has one name only.
    async fn look_for_renamed(
        &self,
        (from, to): (&TableName, &TableName),
        at: &str,
        error: Error,
    ) -> Result<()> {
        match (self.pointer(from).await, self.pointer(to).await) {
            (Ok(None), Ok(Some(_))) => Ok(()),
            (Ok(Some(there)), Ok(_)) if there == at => Err(error),
            _ => Err(Error::new(
                ErrorKind::OutcomeUnknown,
                format!("nobody knows whether `{from}` is called `{to}` now"),
            )
            .with_help("list the tables, and rename it again if it has the old name")
            .with_source(error)),
        }
    }

    /// Enters a table whose metadata exists.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken.
    pub(crate) async fn register(&self, name: &TableName, location: &str) -> Result<()> {
        let pointers = match &self.backend {
            Backend::Rest(rest) => return rest.register(name, location).await,
            Backend::Pointers(pointers) => pointers,
        };
        self.check_register(name, location).await?;
        match pointers.create(name, location).await {
            Swap::Done => Ok(()),
            Swap::Moved => Err(taken(name)),
            Swap::Failed(error) | Swap::Unknown(error) => Err(error),
        }
    }

    /// Whether a table can be made of this metadata. A server reads it itself.
    pub(crate) async fn check_register(&self, name: &TableName, location: &str) -> Result<()> {
        if self.is_remote() {
            return Ok(());
        }
        let metadata = self.files.read_metadata(location).await?;
        self.build(name, metadata, location).map(drop)
    }
}

fn busy(name: &TableName, what: &str) -> Error {
    let text = format!("others commit to `{name}` without a pause");
    Error::new(ErrorKind::Conflict, text).with_help(format!("{what} again when they are done"))
}
