//! From a definition to a plan: every name found, every input pinned.

use std::collections::BTreeMap;

use icecore_core::{
    Error, ErrorKind, FeatureView, Knowledge, PinnedTable, Result, SnapshotCatalog,
    SnapshotSelector, TableName,
};
use icecore_engine::{Engine, is_views_table};
use icecore_features::{
    Definitions, FeatureSelection, UnstableCall, feature_source, feature_table, moment_table,
    pin_sources, resolve_features, select_features, unstable_call, unstable_condition,
};

use crate::lock::{DatasetPlan, InputRole, LockedInput, LockedSpine, LockedView};
use crate::moment::LockedWindows;
use crate::on_demand::LockedOnDemand;
use crate::rows::check_spine;
use crate::shape::LockedMaturity;
use crate::spec::{DatasetSpec, MaturitySpec, SplitSpec, Windows};
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

/// Features, each with its name in the set.
type Columns = Vec<(String, String)>;

/// A view and the features that are taken from it.
struct Chosen<'a> {
    view: &'a FeatureView,
    columns: Columns,
}

fn chosen_views<'a>(definitions: &'a Definitions, spec: &DatasetSpec) -> Result<Vec<Chosen<'a>>> {
    for feature in &spec.features {
        // One by one, so that a mistake is shown where it stands.
        resolve_features(definitions, std::slice::from_ref(feature))
            .map_err(|error| spec.locate(feature, error))?;
    }
    let mut chosen = Vec::new();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for (name, features) in resolve_features(definitions, &spec.features)? {
        let mut columns = Vec::with_capacity(features.len());
        for feature in features {
            let column = match spec.full_feature_names {
                true => format!("{name}__{feature}"),
                false => feature.clone(),
            };
            if let Some(other) = owners.insert(column.clone(), name.clone()) {
                let mention = format!("{name}:{feature}");
                return Err(spec.locate(
                    &mention,
                    Error::invalid(format!(
                        "feature views `{other}` and `{name}` both have a feature `{feature}`"
                    ))
                    .with_help(
                        "set `full_feature_names = true`: columns are then named view__feature",
                    ),
                ));
            }
            columns.push((feature, column));
        }
        chosen.push(Chosen { view: definitions.view(&name)?, columns });
    }
    check_renamed_keys(definitions, spec, &chosen)?;
    check_views(spec, &chosen)?;
    Ok(chosen)
}

fn check_renamed_keys(
    definitions: &Definitions,
    spec: &DatasetSpec,
    chosen: &[Chosen<'_>],
) -> Result<()> {
    let mut known = Vec::new();
    for chosen in chosen {
        known.extend(definitions.join_keys(chosen.view)?);
    }
    known.sort();
    known.dedup();
    match spec.keys.keys().find(|key| !known.contains(key)) {
        None => Ok(()),
        Some(key) => Err(Error::not_found(format!(
            "`keys` renames `{key}`, by which no view of dataset `{}` is joined",
            spec.name
        ))
        .with_note(format!("join keys: {}", known.join(", ")))
        .with_candidates(key, known.iter().map(String::as_str))),
    }
}

/// That every view with rules of its own is joined.
fn check_views(spec: &DatasetSpec, chosen: &[Chosen<'_>]) -> Result<()> {
    let names = || chosen.iter().map(|chosen| chosen.view.name.as_str());
    match spec.views.keys().find(|name| names().all(|known| known != name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let message = format!(
                "dataset `{}` takes no feature of `{name}`, which it has rules for",
                spec.name
            );
            Err(Error::not_found(message)
                .with_note(format!("feature views: {}", names().collect::<Vec<_>>().join(", ")))
                .with_candidates(name, names()))
        }
    }
}

impl Chosen<'_> {
    fn windows(&self, spec: &DatasetSpec) -> Windows {
        spec.views.get(&self.view.name).map_or_else(Windows::default, |rules| rules.windows)
    }

    /// The tables that are read for the view, and what for. Where its query reads a view of the
    /// catalog, the state of the views that it was looked through in is put into `at`.
    async fn sources(
        &self,
        engine: &Engine,
        spec: &DatasetSpec,
        at: &mut Vec<(TableName, SnapshotSelector)>,
    ) -> Result<(InputRole, Vec<TableName>)> {
        if self.windows(spec) == Windows::Stored {
            return Ok((InputRole::Features, vec![feature_source(self.view)?.clone()]));
        }
        let name = &self.view.name;
        if self.view.is_stored() {
            let error = format!("feature view `{name}` stores features and has no windows");
            return Err(spec.locate("moment", Error::invalid(error)));
        }
        if spec.knowledge == Some(Knowledge::Snapshot) {
            let error = "`knowledge = \"snapshot\"` is of stored rows, and windows that end at the \
                         spine's moments have none";
            return Err(spec.locate("snapshot", Error::invalid(error)).with_help(
                "let the created or the event timestamp decide, or leave `windows` out",
            ));
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
        let own = definitions.join_keys(self.view)?;
        let renamed = spec.keys.iter().filter(|(key, _)| own.contains(key));
        let renamed = renamed.map(|(key, column)| (key.clone(), column.clone())).collect();
        let schema = engine.catalog().schema(&pin).await?;
        let (columns, on_demand) = self.by_place()?;
        if let Some(input) = on_demand
            .iter()
            .flat_map(|on_demand| &on_demand.features.requests)
            .find(|input| input.name == spec.label)
        {
            let error = format!(
                "feature view `{}` would take the label `{}` as a request's",
                self.view.name, input.name
            );
            return Err(Error::invalid(error).with_help("give the label another name in the spine"));
        }
        let windows = self.windows(spec);
        let mut table = match windows {
            Windows::Stored => feature_table(definitions, self.view, pin, &columns, &renamed)?,
            Windows::Moment => moment_table(definitions, self.view, pin, &columns, &renamed)?,
        };
        if !self.view.is_stored() && windows == Windows::Stored {
            // Computed rows have the created timestamp of their source only where they keep it.
            table.created_timestamp =
                table.created_timestamp.filter(|name| schema.column_with_name(name).is_some());
        }
        let knowledge = match (spec.knowledge, &table.created_timestamp) {
            (Some(asked), _) => asked,
            (None, Some(_)) => Knowledge::Created,
            (None, None) => Knowledge::Event,
        };
        let rules = spec.views.get(&self.view.name).copied().unwrap_or_default();
        Ok(LockedView {
            name: self.view.name.clone(),
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

    /// What the view's table holds of the features, and what is computed from it.
    fn by_place(&self) -> Result<(Columns, Option<LockedOnDemand>)> {
        let names: Vec<String> = self.columns.iter().map(|(feature, _)| feature.clone()).collect();
        let FeatureSelection { stored, asked, on_demand } = select_features(self.view, &names)?;
        let (taken, computed) =
            self.columns.iter().cloned().partition(|(feature, _)| stored.contains(feature));
        let helpers = stored.into_iter().skip(asked).collect();
        let on_demand = (!on_demand.steps.is_empty()).then_some(LockedOnDemand {
            columns: computed,
            helpers,
            features: on_demand,
        });
        Ok((taken, on_demand))
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
