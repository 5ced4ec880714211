//! From a definition to a plan: every name found, every input pinned.

use std::collections::BTreeMap;

use icecore_core::{
    Error, ErrorKind, Knowledge, PinnedTable, Result, SnapshotCatalog, SnapshotSelector, TableName,
};
use icecore_engine::{Engine, is_views_table};
use icecore_features::{
    Definitions, UnstableCall, feature_source, feature_table, moment_table, pin_sources,
    unstable_call, unstable_condition,
};

use crate::chosen::{Chosen, check_keys, chosen_views};
use crate::lock::{DatasetPlan, InputRole, LockedInput, LockedSpine, LockedView};
use crate::moment::LockedWindows;
use crate::rows::check_spine;
use crate::rules::Windows;
use crate::shape::LockedMaturity;
use crate::spec::{DatasetSpec, MaturitySpec};
use crate::split::SplitSpec;
use crate::target::check_free;

/// How often the inputs are pinned anew when one of them changes meanwhile.
const PIN_ATTEMPTS_MAX: usize = 8;

/// Plans a training set: finds every name, and pins every input at one moment. Writes nothing.
///
/// `at` names the state of tables that are not to be read at their latest.
///
/// # Errors
///
/// `NotFound` and `InvalidInput` for what the definition names and nobody has, with its place, for a
/// table that is not the set's own, and for a spine that cannot be asked again; `Conflict` if the
/// inputs change faster than they can be pinned.
pub async fn plan(
    engine: &Engine,
    definitions: &Definitions,
    spec: &DatasetSpec,
    at: &[(TableName, SnapshotSelector)],
) -> Result<DatasetPlan> {
    let plan = planned(engine, definitions, spec, (Some(spec.spine_sql()?), at)).await?;
    check_free(definitions, spec, &plan)?;
    check_decided(engine, spec, &plan).await?;
    Ok(plan)
}

/// That the pins alone decide which rows a set has, so that it can be built again.
async fn check_decided(engine: &Engine, spec: &DatasetSpec, plan: &DatasetPlan) -> Result<()> {
    let spine = engine.query(&plan.spine.sql, &plan.pins()).await;
    let spine = spine.map_err(|error| spec.locate(&spec.name, error))?;
    let columns = check_spine(plan, spine.schema().as_arrow());
    columns.map_err(|error| spec.locate(&spec.name, error))?;
    for view in &plan.views {
        let input = plan.inputs.iter().find(|input| input.pin.table == view.table);
        let stored = match (input, &view.windows) {
            (Some(input), None) => Some(engine.catalog().schema(&input.pin).await?),
            _ => None,
        };
        check_keys(spec, (view, stored.as_deref()), spine.schema().as_arrow())?;
    }
    if let Some(UnstableCall { function, view }) = unstable_call(&spine)? {
        let error = depends_on("the spine", &function);
        let error = match view {
            Some(view) => error.with_note(format!("in view `{view}`")),
            None => error,
        };
        let file = spec.spine_file.as_ref().map(|file| file.display().to_string());
        return Err(spec.locate(&file.unwrap_or_else(|| plan.spine.sql.clone()), error));
    }
    let filter = plan.filter.as_deref().unwrap_or_default();
    match unstable_condition(filter) {
        None => Ok(()),
        Some(function) => Err(spec.locate(filter, depends_on(&format!("`{filter}`"), &function))),
    }
}

fn depends_on(what: &str, function: &str) -> Error {
    Error::invalid(format!("{what} depends on `{function}`"))
        .with_note("a set is built again from its pins, and has to have the same rows then")
        .with_help(
            "write the date itself; to sample, take keys by their hash: `md5(user_token) < '2'`",
        )
}

