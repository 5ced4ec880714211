//! The serving cache: values by key, in an embedded store or in Redis.
//!
//! Both are an [`OnlineStore`](icecore_core::OnlineStore). [`EmbeddedStore`] keeps its values in
//! one file of a directory and needs no server; [`RedisStore`] speaks to a Redis or Valkey server
//! that other programs read as well. [`open`] takes the address that users write in
//! `icecore.toml`. No other crate of the workspace knows either of the two. [`CachedStore`] keeps
//! what was read a moment ago in memory, in front of either.
//!
//! Features are rows: [`RowSchema`] says how one is written, [`row_keys`] under which key, and
//! [`FeatureStore`] reads those of several views in one round trip.
//!
//! # Example
//!
//! ```
//! # fn main() -> icecore_core::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let dir = folder.path();
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use icecore_core::{OnlineEntry, SystemClock};
//!
//! let store = icecore_online::open("embedded:online", dir, Arc::new(SystemClock)).await?;
//! let ttl = Some(Duration::from_secs(86_400));
//! store.put(vec![OnlineEntry { key: "churn:u42".into(), value: "0.9312".into(), ttl }]).await?;
//!
//! let values = store.get(&["churn:u42".into(), "churn:u43".into()]).await?;
//! assert_eq!(values, [Some("0.9312".into()), None]);
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # Stability
//!
//! The file of the embedded store is a cache: a later version may ask for it to be filled again.

mod address;
mod cached;
mod embedded;
mod features;
mod key;
mod lifetime;
mod redis_store;
mod row;
mod vector;

pub use address::open;
pub use cached::{CacheOptions, CachedStore, invalidate_caches};
pub use embedded::{EmbeddedAccess, EmbeddedOptions, EmbeddedStore};
pub use features::{FeatureStatus, FeatureStore, RowStatus, ViewRead, ViewRows};
pub use key::{row_keys, row_prefix};
pub use redis_store::{RedisOptions, RedisStore};
pub use row::{Origin, Row, RowEncoder, RowSchema, decode_rows};
pub use vector::Vectors;
