//! Training, searching, explaining and exchanging models, through the binary.

use std::path::Path;

use crate::binary::{failure, json, own_demo};

/// The share of positive rows, as often as they count and as they are.
const POSITIVE: &str = "SELECT sum(CASE WHEN churn_label THEN times ELSE 0 END) / sum(times) \
     AS weighed, avg(CASE WHEN churn_label THEN 1.0 ELSE 0.0 END) AS plain FROM ml_training.churn";

/// Replaces what the project trains.
fn train_with(project: &Path, model: &str) {
    let file = project.join("training/churn.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut spec: toml::Table = toml::from_str(&text).unwrap();
    spec.remove("search");
    let more: toml::Table = toml::from_str(model).unwrap();
    spec.extend(more);
    std::fs::write(&file, toml::to_string(&spec).unwrap()).unwrap();
}

/// Removes a table of the definition.
fn without(project: &Path, table: &str) {
    let file = project.join("training/churn.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut spec: toml::Table = toml::from_str(&text).unwrap();
    spec.remove(table);
    std::fs::write(&file, toml::to_string(&spec).unwrap()).unwrap();
}

fn is_trial(of: &serde_json::Value, run: &str) -> bool {
    of["tags"]["mlflow.parentRunId"].as_str() == Some(run)
        && of["name"].as_str().is_some_and(|name| name.contains("-trial-"))
}

// C28, C63: with early stopping and a search, too.
#[test]
fn a_searched_model_is_recorded_reproduced_and_exchanged() {
    let (dir, project) = own_demo();
    train_with(
        &project,
        r#"
        [model]
        name = "leafy"
        algorithm = "gbdt"
        params = { n_estimators = 60, early_stopping_rounds = 5, min_samples_leaf = 20 }
        [search]
        params = { num_leaves = [4, 12], learning_rate = [0.1, 0.3] }
        trials = 3
        measure = "log_loss"
        "#,
    );
    let trained = json(&project, &["train", "churn"]);
    let run = trained["run_id"].as_str().unwrap();
    let metrics = &trained["metrics"];
    assert!(metrics["val_auc_roc"].as_f64().unwrap() > 0.6, "{metrics}");
    assert!(metrics["val_rounds"].as_f64().unwrap() <= 60.0, "{metrics}");

    let runs = json(&project, &["runs", "list"]);
    let trials = runs.as_array().unwrap().iter().filter(|of| is_trial(of, run)).count();
    assert_eq!(trials, 3, "{runs:#}");
    let shown = json(&project, &["runs", "show", run]);
    let artifacts = shown["artifacts"].as_array().unwrap();
    for path in [
        "pictures/roc.svg",
        "pictures/calibration.svg",
        "pictures/importance.svg",
        "model/evaluation.json",
    ] {
        assert!(artifacts.contains(&path.into()), "{artifacts:?}");
    }
    assert_eq!(json(&project, &["reproduce", run])["equal"], true);

    let importance = json(&project, &["models", "importance", "leafy"]);
    let sum = |of: &str| {
        let inputs = importance.as_array().unwrap();
        inputs.iter().map(|input| input[of].as_f64().unwrap()).sum::<f64>()
    };
    assert!((sum("gain") - 1.0).abs() < 1e-9 && (sum("splits") - 1.0).abs() < 1e-9);

    let query = "SELECT * FROM ml_training.churn LIMIT 5";
    let explain = |model: &str| json(&project, &["models", "explain", model, "--sql", query]);
    let ours = explain("leafy");
    for row in ours.as_array().unwrap() {
        let adds = row["contributions"].as_array().unwrap();
        let sum: f64 = adds.iter().map(|pair| pair[1].as_f64().unwrap()).sum();
        let margin = row["margin"].as_f64().unwrap();
        assert!((sum + row["expected"].as_f64().unwrap() - margin).abs() < 1e-6, "{row}");
    }

    let file = dir.path().join("leafy.txt");
    let path = file.to_str().unwrap();
    json(&project, &["models", "export", "leafy", "--to", "lightgbm", "--output", path]);
    let (_, message) =
        failure(&project, &["models", "export", "leafy", "--to", "lightgbm", "--output", path]);
    assert!(message.contains("is there already"), "{message}");
    let dry = json(&project, &["models", "import", "back", path, "--dry-run"]);
    assert_eq!(dry["signature"]["output"], "probability");
    assert_eq!(json(&project, &["models", "import", "back", path])["version"], 1);
    let theirs = explain("back");
    for (ours, theirs) in ours.as_array().unwrap().iter().zip(theirs.as_array().unwrap()) {
        let (ours, theirs) = (&ours["prediction"], &theirs["prediction"]);
        assert!((ours.as_f64().unwrap() - theirs.as_f64().unwrap()).abs() < 1e-9);
    }
    let folder = dir.path().join("mlflow");
    let path = folder.to_str().unwrap();
    json(&project, &["models", "export", "leafy", "--to", "mlflow", "--output", path]);
    for name in ["MLmodel", "model.lgb"] {
        assert!(folder.join(name).try_exists().unwrap(), "{name}");
    }
}

// C28, C63: the proof begins with what the rows were made of, not with the table that they are in.
#[test]
fn a_model_is_made_again_when_the_table_of_its_rows_is_gone() {
    let (_dir, project) = own_demo();
    let first = json(&project, &["train", "churn_logistic"]);
    let run = first["run_id"].as_str().unwrap();
    let content = |run: &str| {
        let shown = json(&project, &["runs", "show", run]);
        shown["params"]["training_data_content_hash"].clone()
    };
    let proof = |arguments: &[&str]| {
        let made = json(&project, arguments);
        assert_eq!(made["equal"], true, "{made:#}");
        assert_eq!(made["content_hash"], made["recorded_content_hash"], "{made:#}");
        made
    };
    let rebuilt = proof(&["reproduce", run]);
    assert_eq!(rebuilt["rows"], "rebuilt");
    assert_eq!(rebuilt["content_hash"], content(run));
    assert_eq!(proof(&["reproduce", run, "--from-table"])["rows"], "table");

    // Another build of the set, and a model of its first state.
    let file = project.join("training/churn_logistic.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let fewer = "labels.churn_outcomes WHERE user_token > 'u0000050'";
    std::fs::write(&file, text.replace("labels.churn_outcomes", fewer)).unwrap();
    json(&project, &["dataset", "build", "churn_logistic"]);
    let state = first["dataset"]["snapshot"].as_str().unwrap();
    let old = json(&project, &["train", "churn_logistic", "--at", state]);
    assert_eq!(old["rows"], first["rows"]);
    let old = old["run_id"].as_str().unwrap();
    assert_eq!(content(old), content(run));
    assert_eq!(proof(&["reproduce", old])["rows"], "table");

    let table = first["dataset"]["table"].as_str().unwrap();
    json(&project, &["table", "drop", table, "--yes"]);
    assert_eq!(proof(&["reproduce", run]), rebuilt);
    let (_, said) = failure(&project, &["reproduce", run, "--from-table"]);
    assert!(said.contains("joins the rows again from what they were made of"), "{said}");
    let (_, said) = failure(&project, &["reproduce", old]);
    assert!(said.contains("does not know what those rows were made of"), "{said}");
}

// A trial that fails is a failed child, and takes nothing from the others.
#[test]
fn trials_and_folds_are_children_of_their_run() {
    let (_dir, project) = own_demo();
    train_with(
        &project,
        r#"
        [cross_validation]
        folds = 3
        shuffle = true
        seed = 5
        [[preprocess]]
        step = "scale"
        [model]
        name = "searched"
        algorithm = "gbdt"
        params = { n_estimators = 10 }
        [search]
        trials = 4
        [search.params]
        monotone = ["+txn_count_7d", "+nope"]
        learning_rate = { low = 0.01, high = 0.3, log = true }
        "scale.method" = ["standard", "robust"]
        "#,
    );
    let trained = json(&project, &["train", "churn"]);
    let run = trained["run_id"].as_str().unwrap();
    let shown = json(&project, &["runs", "show", run]);
    let children = shown["children"].as_array().unwrap();
    let named = |part: &str| -> Vec<&serde_json::Value> {
        let is = |child: &&serde_json::Value| child["name"].as_str().unwrap().contains(part);
        children.iter().filter(is).collect()
    };
    let (trials, folds) = (named("-trial-"), named("-fold-"));
    assert_eq!((trials.len(), folds.len()), (4, 3), "{children:#?}");
    let failed: Vec<_> = trials.iter().filter(|trial| trial["status"] == "FAILED").collect();
    assert!(!failed.is_empty() && failed.len() < 4, "{trials:#?}");
    assert!(failed.iter().all(|trial| trial["params"]["monotone"] == "+nope"));
    let why = failed[0]["tags"]["icecore.error"].as_str().unwrap();
    assert!(why.contains("names the feature `nope`"), "{why}");
    assert_eq!(shown["metrics"]["search_failed_trials"], failed.len() as f64);
    let warning = trained["warnings"][0].as_str().unwrap();
    assert!(warning.contains("of 4 combinations failed"), "{warning}");
    let scores: Vec<f64> =
        folds.iter().map(|fold| fold["metrics"]["val_roc_auc"].as_f64().unwrap()).collect();
    let mean = scores.iter().sum::<f64>() / 3.0;
    assert!((mean - trained["metrics"]["cv_auc_mean"].as_f64().unwrap()).abs() < 1e-12);
    assert!(shown["params"]["preprocess"].as_str().unwrap().starts_with("scale"));
    assert_eq!(json(&project, &["reproduce", run])["equal"], true);
}

// What is measured is what the objective minimizes.
#[test]
fn numbers_are_measured_by_their_objective() {
    let (_dir, project) = own_demo();
    for (objective, more, measure) in [
        ("quantile", ", alpha = 0.9", "quantile_loss"),
        ("absolute", "", "mae"),
        ("poisson", "", "poisson_deviance"),
    ] {
        train_with(
            &project,
            &format!(
                "[cross_validation]\nfolds = 2\n[model]\nname = \"numbers\"\nalgorithm = \"gbdt\"\n\
                 params = {{ objective = \"{objective}\", n_estimators = 8{more} }}\n"
            ),
        );
        let trained = json(&project, &["train", "churn"]);
        for name in [format!("val_{measure}"), format!("cv_{measure}_mean"), "val_rmse".into()] {
            assert!(trained["metrics"][&name].is_number(), "{name}: {trained:#}");
        }
    }
}

#[test]
fn mistakes_in_a_search_are_told_before_anything_is_fitted() {
    let (_dir, project) = own_demo();
    let model = "[model]\nname = \"m\"\nalgorithm = \"gbdt\"\n";
    for (search, message) in [
        ("params = { max_dept = [3] }", "has no parameter `max_dept`"),
        ("params = { max_depth = [] }", "parameter `max_depth` has no value to try"),
        ("params = { max_depth = { low = 5, high = 3 } }", "the range of `max_depth` ends before"),
        ("params = { l2 = { low = 0, high = 3.5 } }", "the range of `l2` has no end of values"),
        ("params = { max_depth = 3 }", "give a list of values, or a range"),
        ("params = { \"scale.method\" = [\"robust\"] }", "is of a step that is not there"),
        ("params = { max_depth = [3] }\nmeasure = \"auc\"", "there is no measure `auc`"),
    ] {
        train_with(&project, &format!("{model}[search]\n{search}\n"));
        let (code, said) = failure(&project, &["train", "churn"]);
        assert!(code == 2 || code == 1, "{code}");
        assert!(said.contains(message), "{said}");
    }
    let (_, said) = failure(&project, &["models", "import", "m", "training/churn.toml"]);
    assert!(said.contains("training/churn.toml") || said.contains("no model"), "{said}");
}

// C28, C158: preprocessing, weights and groups are part of what is recorded.
#[test]
fn a_pipeline_with_weights_and_groups_is_recorded_and_reproduced() {
    let (dir, project) = own_demo();
    let file = project.join("training/churn.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let spine = "churned AS churn_label FROM";
    assert!(text.contains(spine));
    let more = "churned AS churn_label, substr(user_token, 1, 6) AS region, \
                CASE WHEN churned THEN 3.0 ELSE 1.0 END AS times FROM";
    std::fs::write(&file, text.replace(spine, more)).unwrap();
    json(&project, &["dataset", "build", "churn"]);
    train_with(
        &project,
        r#"
        weight = "times"
        [cross_validation]
        folds = 3
        by = "group"
        group = "region"
        [[preprocess]]
        step = "impute"
        indicator = true
        [[preprocess]]
        step = "scale"
        method = "robust"
        columns = ["txn_count_90d"]
        [model]
        name = "piped"
        algorithm = "gbdt"
        params = { n_estimators = 40 }
        "#,
    );
    let trained = json(&project, &["train", "churn"]);
    let run = trained["run_id"].as_str().unwrap();
    let rows = json(&project, &["sql", POSITIVE]);
    let (weighed, plain) = (rows[0]["weighed"].as_f64(), rows[0]["plain"].as_f64());
    assert!(weighed > plain, "{rows}");
    let rate = trained["metrics"]["positive_class_rate"].as_f64().unwrap();
    assert!((rate - weighed.unwrap()).abs() < 1e-12, "{trained:#}");
    assert!(trained["metrics"]["cv_auc_mean"].as_f64().unwrap() > 0.6, "{trained:#}");
    let shown = json(&project, &["runs", "show", run]);
    assert!(shown["artifacts"].as_array().unwrap().contains(&"pictures/learning_curve.svg".into()));
    let params = &shown["params"];
    assert_eq!(params["weight"], "times");
    assert!(params["preprocess"].as_str().unwrap().starts_with("impute indicator=true"));
    assert!(params["library_versions"].as_str().unwrap().contains("smartcore"));
    assert_eq!(json(&project, &["reproduce", run])["equal"], true);
    let query = "SELECT * FROM ml_training.churn LIMIT 3";
    let why = json(&project, &["models", "explain", "piped", "--sql", query]);
    assert_eq!(why[0]["contributions"].as_array().unwrap().len(), 8, "one of each input");
    let path = dir.path().join("piped.txt");
    let export = ["models", "export", "piped", "--to", "lightgbm", "--output"];
    let (_, said) = failure(&project, &[&export[..], &[path.to_str().unwrap()]].concat());
    assert!(said.contains("a model with steps of preprocessing"), "{said}");

    train_with(&project, "[cross_validation]\nfolds = 2\nby = \"time\"\ngap = 3\n");
    let timed = json(&project, &["train", "churn"]);
    assert!(timed["metrics"]["cv_auc_std"].as_f64().unwrap() >= 0.0);
    train_with(&project, "[cross_validation]\nby = \"group\"\n");
    let (code, said) = failure(&project, &["train", "churn"]);
    assert!(code == 1 && said.contains("belong together"), "{code}: {said}");
}

// C28, C158
#[test]
fn a_ranking_is_trained_by_query_recorded_and_reproduced() {
    let (dir, project) = own_demo();
    let file = project.join("training/churn.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let more = "churned AS churn_label, substr(user_token, 1, 7) AS region FROM";
    std::fs::write(&file, text.replace("churned AS churn_label FROM", more)).unwrap();
    json(&project, &["dataset", "build", "churn"]);
    train_with(
        &project,
        "group = \"region\"\n[model]\nname = \"ranks\"\nalgorithm = \"gbdt\"\n\
         params = { objective = \"lambdarank\", n_estimators = 40, early_stopping_rounds = 10, \
         ndcg_at = 3 }\n[cross_validation]\nfolds = 3\n",
    );
    let trained = json(&project, &["train", "churn"]);
    let run = trained["run_id"].as_str().unwrap();
    let metrics = &trained["metrics"];
    for name in ["cv_ndcg_mean", "val_ndcg", "val_map"] {
        let measured = metrics[name].as_f64().unwrap();
        assert!((0.1..=1.0).contains(&measured), "{name}: {trained:#}");
    }
    let shown = json(&project, &["runs", "show", run]);
    assert_eq!(shown["params"]["group"], "region");
    assert_eq!(json(&project, &["reproduce", run])["equal"], true);
    let path = dir.path().join("ranks.txt");
    let export = ["models", "export", "ranks", "--to", "lightgbm", "--output"];
    json(&project, &[&export[..], &[path.to_str().unwrap()]].concat());
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("tree"));

    train_with(&project, "[cross_validation]\nby = \"group\"\ngroup = \"user_token\"\n");
    let (code, said) = failure(&project, &["train", "churn"]);
    assert!(code == 1 && said.contains("ranked by `region`"), "{code}: {said}");
}

#[test]
fn a_model_of_several_classes_explains_each() {
    let (_dir, project) = own_demo();
    train_with(
        &project,
        "[model]\nname = \"many\"\nalgorithm = \"gbdt\"\n\
         params = { objective = \"multiclass\", n_estimators = 10 }\n",
    );
    let trained = json(&project, &["train", "churn"]);
    let shown = json(&project, &["runs", "show", trained["run_id"].as_str().unwrap()]);
    let artifacts = shown["artifacts"].as_array().unwrap();
    for path in ["model/evaluation.json", "pictures/confusion.svg"] {
        assert!(artifacts.contains(&path.into()), "{artifacts:?}");
    }
    let query = "SELECT * FROM ml_training.churn LIMIT 2";
    let why = json(&project, &["models", "explain", "many", "--sql", query]);
    let classes: Vec<_> =
        why.as_array().unwrap().iter().map(|row| row["class"].as_u64().unwrap()).collect();
    assert_eq!(classes, [0, 1, 0, 1]);

    // A class that no row has would be learned all the same.
    let file = project.join("training/churn.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let spine = "churned AS churn_label FROM";
    assert!(text.contains(spine));
    let gaps = "CASE WHEN churned THEN 7 ELSE 3 END AS churn_label FROM";
    let text = text.replace(spine, gaps).replace("ml_training.churn", "ml_training.gaps");
    std::fs::write(&file, text).unwrap();
    json(&project, &["dataset", "build", "churn"]);
    let (_, said) = failure(&project, &["train", "churn"]);
    assert!(
        said.contains("no row has 0, 1, 2, 4, 5, 6") && said.contains("dense_rank()"),
        "{said}"
    );
}

// C28: rows that stay in their table teach what rows in memory do, to the byte.
#[test]
fn a_streamed_training_gives_the_same_bytes_metrics_and_pictures() {
    let (_dir, project) = own_demo();
    for params in [
        "n_estimators = 40, subsample = 0.7",
        "n_estimators = 60, num_leaves = 12, early_stopping_rounds = 5",
    ] {
        train_with(&project, "[cross_validation]\nfolds = 3\n");
        let model = "[model]\nname = \"streamed\"\nalgorithm = \"gbdt\"\nparams = { ";
        train_with(&project, &format!("{model}{params} }}\n"));
        let (code, said) = failure(&project, &["train", "churn", "--stream"]);
        assert!(code == 1 && said.contains("cannot be streamed: cross-validation"), "{said}");

        without(&project, "cross_validation");
        let loaded = json(&project, &["train", "churn"]);
        let streamed = json(&project, &["train", "churn", "--stream"]);
        assert_eq!(loaded["model_hash"], streamed["model_hash"]);
        assert_eq!(loaded["metrics"], streamed["metrics"]);
        assert_eq!(loaded["rows"], streamed["rows"]);
        assert!(streamed["metrics"]["val_auc_roc"].as_f64().unwrap() > 0.6, "{streamed:#}");
        let shown = |trained: &serde_json::Value| {
            let run = trained["run_id"].as_str().unwrap();
            json(&project, &["runs", "show", run])
        };
        let (loaded, shown) = (shown(&loaded), shown(&streamed));
        assert_eq!(loaded["artifacts"], shown["artifacts"]);
        assert_eq!(loaded["params"], shown["params"]);
        let run = streamed["run_id"].as_str().unwrap();
        assert_eq!(json(&project, &["reproduce", run])["equal"], true);
    }
    let forest = "[model]\nname = \"forest\"\nalgorithm = \"random_forest\"\n";
    train_with(&project, forest);
    let (_, said) = failure(&project, &["train", "churn", "--stream"]);
    assert!(said.contains("only `gbdt` learns"), "{said}");
}
