//! `icecore features get`.

use icecore::Project;
use icecore::dataset::{Asked, Retrieval, ViewRules, Windows};
use icecore::files::{FileReadOptions, read_files};
use icecore_core::{Error, Result, Span, TimeRange, Timestamp};

use super::super::{Context, sql};
use crate::args::retrieve::{GetArgs, JoinArgs};
use crate::report::Answer;

pub(super) async fn run(context: &Context, project: &Project, args: GetArgs) -> Result<Answer> {
    let asked = asked(&args).await?;
    let mut retrieval = Retrieval::new(args.features.clone());
    let JoinArgs { key, ttl, delay, windows, .. } = &args.join;
    retrieval.event_timestamp.clone_from(&args.join.event_timestamp);
    retrieval.keys = key.iter().cloned().collect();
    if ttl.is_some() || delay.is_some() || *windows != Windows::Stored {
        let definitions = project.definitions()?;
        for view in args.features.iter().filter_map(|feature| feature.split(':').next()) {
            // Views of stored features have no windows that could end elsewhere.
            let is_stored = definitions.view(view)?.is_stored();
            let windows = if is_stored { Windows::Stored } else { *windows };
            let rules = ViewRules { ttl: *ttl, delay: *delay, strict: false, windows };
            retrieval.views.insert(view.to_owned(), rules);
        }
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
    let moments = (from.micros()..to.micros()).step_by(step);
    // One more than may be asked for says that it is too many.
    Ok(moments.take(1 << 20).map(Timestamp::from_micros).collect())
}
