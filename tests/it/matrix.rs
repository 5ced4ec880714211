//! Every operation, in both versions of the format, partitioned or not, through every catalog; each
//! state is read back by icecore's scan, by its SQL, by PyIceberg and by DuckDB, and all of them see
//! what an oracle in memory says. What a reader cannot read is listed in `docs/tables/README.md`, and
//! asserted here: it must refuse, in the words that are expected.

mod lake;
mod operations;

pub(crate) use lake::scratch;

use serde_json::{Value as Json, json};

use crate::readers::Readers;
use crate::rows::Rows;
use lake::{Home, Lake};
use operations::Operation;

#[test]
fn every_operation_reads_the_same_everywhere_through_sqlite() {
    run(&Home::sqlite());
}

#[test]
fn every_operation_reads_the_same_everywhere_through_postgres() {
    if let Some(home) = Home::postgres() {
        run(&home);
    }
}

#[test]
fn every_operation_reads_the_same_everywhere_through_rest() {
    if let Some(home) = Home::rest() {
        run(&home);
    }
}

/// Runs the part of the matrix that is in one catalog; says everything that is wrong at once.
fn run(home: &Home) {
    let Some(mut readers) = Readers::start() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut wrong = Vec::new();
    for version in [2, 3] {
        for partitioned in [false, true] {
            for operation in Operation::all().into_iter().filter(|op| op.is_possible(version)) {
                let cell = format!(
                    "{operation:?}, v{version}, {}, {}",
                    if partitioned { "partitioned" } else { "unpartitioned" },
                    home.kind()
                );
                let mut found = Vec::new();
                let shown = Cell { home, operation, version, partitioned };
                runtime.block_on(shown.check(&mut readers, &mut found));
                wrong.extend(found.into_iter().map(|what| format!("{cell}: {what}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// One cell of the matrix.
struct Cell<'a> {
    home: &'a Home,
    operation: Operation,
    version: u8,
    partitioned: bool,
}

impl Cell<'_> {
    async fn check(&self, readers: &mut Readers, wrong: &mut Vec<String>) {
        let name = format!("{:?}_v{}_{}", self.operation, self.version, u8::from(self.partitioned));
        let lake = Lake::new(self.home, &name.to_lowercase(), self.version, self.partitioned).await;
        let before = lake.base().await;
        let pin = lake.pin().await;
        let after = match self.operation.apply(&lake, readers, before.clone()).await {
            Ok(after) => after,
            Err(error) => {
                wrong.push(format!("the operation failed: {error}"));
                return;
            }
        };
        wrong.extend(self.compare(&lake, readers, &after, None).await);
        if self.operation.keeps_history() {
            wrong.extend(self.compare(&lake, readers, &before, Some(&pin)).await);
        }
        // PyIceberg's catalog rewrites snapshots whose parents expire: a check says so, and is right.
        let is_rewritten = self.operation == Operation::Expire && self.home.kind() == "REST";
        if let (Err(what), false) = (lake.fsck().await, is_rewritten) {
            wrong.push(what);
        }
        // The table goes on from there.
        let more = after.with(vec![lake.one_more(&after)]);
        match lake.append(&more).await {
            Ok(_) => {
                let mut all = after.clone();
                all.rows.extend(more.rows);
                wrong.extend(self.compare(&lake, readers, &all, None).await);
            }
            Err(error) => wrong.push(format!("the append after it failed: {error}")),
        }
    }

    /// Compares what everyone sees of the head, or of a pin, with what there should be.
    async fn compare(
        &self,
        lake: &Lake,
        readers: &mut Readers,
        expected: &Rows,
        pin: Option<&icecore_core::PinnedTable>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let state = expected.state();
        let at = if pin.is_some() { "the state before" } else { "the head" };
        for (reader, found) in
            [("icecore's scan", lake.scan(pin).await), ("icecore's SQL", lake.select(pin).await)]
        {
            match found {
                Ok(rows) if rows.state() == state => {}
                Ok(rows) => {
                    let differs = difference(&rows.sorted(), &expected.sorted());
                    wrong.push(format!("{reader} of {at}: {differs}"));
                }
                Err(error) => wrong.push(format!("{reader} of {at}: {error}")),
            }
        }
        for reader in ["pyiceberg", "duckdb"] {
            let request = lake.request(reader, pin).await;
            let refusal = self.operation.refused_by(reader, self.version);
            match (readers.ask(&request), refusal.filter(|_| pin.is_none())) {
                (Ok(found), None) => {
                    if found != state {
                        wrong.push(format!("{reader} of {at}: {}", brief(&found, &state)));
                    }
                }
                (Err((kind, message)), None) => {
                    wrong.push(format!("{reader} of {at}: {kind}: {message}"));
                }
                (Ok(_), Some(words)) => wrong.push(format!(
                    "{reader} of {at}: it should have refused with `{words}`; if it reads this now, \
                     say so in docs/tables/README.md"
                )),
                (Err((_, message)), Some(words)) => {
                    if !message.contains(words) {
                        wrong.push(format!("{reader} of {at}: `{message}`, not `{words}`"));
                    }
                }
            }
        }
        wrong
    }
}

/// What two states say about themselves where they differ.
fn brief(found: &Json, expected: &Json) -> String {
    let mut differs = Vec::new();
    if found["rows"] != expected["rows"] {
        differs.push(format!("{} rows instead of {}", found["rows"], expected["rows"]));
    }
    let columns = |state: &Json| state["columns"].as_array().unwrap().clone();
    let (theirs, ours) = (columns(found), columns(expected));
    let names = |columns: &[Json]| json!(columns.iter().map(|c| &c["name"]).collect::<Vec<_>>());
    if names(&theirs) != names(&ours) {
        differs.push(format!("columns {} instead of {}", names(&theirs), names(&ours)));
    } else {
        let changed = theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs != ours);
        differs.extend(changed.map(|(theirs, _)| format!("other values in {}", theirs["name"])));
    }
    if differs.is_empty() {
        "rows are put together otherwise".to_owned()
    } else {
        differs.join("; ")
    }
}

/// The first rows that only one side has.
pub(crate) fn difference(found: &[String], expected: &[String]) -> String {
    let only = |of: &[String], not: &[String]| {
        let mut rest = not.to_vec();
        let lines = of.iter().filter(|line| match rest.iter().position(|other| other == *line) {
            Some(place) => {
                rest.swap_remove(place);
                false
            }
            None => true,
        });
        lines.take(3).cloned().collect::<Vec<_>>().join(" ")
    };
    format!(
        "{} rows instead of {}; only found: {}; only expected: {}",
        found.len(),
        expected.len(),
        only(found, expected),
        only(expected, found)
    )
}
