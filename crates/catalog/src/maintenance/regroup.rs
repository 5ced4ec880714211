//! Rewriting manifests.

use icecore_core::{RefName, Result, TableName};

use crate::commit::{self, Outcome, Regroup, Regrouped};
use crate::tables::Tables;

/// How to rewrite manifests.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RewriteManifestsOptions {
    /// The branch.
    pub branch: RefName,
    /// How large a manifest should be in bytes; the table's `commit.manifest.target-size-bytes`
    /// where it is absent.
    pub target_bytes: Option<usize>,
    /// Writes manifests anew that are few already, in the order of their partitions.
    pub force: bool,
    /// Says what would happen, and changes nothing.
    pub dry_run: bool,
}

impl Default for RewriteManifestsOptions {
    /// Those of `main`, where there are too many.
    fn default() -> Self {
        Self { branch: RefName::main(), target_bytes: None, force: false, dry_run: false }
    }
}

impl RewriteManifestsOptions {
    /// Rewrites those of this branch.
    #[must_use]
    pub fn with_branch(mut self, branch: RefName) -> Self {
        self.branch = branch;
        self
    }

    /// Makes manifests of this size in bytes.
    #[must_use]
    pub const fn with_target_bytes(mut self, target_bytes: Option<usize>) -> Self {
        self.target_bytes = target_bytes;
        self
    }

    /// Writes manifests anew that are few already.
    #[must_use]
    pub const fn with_force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Says what would happen, and changes nothing.
    #[must_use]
    pub const fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

/// What rewriting manifests came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RewriteManifestsReport {
    /// Manifests of the branch before.
    pub manifests_before: u64,
    /// Manifests of the branch after.
    pub manifests_after: u64,
    /// Entries that were written, or would be. None means that nothing was to be done.
    pub entries: u64,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

/// Names the files of a branch in fewer manifests.
pub(crate) async fn rewrite_manifests(
    tables: &Tables,
    name: &TableName,
    options: &RewriteManifestsOptions,
) -> Result<RewriteManifestsReport> {
    let change = Regroup::new(options.branch.clone(), options.target_bytes, options.force);
    let did = if options.dry_run {
        change.look(&tables.load(name).await?).await?
    } else {
        match commit::commit(tables, name, &change).await? {
            Outcome::Committed(..) => change.into_last(),
            Outcome::Unchanged(_) | Outcome::DoneBefore(..) => {
                Regrouped { entries: 0, ..change.into_last() }
            }
        }
    };
    tracing::info!(table = %name, before = did.before, after = did.after, "rewrote manifests");
    Ok(RewriteManifestsReport {
        manifests_before: did.before,
        manifests_after: did.after,
        entries: did.entries,
        dry_run: options.dry_run,
    })
}
