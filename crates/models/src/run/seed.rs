//! Seeds: CSV files of the project as tables.

use std::fs;

use icecore_core::{
    CommitOptions, Error, ErrorKind, Result, SnapshotCatalog as _, SnapshotSelector, WriteMode,
};
use icecore_engine::files::{FileReadOptions, read_files};

use super::build::Query;
use super::write::Written;
use super::{NodeResult, Runner};
use crate::project::{Node, sha256};

impl Runner<'_> {
    /// Writes a seed's rows, unless the table has just these already.
    pub(super) async fn build_seed(
        &self,
        node: &Node,
        result: &mut NodeResult,
        tests: &mut Vec<NodeResult>,
    ) -> Result<()> {
        let name = self.relation(node)?;
        let path = self.project.dir.join(&node.file);
        let bytes = fs::read(&path).map_err(|error| {
            Error::unavailable(format!("cannot read `{}`", node.file)).with_source(error)
        })?;
        let hash = sha256(&bytes);
        let catalog = self.engine.catalog();
        let existing = match catalog.describe(name).await {
            Ok(table) => Some((table, catalog.pin(name, &SnapshotSelector::Latest).await?)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let options = FileReadOptions::default();
        let read = read_files(&[path], options).await?;
        let columns = read.stream.schema().clone();
        let query =
            Query { sql: String::new(), is_incremental: false, scope: self.scope(), existing };
        let mut draft = self.prepare_table(node, name, &columns, &query).await?;
        if let Some((_, pin)) = &query.existing {
            let history = catalog.history(name).await?;
            let head = history.iter().find(|snapshot| snapshot.id == pin.snapshot);
            let is_same =
                head.is_some_and(|head| head.summary.get("icecore.seed-hash") == Some(&hash));
            if is_same && draft.layouts.is_none() {
                draft.created = false;
                let written = Written {
                    pin: pin.clone(),
                    rows: 0,
                    changed: false,
                    message: "unchanged".to_owned(),
                };
                return self.finish(node, &draft, written, (result, tests)).await;
            }
        }
        let mut commit = self.on_branch(CommitOptions::new(WriteMode::Overwrite));
        commit.base = query.existing.as_ref().map(|(_, pin)| pin.snapshot);
        let commit = self.described(commit, node, "", &[]).with_summary("icecore.seed-hash", hash);
        let written = match catalog.commit(name, read.stream, commit).await {
            Ok(done) => Written::of("INSERT", done),
            Err(error) => {
                self.abandon(name, &draft).await;
                return Err(error);
            }
        };
        self.finish(node, &draft, written, (result, tests)).await
    }
}
