//! Tests: a query of the rows that should not be there.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use icecore_core::Result;
use icecore_engine::Scope;

use super::prepare::trimmed;
use super::{NodeResult, Runner, Status};
use crate::project::Node;

/// How many of the rows that a test found are shown.
const SHOWN: usize = 10;

impl Runner<'_> {
    /// Runs tests that gate nothing.
    pub(super) async fn test_all(&self, tests: &[&Node]) -> Vec<NodeResult> {
        let scope = self.scope();
        let mut results = Vec::new();
        let mut running = FuturesUnordered::new();
        let mut open = tests.iter();
        loop {
            while running.len() < self.options.threads.max(1) {
                let Some(test) = open.next() else { break };
                self.say(&format!("test {}", test.name));
                running.push(self.check(test, &scope));
            }
            let Some(result) = running.next().await else { break };
            results.push(result);
        }
        results
    }

    /// Runs a test.
    pub(super) async fn check(&self, test: &Node, scope: &Scope) -> NodeResult {
        let mut result = self.blank(test);
        match self.found(test, scope, &mut result).await {
            Ok(()) => {
                result.completed_at = self.now();
                result
            }
            Err(error) => {
                let error = self.placed(test, error);
                self.failed(result, error)
            }
        }
    }

    async fn found(&self, test: &Node, scope: &Scope, result: &mut NodeResult) -> Result<()> {
        let sql = trimmed(&self.project.compile(test, false)?).to_owned();
        result.compiled = Some(sql.clone());
        let limit = test.test.as_ref().and_then(|spec| spec.limit);
        let limit = limit.map(|limit| format!("\nLIMIT {limit}")).unwrap_or_default();
        let asked = format!("SELECT * FROM (\n{sql}\n) AS failing_rows{limit}");
        let mut rows = self.engine.sql_in(&asked, scope).await?;
        let schema = rows.schema().clone();
        let (mut count, mut sample): (usize, Vec<RecordBatch>) = (0, Vec::new());
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let missing = SHOWN.saturating_sub(count).min(batch.num_rows());
            if missing > 0 {
                sample.push(batch.slice(0, missing));
            }
            count += batch.num_rows();
        }
        let count = count as u64;
        result.failures = Some(count);
        if count > 0 {
            result.sample = Some(concat_batches(&schema, &sample)?);
        }
        let is_too_many = |threshold: &crate::project::Threshold| threshold.is_passed(count);
        let spec = test.test.as_ref();
        result.status = match spec {
            Some(spec) if spec.is_error && is_too_many(&spec.error_if) => Status::Fail,
            Some(spec) if is_too_many(&spec.warn_if) => Status::Warn,
            _ => Status::Pass,
        };
        if result.status != Status::Pass {
            result.message = format!("{count} rows that `{}` does not allow", test.name);
        }
        Ok(())
    }
}
