//! `icecore features get`.

use icecore::Project;
use icecore::dataset::{Asked, Retrieval, ViewRules, Windows};
use icecore::files::{FileReadOptions, read_files};
use icecore_core::{Error, Result, Span, TimeRange, Timestamp};

use super::super::{Context, sql};
use crate::args::retrieve::{GetArgs, JoinArgs, RenamedKey};
use crate::report::Answer;

pub(super) async fn run(context: &Context, project: &Project, args: GetArgs) -> Result<Answer> {
    let asked = asked(&args).await?;
    let mut retrieval = Retrieval::new(args.features.clone());
    let JoinArgs { key, alias, ttl, delay, windows, .. } = &args.join;
    retrieval.event_timestamp.clone_from(&args.join.event_timestamp);
    for (name, view) in alias {
        retrieval.views.entry(name.clone()).or_default().of = Some(view.clone());
    }
    for RenamedKey { view, key, column } in key {
        let keys = match view {
            Some(view) => &mut retrieval.views.entry(view.clone()).or_default().keys,
            None => &mut retrieval.keys,
        };
        keys.insert(key.clone(), column.clone());
    }
    if ttl.is_some() || delay.is_some() || *windows != Windows::Stored {
        let (ttl, delay, windows) = (*ttl, *delay, *windows);
        let rules = ViewRules { ttl, delay, windows, ..ViewRules::default() };
        retrieval = retrieval.with_rules_for_all(&project.definitions()?, &rules)?;
    }
    retrieval.knowledge = args.join.knowledge;
    retrieval.strict = args.join.strict;
    retrieval.full_feature_names = args.join.full_names;
    retrieval.with_event_timestamps = args.join.with_timestamps;
    retrieval.with_ages = args.join.with_ages;
    retrieval.at.clone_from(&args.join.pin);
    context.progress.say(format!("joining {}", args.features.join(", ")));
    let found = project.retrieve_features(asked, &retrieval).await?;
    sql::answer(context, (found.rows, &found.pins), args.output.as_deref(), args.format).await
}

async fn asked(args: &GetArgs) -> Result<Asked> {
    if let Some(query) = &args.spine {
        return Ok(Asked::Query(query.clone()));
    }
    if let Some(table) = &args.spine_table {
        return Ok(Asked::Table(table.clone()));
    }
    if let Some(file) = &args.spine_file {
        let rows = read_files(std::slice::from_ref(file), FileReadOptions::default()).await?;
        return Ok(Asked::Rows(rows.stream));
    }
    match (args.every, args.from, args.to) {
        (Some(every), Some(from), Some(to)) => Ok(Asked::Entities(steps(every, from, to)?)),
        _ if args.rows => Ok(Asked::Period(TimeRange { from: args.from, to: args.to })),
        _ => Ok(Asked::Entities(args.at.clone())),
    }
}

/// The moments from `from` on, before `to`.
fn steps(every: Span, from: Timestamp, to: Timestamp) -> Result<Vec<Timestamp>> {
    let step = usize::try_from(every.micros()).ok().filter(|step| *step > 0);
    let step = step.ok_or_else(|| Error::invalid("a step takes no time"))?;
    if from >= to {
        return Err(Error::invalid(format!("`--from` {from} is not before `--to` {to}"))
            .with_help("`--from` is the first moment, and every moment lies before `--to`"));
    }
    let moments = (from.micros()..to.micros()).step_by(step);
    // One more than may be asked for says that it is too many.
    Ok(moments.take(1 << 20).map(Timestamp::from_micros).collect())
}