/// A plan for a spine that a query gives, or nobody knows yet.
pub(crate) async fn planned(
    engine: &Engine,
    definitions: &Definitions,
    spec: &DatasetSpec,
    (spine, at): (Option<String>, &[(TableName, SnapshotSelector)]),
) -> Result<DatasetPlan> {
    let views = chosen_views(definitions, spec)?;
    let (mut sources, mut at) = (Vec::with_capacity(views.len()), at.to_vec());
    for chosen in &views {
        sources.push(chosen.sources(engine, spec, &mut at).await?);
    }
    let inputs = Inputs { engine, spine: spine.as_deref(), sources: &sources, at: &at };
    let inputs = inputs.pin_at_one_moment().await?;
    let maturity = match &spec.maturity {
        Some(maturity) => Some(matured(engine, maturity, &inputs).await?),
        None => None,
    };

    let mut locked = Vec::with_capacity(views.len());
    for (chosen, (_, sources)) in views.iter().zip(&sources) {
        locked.push(chosen.lock(engine, definitions, spec, (sources, &inputs)).await?);
    }
    let mut keys: Vec<String> = Vec::new();
    for (_, key) in locked.iter().flat_map(|view| &view.keys) {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    Ok(DatasetPlan {
        dataset: spec.name.clone(),
        table: spec.table()?,
        label: spec.label.clone(),
        event_timestamp: spec.event_timestamp.clone(),
        keys,
        knowledge: spec.knowledge,
        with_event_timestamps: spec.with_event_timestamps,
        with_ages: spec.with_ages,
        filter: spec.filter.clone(),
        maturity,
        split: spec.split.as_ref().and_then(SplitSpec::locked),
        spine: LockedSpine::new(spine.unwrap_or_default()),
        inputs,
        views: locked,
    })
}

/// When labels are settled: outcomes are known up to the moment that the definition says, else up
/// to the earliest of the moments at which the tables that the spine reads last got rows.
async fn matured(
    engine: &Engine,
    maturity: &MaturitySpec,
    inputs: &[LockedInput],
) -> Result<LockedMaturity> {
    let as_of = match maturity.as_of {
        Some(as_of) => as_of,
        None => {
            let spine = inputs.iter().filter(|input| input.role == InputRole::Spine);
            let pins: Vec<PinnedTable> = spine.map(|input| input.pin.clone()).collect();
            engine.known_until(&pins).await.map_err(|error| match error.kind() {
                ErrorKind::InvalidInput => {
                    error.with_help("add `as_of = \"2026-01-01\"` to `[maturity]`")
                }
                _ => error,
            })?
        }
    };
    Ok(LockedMaturity { after: maturity.after, as_of, unmatured: maturity.unmatured })
}

impl Chosen<'_> {
    /// The tables that are read for the view, and what for. Where its query reads a view of the
    /// catalog, the state of the views that it was looked through in is put into `at`.
    async fn sources(
        &self,
        engine: &Engine,
        spec: &DatasetSpec,
        at: &mut Vec<(TableName, SnapshotSelector)>,
    ) -> Result<(InputRole, Vec<TableName>)> {
        if self.check_windows(spec)? == Windows::Stored {
            return Ok((InputRole::Features, vec![feature_source(self.view)?.clone()]));
        }
        let pins = match &self.view.source_sql {
            Some(query) => engine.pin_what_is_read(query, at).await?,
            None => pin_sources(engine, self.view, at).await?,
        };
        let of_views = pins.iter().find(|pin| is_views_table(&pin.table));
        if let Some(pin) = of_views.filter(|pin| at.iter().all(|(table, _)| *table != pin.table)) {
            at.push((pin.table.clone(), SnapshotSelector::Id(pin.snapshot)));
        }
        let mut tables: Vec<TableName> = pins.into_iter().map(|pin| pin.table).collect();
        // The first one is said to be where the events are.
        tables.sort_by_key(is_views_table);
        Ok((InputRole::Events, tables))
    }

    async fn lock(
        &self,
        engine: &Engine,
        definitions: &Definitions,
        spec: &DatasetSpec,
        (sources, inputs): (&[TableName], &[LockedInput]),
    ) -> Result<LockedView> {
        let source = sources.first().ok_or_else(|| {
            Error::invalid(format!("feature view `{}` reads no table", self.view.name))
        })?;
        let input = inputs.iter().find(|input| input.pin.table == *source);
        let pin = input
            .map(|input| input.pin.clone())
            .ok_or_else(|| Error::internal(format!("`{source}` was not pinned")))?;
        let renamed = self.renamed_keys(definitions, spec)?;
        let schema = engine.catalog().schema(&pin).await?;
        let (columns, on_demand) = self.by_place()?;
        if let Some(input) = on_demand
            .iter()
            .flat_map(|on_demand| &on_demand.features.requests)
            .find(|input| Some(&input.name) == spec.label.as_ref())
        {
            let error = format!(
                "feature view `{}` would take the label `{}` as a request's",
                self.name, input.name
            );
            return Err(Error::invalid(error).with_help("give the label another name in the spine"));
        }
        let windows = self.rules.windows;
        let mut table = match windows {
            Windows::Stored => feature_table(definitions, self.view, pin, &columns, &renamed)?,
            Windows::Moment => moment_table(definitions, self.view, pin, &columns, &renamed)?,
        };
        if !self.view.is_stored() && windows == Windows::Stored {
            // Computed rows have the created timestamp of their source only where they keep it.
            table.created_timestamp =
                table.created_timestamp.filter(|name| schema.column_with_name(name).is_some());
        }
        let knowledge = match (self.knowledge(spec), &table.created_timestamp) {
            (Some(asked), _) => asked,
            (None, Some(_)) => Knowledge::Created,
            (None, None) => Knowledge::Event,
        };
        let rules = &self.rules;
        Ok(LockedView {
            name: self.name.clone(),
            of: rules.of.clone(),
            definition_hash: definitions.definition_hash(self.view),
            table: source.clone(),
            knowledge,
            event_timestamp: table.event_timestamp,
            created_timestamp: table.created_timestamp,
            ttl: rules.ttl.or(table.ttl),
            delay: rules.delay,
            strict: rules.strict,
            keys: table.keys,
            columns: table.columns,
            on_demand,
            windows: match windows {
                Windows::Stored => None,
                Windows::Moment => {
                    Some(LockedWindows { definition: definitions.view_toml(self.view)? })
                }
            },
        })
    }
}

