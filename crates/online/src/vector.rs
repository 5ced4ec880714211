//! Rows of several views of an entity as one row.
//!
//! ```text
//! ic:SERVICE~v:{TAG}ENTITY   number (16) | views (8) | for each view: length (4) and its row
//! ```
//!
//! The rows are those of the views, so what they say, and whether they are too old, is what reading
//! them one by one says. A vector is made anew whenever a row of its entity was written, from all
//! rows as they are then; two who do that at once find out by its number, and one does it again.

use bytes::{BufMut, Bytes, BytesMut};
use icecore_core::{Error, ErrorKind, OnlineChange, OnlineStore, Result, RowVersion, Timestamp};

use crate::features::{FeatureStore, ViewRead, ViewRows};
use crate::key::{row_keys, row_prefix};

/// How often a vector is made again that others made meanwhile.
const TRIES_MAX: usize = 100;
/// Entities whose vectors are made together.
const ENTITIES: usize = 512;
/// The length of a row that is not there.
const ABSENT: u32 = u32::MAX;

/// The vectors of a feature service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vectors {
    service: String,
    views: Vec<String>,
    id: u64,
}

impl Vectors {
    /// The vectors of a service with features of these views.
    #[must_use]
    pub fn new(service: &str, views: Vec<String>) -> Self {
        let id = views.join(",").bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { service: service.to_owned(), views, id }
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The views that have rows in it.
    #[must_use]
    pub fn views(&self) -> &[String] {
        &self.views
    }

    /// What stands for the views.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Names of views have no `~`, so no view has this one.
    fn name(&self) -> String {
        format!("{}~v", self.service)
    }

    /// Makes the vectors of entities, of which rows of a view were written, and returns how many.
    ///
    /// # Errors
    ///
    /// Those of the store; `Conflict` if others never leave off.
    pub async fn make(
        &self,
        store: &dyn OnlineStore,
        (view, rows): (&str, &[Bytes]),
        now: Timestamp,
    ) -> Result<u64> {
        let prefix = row_prefix(view);
        let mut entities: Vec<Bytes> = rows
            .iter()
            .filter(|key| key.starts_with(&prefix))
            .map(|k| k.slice(prefix.len()..))
            .collect();
        entities.sort_unstable();
        entities.dedup();
        for part in entities.chunks(ENTITIES) {
            self.make_part(store, part, now).await?;
        }
        Ok(entities.len() as u64)
    }

    async fn make_part(
        &self,
        store: &dyn OnlineStore,
        entities: &[Bytes],
        now: Timestamp,
    ) -> Result<()> {
        let key = |prefix: &Bytes, entity: &Bytes| {
            let mut key = BytesMut::with_capacity(prefix.len() + entity.len());
            key.put_slice(prefix);
            key.put_slice(entity);
            key.freeze()
        };
        let own = row_prefix(&self.name());
        let prefixes: Vec<Bytes> = self.views.iter().map(|view| row_prefix(view)).collect();
        let mut keys = Vec::with_capacity(entities.len() * (prefixes.len() + 1));
        for entity in entities {
            // First the vector: what is read after it is at least as new.
            keys.push(key(&own, entity));
            keys.extend(prefixes.iter().map(|prefix| key(prefix, entity)));
        }
        for _ in 0..TRIES_MAX {
            let found = store.rows_now(&keys).await?;
            let step = prefixes.len() + 1;
            let changes = keys.chunks(step).zip(found.chunks(step)).filter_map(|(keys, found)| {
                let (key, (there, rows)) = (keys.first()?, found.split_first()?);
                let until = there.as_deref().and_then(RowVersion::of_row);
                Some(self.change(key, until, rows, now))
            });
            let changes: Vec<OnlineChange> = changes.collect();
            if store.apply(changes).await?.stale == 0 {
                return Ok(());
            }
        }
        let message = format!("vectors of `{}` change too often", self.service);
        Err(Error::new(ErrorKind::Conflict, message).with_help("try again"))
    }

    fn change(
        &self,
        key: &Bytes,
        there: Option<RowVersion>,
        rows: &[Option<Bytes>],
        now: Timestamp,
    ) -> OnlineChange {
        let nothing = Timestamp::from_micros(0);
        let until = there.unwrap_or(RowVersion { event: nothing, created: nothing });
        let number = now.micros().max(until.event.micros().saturating_add(1));
        let version = RowVersion { event: Timestamp::from_micros(number), created: nothing };
        let mut bytes = BytesMut::new();
        bytes.put_slice(&version.to_bytes());
        bytes.put_u64_le(self.id);
        for row in rows {
            match row {
                Some(row) => {
                    bytes.put_u32_le(u32::try_from(row.len()).unwrap_or(ABSENT));
                    bytes.put_slice(row);
                }
                None => bytes.put_u32_le(ABSENT),
            }
        }
        OnlineChange { key: key.clone(), row: Some(bytes.freeze()), until }
    }

    /// Reads vectors, one get for each entity; `None` if there is not one for each, or they are of
    /// other views.
    ///
    /// # Errors
    ///
    /// Those of the store, and `DataCorrupt` for rows that cannot be read.
    pub async fn read(
        &self,
        store: &FeatureStore,
        reads: &[ViewRead],
        now: Timestamp,
    ) -> Result<Option<Vec<ViewRows>>> {
        let Some(first) = reads.first().filter(|_| reads.len() == self.views.len()) else {
            return Ok(None);
        };
        let keys = row_keys(&self.name(), &first.keys)?;
        let wanted: Vec<Bytes> = keys.iter().flatten().cloned().collect();
        let mut found = store.store().rows(&wanted).await?.into_iter();
        let mut rows: Vec<Vec<Option<Bytes>>> = vec![Vec::with_capacity(keys.len()); reads.len()];
        for key in &keys {
            let of_entity = match key {
                // A null identifies nobody.
                None => vec![None; reads.len()],
                Some(_) => match found.next().flatten().and_then(|row| self.parts(&row)) {
                    Some(parts) => parts,
                    None => return Ok(None),
                },
            };
            rows.iter_mut().zip(of_entity).for_each(|(rows, row)| rows.push(row));
        }
        Ok(Some(store.answers(reads, rows, now).await?))
    }

    /// The rows in a vector; `None` for one of other views.
    fn parts(&self, bytes: &Bytes) -> Option<Vec<Option<Bytes>>> {
        let rest = bytes.get(RowVersion::LEN..)?;
        let (id, mut rest) = rest.split_first_chunk::<8>()?;
        if u64::from_le_bytes(*id) != self.id {
            return None;
        }
        let mut parts = Vec::with_capacity(self.views.len());
        for _ in &self.views {
            let (len, after) = rest.split_first_chunk::<4>()?;
            rest = after;
            match u32::from_le_bytes(*len) {
                ABSENT => parts.push(None),
                len => {
                    let (row, after) = rest.split_at_checked(len as usize)?;
                    parts.push(Some(bytes.slice_ref(row)));
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some(parts)
    }
}
