//! Feature rows from tables to the online store, by what changed.
//!
//! [`materialize_view`] brings a view's rows in an [`OnlineStore`](icecore_core::OnlineStore) to the
//! state of its table: the newest row of each entity. It reads only what changed since the last
//! time, late rows and deletions included; it may be killed at any moment and repeated. One that
//! comes while another one is on its way ends with an error, unless it is told to take over.
//! [`verify_view`] proves that both agree, and names what differs. [`view_status`] says where a
//! view stands.
//!
//! A row that was pushed a moment ago is newer than its table and stays, until the table has it.
//!
//! # Example
//!
//! ```no_run
//! use icecore_engine::Engine;
//! use icecore_features::Definitions;
//! use icecore_materialize::{MaterializeOptions, Source, materialize_view, verify_view};
//! use icecore_online::FeatureStore;
//!
//! # async fn nightly(
//! #     engine: Engine, definitions: Definitions, store: FeatureStore, now: icecore_core::Timestamp,
//! # ) -> icecore_core::Result<()> {
//! let source = Source { engine: &engine, definitions: &definitions, store: &store, now };
//! let report = materialize_view(&source, "payments", MaterializeOptions::default()).await?;
//! println!("{} rows written, {} removed", report.written, report.removed);
//! assert!(verify_view(&source, "payments").await?.is_equal());
//! # Ok(())
//! # }
//! ```

mod changed;
mod full;
mod gather;
mod marker;
mod pushed;
mod reader;
mod report;
mod send;
mod status;
mod tiles;
mod vector;
mod verify;
mod view;

pub use pushed::{PushedEvents, PushedViews};
pub use report::{MaterializeOptions, MaterializeProgress, ProgressCallback, ViewReport};
pub use status::{Filling, ViewStatus, fillings, view_status};
pub use tiles::{TileRows, TileView};
pub use vector::{VectorReport, materialize_service, vectors_of};
pub use verify::{Difference, DifferenceKind, VerifyReport, verify_view};
pub use view::{Source, ViewShape, materialize_view, view_shape};
