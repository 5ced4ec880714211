//! Views of the online store that are brought up to their tables.

use icecore_core::{Error, ErrorKind, Result};
use icecore_materialize::{MaterializeOptions, Source, materialize_service, materialize_view};
use tracing::info;

use super::OnlineFeatures;

impl OnlineFeatures {
    /// Brings views up to the newest state of their tables, and what services keep of them. Of views
    /// that are not `named` one by one, those without a table yet are left out.
    pub(crate) async fn materialize(&self, views: &[String], is_named: bool) -> Result<()> {
        let Some(store) = &self.store else {
            return Err(Error::not_found("this service has no online store").with_help(
                "set `online.url`, or start the service again when the store is there",
            ));
        };
        let (engine, definitions) = (&self.engine, &*self.definitions);
        let source = Source { engine, definitions, store, now: self.clock.now() };
        for view in views {
            let brought = materialize_view(&source, view, MaterializeOptions::default());
            match Box::pin(brought).await {
                Err(error) if error.kind() == ErrorKind::NotFound && !is_named => {}
                brought => {
                    brought?;
                    info!(view, "brought up to its table");
                }
            }
        }
        for service in &definitions.services {
            Box::pin(materialize_service(&source, &service.name, false)).await?;
        }
        Ok(())
    }
}
