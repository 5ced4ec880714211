"""Scores a table of features end to end beside pandas and LightGBM: read, predict, bucket, write.

Usage: score.py [--work DIR] [--rows 1000000] [--rounds 5] [--binary target/release/icecore] [--out benches/results/score.json]

Wants `cargo build --release -p icecore-cli` first, and a Python with lightgbm, numpy, pandas and pyarrow. One LightGBM
model (300 trees, 32 leaves, 9 features) is imported into icecore, so that both sides score the same trees; the sides
take turns, one process each, two threads. The peer reads Parquet, predicts, adds buckets, date and version, and writes
Parquet; icecore reads an Iceberg table, writes one with dynamic partition overwrite, statistics, and an audit run.
The predictions of both are compared. CPU seconds and ratios are what to quote.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from online import run

ROOT = Path(__file__).resolve().parent.parent.parent
FEATURES = [f"f{at}" for at in range(9)]
DAY = "2026-07-01"
DEFINITIONS = f"""
[[entity]]
name = "user"
join_keys = ["user_token"]
[[feature_view]]
name = "activity"
entities = ["user"]
source = "ml.activity"
columns = {json.dumps(FEATURES)}
"""
SCORING = """
name = "churn"
model = "models:/churn/Production"
view = "activity"
table = "ml.scores"
prediction = "churn_probability"
date_column = "churn_score_date"
buckets = [{ name = "high", at_least = 0.8 }, { name = "medium", at_least = 0.5 }, { name = "low" }]
"""


def make(work, rows):
    import lightgbm
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(2026)
    values = np.round(random.gamma(2.0, 20.0, (rows, len(FEATURES))), 2)
    at = np.full(rows, np.datetime64(DAY, "us"))
    columns = {"user_token": [f"u_{user:09d}" for user in range(rows)], "event_timestamp": pa.array(at, pa.timestamp("us", tz="UTC"))}
    columns |= {name: values[:, at] for at, name in enumerate(FEATURES)}
    pq.write_table(pa.table(columns), work / "features.parquet", compression="zstd")
    learned = values[:100_000]
    chance = 1 / (1 + np.exp((learned[:, 0] - 40) / 15 - learned[:, 1] * learned[:, 2] / 4_000))
    label = (random.random(len(learned)) < chance).astype(int)
    parameters = {"objective": "binary", "num_leaves": 32, "learning_rate": 0.05, "verbose": -1, "num_threads": 2}
    data = lightgbm.Dataset(learned, label, feature_name=FEATURES)
    lightgbm.train(parameters, data, 300).save_model(work / "model.txt")


def pandas_side(work):
    import lightgbm
    import pandas as pd

    began, worked = time.perf_counter(), time.process_time()
    model = lightgbm.Booster(model_file=str(work / "model.txt"))
    rows = pd.read_parquet(work / "features.parquet")
    found = rows[["user_token"]].copy()
    found["churn_probability"] = model.predict(rows[FEATURES], num_threads=2)
    edges = [-1, 0.5, 0.8, 2]
    found["score_bucket"] = pd.cut(found.churn_probability, edges, right=False, labels=["low", "medium", "high"]).astype(str)
    found["churn_score_date"] = pd.Timestamp(DAY).date()
    found["model_version"] = "1"
    found.to_parquet(work / "scores.parquet", compression="zstd", index=False)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cost = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - worked}
    print(json.dumps({**cost, "peak_mib": used.ru_maxrss / 1024}))


def icecore(options, *arguments):
    command = [options.binary, "--project", str(options.work / "project"), "--threads", "2", "--json", *arguments]
    cost = run(command)
    return cost.pop("out"), cost


def compare(options):
    import pandas as pd

    theirs = pd.read_parquet(options.work / "scores.parquet").set_index("user_token").sort_index()
    query = "SELECT user_token, churn_probability, score_bucket FROM ml.scores ORDER BY user_token"
    out = options.work / "ours.parquet"
    out.unlink(missing_ok=True)
    icecore(options, "sql", query, "--format", "parquet", "--output", str(out))
    ours = pd.read_parquet(out).set_index("user_token")
    apart = (ours.churn_probability - theirs.churn_probability).abs().max()
    if len(ours) != len(theirs) or apart > 1e-9 or (ours.score_bucket != theirs.score_bucket).sum():
        sys.exit(f"the sides disagree by {apart}")
    return float(apart)


def main():
    if sys.argv[1:2] == ["--pandas"]:
        return pandas_side(Path(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("/tmp/icecore-score"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binary", default=str(ROOT / "target/release/icecore"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    project = options.work / "project"
    for folder in ["features", "scoring"]:
        (project / folder).mkdir(parents=True)
    make(options.work, options.rows)
    (project / "icecore.toml").write_text("")
    (project / "features/activity.toml").write_text(DEFINITIONS)
    (project / "scoring/churn.toml").write_text(SCORING)
    icecore(options, "ingest", "ml.activity", str(options.work / "features.parquet"))
    icecore(options, "models", "import", "churn", str(options.work / "model.txt"))
    icecore(options, "models", "promote", "churn", "1", "--to", "Production")
    runs = {"icecore": [], "pandas": []}
    for _ in range(options.rounds):
        runs["icecore"].append(icecore(options, "score", "churn", "--date", DAY, "--force")[1])
        side = [sys.executable, __file__, "--pandas", str(options.work)]
        runs["pandas"].append(json.loads(subprocess.run(side, stdout=subprocess.PIPE, check=True).stdout))
    middle = lambda found, key: round(statistics.median(run[key] for run in found), 3)
    report = {
        "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "rows": options.rows,
        "rounds": options.rounds,
        "apart_at_most": compare(options),
    }
    for side, found in runs.items():
        report[side] = {key: middle(found, key) for key in ["seconds", "cpu", "peak_mib"]}
    report["ratio"] = round(report["pandas"]["cpu"] / report["icecore"]["cpu"], 2)
    text = json.dumps(report, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
