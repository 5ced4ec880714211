//! What the online store does not have is found in the tables by an index. C89

use std::path::Path;

use icecore_testkit::Random;
use serde_json::{Value, json as document};

use crate::binary::json;
use crate::service::Service;
use crate::upkeep::data_files;

const ROWS: usize = 100_000;
const COLUMNS: usize = 8;
const FEATURES: &str = r#"
[[entity]]
name = "user"
join_keys = ["user_token"]
[[feature_view]]
name = "wide"
entities = ["user"]
source = "ml.wide"
columns = ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7"]
"#;
const SCORING: &str = r#"
name = "churn"
model = "models:/churn/Production"
view = "wide"
table = "ml.wide"
prediction = "f0"
date_column = "day"
[serve]
route = "/churn-score/{user_token}"
default = 0.05
"#;

/// A table of one row for each user, sorted as its owner wants lookups to be quick; the rows.
fn table(project: &Path) -> Vec<[f64; COLUMNS]> {
    let mut random = Random::new(5);
    let rows: Vec<[f64; COLUMNS]> =
        (0..ROWS).map(|_| std::array::from_fn(|_| random.normal())).collect();
    let mut lines = String::from("user_token,event_timestamp,day,f0,f1,f2,f3,f4,f5,f6,f7\n");
    for at in 0..ROWS {
        // Not in the order of users.
        let user = at * 7_919 % ROWS;
        let values: Vec<String> = rows[user].iter().map(f64::to_string).collect();
        let values = values.join(",");
        lines.push_str(&format!("u_{user:09},2026-01-31T00:00:00Z,2026-01-31,{values}\n"));
    }
    let file = project.join("rows.csv");
    std::fs::write(&file, lines).unwrap();
    json(project, &["ingest", "ml.wide", file.to_str().unwrap()]);
    json(project, &["table", "alter", "ml.wide", "sort-by", "user_token"]);
    json(project, &["table", "compact", "ml.wide", "--sort", "--all"]);
    rows
}

/// Bytes that a process has read of files.
fn read_bytes(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    line.parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_miss_is_answered_by_an_index_and_never_by_a_scan() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path();
    for folder in ["features", "scoring"] {
        std::fs::create_dir(project.join(folder)).unwrap();
    }
    // Nobody answers there.
    std::fs::write(project.join("icecore.toml"), "[online]\nurl = 'redis://127.0.0.1:1'\n")
        .unwrap();
    std::fs::write(project.join("features/wide.toml"), FEATURES).unwrap();
    std::fs::write(project.join("scoring/churn.toml"), SCORING).unwrap();
    let rows = table(project);
    let sizes =
        data_files(project, "ml.wide").into_iter().map(|path| path.metadata().unwrap().len());
    let size = sizes.max().unwrap();
    assert!(size > 4_000_000, "{size}");
    let service = Service::start(project, &[]);
    let mut random = Random::new(9);
    let mut ask = |is_score: bool| {
        let user = random.below(ROWS as u64) as usize;
        let token = format!("u_{user:09}");
        if is_score {
            let answer = service.json_from("lakehouse", &format!("/churn-score/{token}"));
            assert_eq!(answer["f0"], document!(rows[user][0]), "{answer}");
            return;
        }
        let features: Vec<String> = (0..COLUMNS).map(|at| format!("wide:f{at}")).collect();
        let asked = document!({"features": features, "entities": {"user_token": [token]}});
        let (status, answer) = service.post("/get-online-features", "", &asked.to_string());
        assert_eq!((status, &answer["metadata"]["source"]), (200, &document!("lakehouse")));
        let values: Vec<&Value> =
            answer["results"].as_array().unwrap()[1..].iter().map(|r| &r["values"][0]).collect();
        let expected: Vec<Value> = rows[user].iter().map(|value| document!(value)).collect();
        assert_eq!(values, expected.iter().collect::<Vec<_>>());
    };
    for is_score in [true, false] {
        // What is read once for all.
        ask(is_score);
        let (before, count) = (read_bytes(service.pid()), 20);
        (0..count).for_each(|_| ask(is_score));
        let each = (read_bytes(service.pid()) - before) / count;
        assert!(each < size / 8, "{each} bytes of {size} for one row, score: {is_score}");
    }
}
