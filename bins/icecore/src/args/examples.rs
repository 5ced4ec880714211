//! An example of every command, at the end of its help text. The tests parse each of them.

use clap::Command;

/// What follows `icecore` on the command line, by command.
#[rustfmt::skip]
pub(super) const EXAMPLES: &[(&str, &[&str])] = &[
    ("demo", &["demo --dir churn-demo", "demo --data CDNOW_master.txt --dir cdnow-demo"]),
    ("init", &["init my-churn", "init my-project --template empty"]),
    ("ingest", &[
        "ingest events.payments june.parquet --partition-by 'day(event_timestamp)'",
        "ingest events.payments july.csv --job-id july --on-error skip",
        "ingest ml.scores today.parquet --mode upsert --key user_token,feature_date",
        "ingest ml.scores january.parquet --mode overwrite --where \"day < '2026-02-01'\"",
    ]),
    ("sql", &[
        "sql \"SELECT score_bucket, count(*) FROM ml_predictions.churn_scores GROUP BY 1\"",
        "sql \"SELECT count(*) FROM events.payments\" --at events.payments=2026-11-01T00:00:00Z",
        "sql 'SELECT * FROM events.\"payments$snapshots\"'",
        "sql \"SELECT * FROM ml.scores\" --output scores.parquet",
    ]),
    ("table list", &["table list"]),
    ("table create", &[
        "table create shop.orders 'id long' 'price decimal(10, 2)' 'ordered_at timestamptz' \
         --identifier id --partition 'day(ordered_at)' --sort 'ordered_at desc'",
        "table create events.payments --from june.parquet --required user_token --dry-run",
    ]),
    ("table show", &["table show events.payments"]),
    ("table log", &["table log events.payments --limit 3"]),
    ("table diff", &["table diff ml.scores before-cleanup latest --key user_token"]),
    ("table alter add", &[
        "table alter shop.orders add country string --after id --doc \"ISO 3166\"",
        "table alter shop.orders add address.zip string",
    ]),
    ("table alter drop", &["table alter shop.orders drop note"]),
    ("table alter rename", &["table alter shop.orders rename amount price"]),
    ("table alter widen", &["table alter shop.orders widen price double"]),
    ("table alter optional", &["table alter shop.orders optional price"]),
    ("table alter move", &["table alter shop.orders move price --first"]),
    ("table alter doc", &["table alter shop.orders doc price \"without tax\""]),
    ("table alter identifier", &["table alter shop.orders identifier id"]),
    ("table alter partition-by", &[
        "table alter shop.orders partition-by 'day(ordered_at)' 'bucket(16, id)'",
    ]),
    ("table alter partition-add", &["table alter shop.orders partition-add country"]),
    ("table alter partition-drop", &["table alter shop.orders partition-drop 'bucket(16, id)'"]),
    ("table alter sort-by", &["table alter shop.orders sort-by id 'ordered_at desc'"]),
    ("table changes", &[
        "table changes shop.orders --from v1 --to latest --key id",
        "table changes shop.orders --from 4711815 --mode log --output changes.parquet",
    ]),
    ("table tag", &["table tag events.payments before-cleanup", "table tag ml.scores q2 --at 4711815 --max-ref-age 90d"]),
    ("table untag", &["table untag events.payments before-cleanup"]),
    ("table branch", &["table branch ml.features audit --max-ref-age 30d"]),
    ("table retain", &["table retain ml.features audit --min-snapshots-to-keep 3"]),
    ("table fast-forward", &["table fast-forward ml.features audit --to main --dry-run"]),
    ("table publish", &["table publish ml.features audit"]),
    ("table cherry-pick", &["table cherry-pick ml.features 4711815 --dry-run"]),
    ("table set", &[
        "table set ml.scores write.parquet.compression-codec=lz4",
        "table set ml.scores --unset write.parquet.compression-codec",
    ]),
    ("table upgrade", &["table upgrade ml.scores --to 3 --dry-run"]),
    ("table rollback", &["table rollback events.payments --to before-cleanup"]),
    ("table expire", &["table expire events.payments --older-than 30d --retain-last 10 --dry-run"]),
    ("table clean", &["table clean events.payments --dry-run"]),
    ("table compact", &["table compact ml.scores --sort --all", "table compact events.payments --dry-run"]),
    ("table rewrite-manifests", &["table rewrite-manifests events.payments --dry-run"]),
    ("table export", &["table export ml.scores --at before-cleanup --output scores.csv"]),
    ("table delete", &["table delete ml.scores --where \"user_token = 'u_17'\" --dry-run"]),
    ("table rename", &["table rename ml.scores ml.churn_scores"]),
    ("table register", &[
        "table register ml.scores file:///lake/ml/scores/metadata/00007-5f0c.metadata.json",
    ]),
    ("table drop", &["table drop ml.scores --dry-run"]),
    ("run", &[
        "run",
        "run +user_features",
        "run --select tag:ml --exclude path:models/staging",
        "run --full-refresh --vars 'window_days: 30'",
    ]),
    ("test", &["test user_features"]),
    ("docs", &["docs --sql"]),
    ("features list", &["features list"]),
    ("features show", &["features show churn_features"]),
    ("features search", &["features search --column amount --tag tier=gold --owner risk"]),
    ("features history", &["features history churn_features"]),
    ("features diff", &["features diff churn_features --from 1 --to 3"]),
    ("features apply", &["features apply --dry-run", "features apply --yes"]),
    ("features lineage", &["features lineage churn_features --openlineage events.jsonl"]),
    ("features get", &[
        "features get \"churn_features:*\" --at 2026-03-01 --at 2026-04-01",
        "features get churn_features:txn_count_30d --spine-file people.csv --key user_token=customer",
        "features get \"churn_features:*\" --every 7d --from 2026-01-01 --to 2026-07-01",
    ]),
    ("features check", &["features check"]),
    ("features compute", &[
        "features compute churn_features",
        "features compute churn_features --from 2026-04-01",
    ]),
    ("features backfill", &["features backfill churn_features --step 30d"]),
    ("features verify", &["features verify churn_features --sample 0.01"]),
    ("features explain", &["features explain churn_features --entity u0000007 --at 2026-06-01"]),
    ("dataset build", &["dataset build churn --dry-run", "dataset build churn"]),
    ("dataset explain", &["dataset explain churn"]),
    ("dataset list", &["dataset list"]),
    ("dataset show", &["dataset show churn"]),
    ("dataset verify", &["dataset verify churn"]),
    ("dataset diff", &["dataset diff churn churn_v2", "dataset diff old/churn.lock.toml churn"]),
    ("dataset export", &["dataset export churn --output churn.parquet --part training"]),
    ("train", &["train churn"]),
    ("reproduce", &["reproduce 4d7c9992ad0a4fa3b81d0906ccda6bde"]),
    ("runs list", &["runs list --experiment /ml/churn-prediction"]),
    ("runs show", &["runs show 4d7c9992ad0a4fa3b81d0906ccda6bde"]),
    ("runs compare", &[
        "runs compare 4d7c9992ad0a4fa3b81d0906ccda6bde d6970d1086614532a38500f9ff057660",
    ]),
    ("runs delete", &["runs delete 4d7c9992 d6970d10 --dry-run", "runs delete 4d7c9992"]),
    ("runs restore", &["runs restore 4d7c9992"]),
    ("runs gc", &["runs gc --older-than 30d --dry-run", "runs gc --older-than 30d"]),
    ("models list", &["models list"]),
    ("models show", &["models show churn-prediction-gbm"]),
    ("models promote", &["models promote churn-prediction-gbm 1 --to Production"]),
    ("models delete", &[
        "models delete churn-prediction-gbm 3 4 --dry-run",
        "models delete churn-of-others --all",
    ]),
    ("models importance", &["models importance churn-prediction-gbm --version Production"]),
    ("models explain", &[
        "models explain churn-prediction-gbm --sql \"SELECT * FROM ml_training.churn LIMIT 10\"",
    ]),
    ("models export", &["models export churn-prediction-gbm --to lightgbm --output churn.txt"]),
    ("models import", &["models import churn-of-others model.txt --dry-run"]),
    ("score", &["score churn --date 2026-07-01", "score churn --dry-run"]),
    ("score explain", &["score explain u0000007 --date 2026-07-01"]),
    ("label", &["label churn --dry-run", "label churn --as-of 2026-08-01"]),
    ("evaluate", &["evaluate churn"]),
    ("materialize", &["materialize churn", "materialize churn_features --dry-run"]),
    ("monitor profile", &[
        "monitor profile ml_features.churn_features",
        "monitor profile model:churn-prediction-gbm/Production",
    ]),
    ("monitor drift", &[
        "monitor drift model:churn-prediction-gbm/Production scoring:churn --output drift.html",
    ]),
    ("monitor check", &["monitor check", "monitor check churn --dry-run"]),
    ("monitor skew", &["monitor skew churn", "monitor skew --serving serving.features_churn_v1 --since 1h"]),
    ("monitor list", &["monitor list"]),
    ("online materialize", &["online materialize churn_features", "online materialize --all"]),
    ("online get", &[
        "online get churn:u0000007",
        "online get churn_features:txn_count_30d --entity user_token=u0000007",
    ]),
    ("online verify", &["online verify churn_features"]),
    ("online status", &["online status"]),
    ("push", &["push payments events.parquet --key monday"]),
    ("serve", &["serve --listen 127.0.0.1:8080"]),
    ("flight", &["flight --listen 127.0.0.1:8815"]),
    ("attempt", &["attempt 0b5a2f0e-7b1d-4c80-9b6f-6f6f2a1d9c11"]),
    ("fsck", &["fsck", "fsck events.payments --deep"]),
    ("doctor", &["doctor"]),
    ("completions", &["completions bash"]),
];

/// The commands with their examples.
pub(super) fn shown(root: Command) -> Command {
    with_examples(root, "")
}

fn with_examples(mut command: Command, path: &str) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    for name in names {
        let path = if path.is_empty() { name.clone() } else { format!("{path} {name}") };
        command = command.mut_subcommand(name, |inner| with_examples(inner, &path));
    }
    let Some((_, lines)) = EXAMPLES.iter().find(|(known, _)| *known == path) else {
        return command;
    };
    let heading = if lines.len() == 1 { "Example:" } else { "Examples:" };
    let lines = lines.iter().map(|line| format!("\n  icecore {line}"));
    command.after_help(format!("{heading}{}", lines.collect::<String>()))
}

#[cfg(test)]
mod tests;
