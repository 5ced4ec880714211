//! Whether training and scoring saw the same: the facts that the causes of skew are told from.

use std::collections::BTreeMap;

use icecore_core::{
    ArtifactStore, Date, Error, ErrorKind, ModelRegistry, ModelSelector, Result, RunTracker,
    Timestamp,
};
use icecore_monitor::{SkewCause, SkewFinding, WindowFact};
use icecore_score::ScorePlan;

use super::{FEATURES_FILE, PREDICTIONS_FILE};
use crate::Project;
use crate::project::score::PLAN_FILE;

/// Parts of a definition that decide where windows begin and end.
const WINDOW_PARTS: [&str; 8] =
    ["windows", "window", "closed", "emit", "ttl", "hop", "event_timestamp", "created_timestamp"];

impl Project {
    /// Looks for the causes of skew between what the champion of a scoring learned from and what it
    /// scored on a date, or the newest one (C105).
    ///
    /// # Errors
    ///
    /// `NotFound` if nothing was scored, or if runs kept no statistics.
    pub async fn skew(&self, name: &str, date: Option<Date>) -> Result<Vec<SkewFinding>> {
        let (run, _) = self.scoring_run(name, date).await?;
        let plan = self.artifacts().get(&run, PLAN_FILE).await?;
        let plan: ScorePlan = serde_json::from_slice(&plan).map_err(|error| {
            Error::corrupt(format!("the plan of run `{run}` cannot be read")).with_source(error)
        })?;
        let champion = plan
            .models
            .first()
            .ok_or_else(|| Error::corrupt(format!("the plan of run `{run}` names no model")))?;
        let selector = ModelSelector::Version(champion.version);
        let version = self.tracker().resolve(&champion.uri.name, &selector).await?;
        let learned = self.kept_profile(&version.run, FEATURES_FILE).await?;
        let scored = self.kept_profile(&run, FEATURES_FILE).await?;
        let mut facts = self.definition_facts(&version.run, &plan).await?;
        let predictions = self.kept_profile(&run, PREDICTIONS_FILE).await;
        if let (Ok(predictions), Some(view)) = (predictions, plan.views.first()) {
            let newest = predictions.columns().get("feature_timestamp");
            let newest = newest.and_then(icecore_monitor::ColumnProfile::range);
            if let Some((_, newest)) = newest
                && (newest as i64) < plan.date.midnight().micros()
            {
                facts.entry(view.name.clone()).or_insert_with(|| empty(&view.name)).windows.push(
                    format!(
                        "no scored row has features of {}: the newest windows end at {}, and those \
                         of training end at each row's own moment",
                        plan.date,
                        Timestamp::from_micros(newest as i64)
                    ),
                );
            }
        }
        let facts: Vec<WindowFact> = facts.into_values().collect();
        let mut findings = icecore_monitor::skew(&learned, &scored, &facts);
        findings.extend(self.version_fact(&version.run, &run).await?);
        Ok(findings)
    }

    /// What differs between the definitions that training and scoring computed features by.
    async fn definition_facts(
        &self,
        training: &icecore_core::RunId,
        plan: &ScorePlan,
    ) -> Result<BTreeMap<String, WindowFact>> {
        let learned = self.tracker().get(training).await?;
        let mut facts = BTreeMap::new();
        for view in &plan.views {
            let Some(before) = learned.params.get(&format!("definition_hash.{}", view.name)) else {
                continue;
            };
            if *before == view.definition_hash {
                continue;
            }
            let mut fact = empty(&view.name);
            for (path, text) in
                self.differences(&view.name, (before, &view.definition_hash)).await?
            {
                let last = path.rsplit('.').next().unwrap_or_default();
                match WINDOW_PARTS.contains(&last) {
                    true => fact.windows.push(text),
                    false => fact.others.push(text),
                }
            }
            facts.insert(view.name.clone(), fact);
        }
        Ok(facts)
    }

    /// The places in which two applied definitions of a view differ; that they do, where the
    /// registry does not know both.
    async fn differences(
        &self,
        view: &str,
        (before, after): (&str, &str),
    ) -> Result<Vec<(String, String)>> {
        let unknown = || {
            let text = format!(
                "its definition is another one than in training ({} then, {} now)",
                before.get(..12).unwrap_or(before),
                after.get(..12).unwrap_or(after)
            );
            vec![(String::new(), text)]
        };
        let history = match self.feature_history(Some(view)).await {
            Ok(history) => history,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(unknown()),
            Err(error) => return Err(error),
        };
        let version = |hash: &str| {
            history.iter().rev().find(|row| row.definition_hash == hash).map(|row| row.version)
        };
        let (Some(from), Some(to)) = (version(before), version(after)) else {
            return Ok(unknown());
        };
        let differences = self.feature_differences(view, Some(from), Some(to)).await?;
        let text = |part: Option<String>| part.unwrap_or_else(|| "nothing".to_owned());
        let described = differences.into_iter().map(|difference| {
            let (before, after) = (text(difference.before), text(difference.after));
            (difference.path.clone(), format!("`{}` was {before}, and is {after}", difference.path))
        });
        Ok(described.collect())
    }

    /// Other versions of the code are another path.
    async fn version_fact(
        &self,
        training: &icecore_core::RunId,
        scoring: &icecore_core::RunId,
    ) -> Result<Option<SkewFinding>> {
        let (then, now) = (self.tracker().get(training).await?, self.tracker().get(scoring).await?);
        let version = |run: &icecore_core::Run| run.params.get("code_version").cloned();
        let (Some(then), Some(now)) = (version(&then), version(&now)) else { return Ok(None) };
        Ok((then != now).then(|| SkewFinding {
            cause: SkewCause::CodePath,
            subject: "code".to_owned(),
            evidence: format!("training ran with {then}, scoring with {now}"),
        }))
    }
}

fn empty(view: &str) -> WindowFact {
    WindowFact { view: view.to_owned(), windows: Vec::new(), others: Vec::new() }
}
