//! `icecore flight`.

use std::sync::Arc;

use icecore_core::Result;
use serde_json::json;

use super::Context;
use super::serve::{announce, listening, stopped};
use crate::args::ServeArgs;
use crate::report::Answer;

pub(super) async fn run(context: &Context, args: ServeArgs) -> Result<Answer> {
    let project = Arc::new(context.open().await?);
    let address = args.listen.unwrap_or_else(|| project.config().flight.listen.clone());
    let (source, options) = project.flights()?;
    let (listener, local) = listening(&address).await?;
    // Nobody is told to come before it is known that they may.
    options.check_address(local)?;
    announce(&local.to_string());
    icecore::flight::serve(source, listener, options, stopped()).await?;
    Ok(Answer::new(json!({ "stopped": local.to_string() }), String::new()))
}