/// What has to be pinned.
struct Inputs<'a> {
    engine: &'a Engine,
    spine: Option<&'a str>,
    /// Of each view, what is read for it.
    sources: &'a [(InputRole, Vec<TableName>)],
    at: &'a [(TableName, SnapshotSelector)],
}

impl Inputs<'_> {
    /// Pins until two rounds agree: then all pins were the tables' states at the moment between.
    async fn pin_at_one_moment(&self) -> Result<Vec<LockedInput>> {
        let mut before = self.pin().await?;
        for _ in 0..PIN_ATTEMPTS_MAX {
            let again = self.pin().await?;
            if again == before {
                return Ok(again);
            }
            before = again;
        }
        Err(Error::new(ErrorKind::Conflict, "the inputs change faster than they can be pinned")
            .with_help("try again, or name the states to read"))
    }

    /// Every table that is read for a view.
    fn sources(&self) -> Vec<(InputRole, &TableName)> {
        let mut all = Vec::new();
        for (role, sources) in self.sources {
            all.extend(sources.iter().map(|source| (*role, source)));
        }
        all
    }

    async fn pin(&self) -> Result<Vec<LockedInput>> {
        let spine = match self.spine {
            Some(spine) => self.engine.pin_what_is_read(spine, self.at).await?,
            None => Vec::new(),
        };
        let mut pinned: BTreeMap<TableName, PinnedTable> =
            spine.iter().map(|pin| (pin.table.clone(), pin.clone())).collect();
        let mut inputs: Vec<LockedInput> =
            spine.into_iter().map(|pin| LockedInput { role: InputRole::Spine, pin }).collect();
        for (role, source) in self.sources() {
            let pin = match pinned.get(source) {
                Some(pin) => pin.clone(),
                None => {
                    let selector = self.at.iter().find(|(table, _)| table == source);
                    let latest = SnapshotSelector::Latest;
                    let selector = selector.map_or(&latest, |(_, selector)| selector);
                    let pin = self.engine.catalog().pin(source, selector).await?;
                    pinned.insert(source.clone(), pin.clone());
                    pin
                }
            };
            inputs.push(LockedInput { role, pin });
        }
        self.check_chosen(&pinned)?;
        inputs.sort_by(|a, b| (a.role, &a.pin).cmp(&(b.role, &b.pin)));
        inputs.dedup();
        Ok(inputs)
    }

    /// That every table whose state was named is an input.
    fn check_chosen(&self, pinned: &BTreeMap<TableName, PinnedTable>) -> Result<()> {
        let Some((unread, _)) = self.at.iter().find(|(table, _)| !pinned.contains_key(table))
        else {
            return Ok(());
        };
        let names = || pinned.keys().map(TableName::as_str);
        Err(Error::invalid(format!("the dataset does not read `{unread}`"))
            .with_note(format!("it reads {}", names().collect::<Vec<_>>().join(", ")))
            .with_candidates(unread.as_str(), names()))
    }
}
