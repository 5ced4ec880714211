#!/usr/bin/env python3
"""Ranks beside LightGBM's lambdarank: same rows, queries and parameters, 2 threads, five seeds.

Usage: ranking.py BOOST [--queries N] [--seeds N]

BOOST is `cargo build --release -p icecore-benches --bin boost`. What is compared is NDCG of ten
rows on queries that nobody learned from, measured by scikit-learn for both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

FEATURES = 12


def generate(queries, seed):
    """Queries of 5 to 60 rows, graded 0 to 4 by their place within the query."""
    import numpy as np

    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 61, queries)
    groups = np.repeat(np.arange(queries, dtype=np.uint64), sizes)
    rows = len(groups)
    x = rng.normal(size=(FEATURES, rows))
    x[3] = rng.exponential(2.0, rows)
    # Some features differ more between queries than within them.
    x[5] += np.repeat(rng.normal(size=queries) * 3, sizes)
    x[6][rng.random(rows) < 0.2] = np.nan
    hidden = (x[0] + 0.7 * np.sin(2 * x[1]) + 0.5 * (x[2] > 0.3) * x[0] - 0.3 * np.log1p(x[3])
              + 0.4 * x[5] + np.repeat(rng.normal(size=queries) * 2, sizes) - 0.4 * np.nan_to_num(x[6])
              + rng.normal(size=rows) * 1.2)
    labels = np.empty(rows)
    start = 0
    for size in sizes:
        place = np.argsort(np.argsort(hidden[start:start + size])) / size
        labels[start:start + size] = np.digitize(place, [0.5, 0.75, 0.9, 0.97])
        start += size
    return x, labels, groups, sizes


def ndcg(labels, scores, sizes):
    from sklearn.metrics import ndcg_score

    start, measured = 0, []
    for size in sizes:
        gains, found = 2 ** labels[start:start + size] - 1, scores[start:start + size]
        if gains.max() > 0:
            measured.append(ndcg_score([gains], [found], k=10))
        start += size
    return float(statistics.mean(measured))


def main():
    import lightgbm as lgb
    import numpy as np

    parser = argparse.ArgumentParser()
    parser.add_argument("boost")
    parser.add_argument("--queries", type=int, default=3_000)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    results = {"icecore": [], "lightgbm": []}
    with tempfile.TemporaryDirectory() as folder:
        path = lambda name: os.path.join(folder, name)  # noqa: E731
        x, y, groups, sizes = generate(args.queries, 1)
        xt, yt, groups_test, sizes_test = generate(args.queries // 3, 2)
        for name, rows, labels, of in (("train", x, y, groups), ("test", xt, yt, groups_test)):
            np.vstack([rows, labels]).tofile(path(name))
            of.tofile(path(name + ".groups"))
        for seed in range(args.seeds):
            given = {"objective": "lambdarank", "n_estimators": 200, "learning_rate": 0.05, "max_depth": 5,
                     "subsample": 0.8, "min_samples_leaf": 50, "seed": seed, "threads": 2,
                     "groups": f"{path('train.groups')},{path('test.groups')}"}
            command = [args.boost, path("train"), path("test"), str(FEATURES), path("model.txt"),
                       *(f"{k}={v}" for k, v in given.items())]
            out = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            # Our model in LightGBM's format, scored by LightGBM and measured by scikit-learn.
            scores = lgb.Booster(model_file=path("model.txt")).predict(xt.T)
            measured = ndcg(yt, scores, sizes_test)
            assert abs(measured - out["ndcg"]) < 1e-9, (measured, out)
            results["icecore"].append((measured, out["fit_cpu_s"]))
            start = time.process_time()
            data = lgb.Dataset(x.T, y, group=sizes, params={"max_bin": 255, "verbosity": -1})
            booster = lgb.train({
                "objective": "lambdarank", "learning_rate": 0.05, "max_depth": 5, "num_leaves": 32,
                "bagging_fraction": 0.8, "bagging_freq": 1, "min_data_in_leaf": 50,
                "min_sum_hessian_in_leaf": 0, "num_threads": 2, "verbosity": -1, "seed": seed}, data, 200)
            used = time.process_time() - start
            results["lightgbm"].append((ndcg(yt, booster.predict(xt.T), sizes_test), used))
    for engine, runs in results.items():
        print(json.dumps({
            "engine": engine, "rows": len(y), "seeds": len(runs),
            "ndcg_10": round(statistics.mean(quality for quality, _ in runs), 5),
            "fit_cpu_s": round(statistics.median(used for _, used in runs), 3)}))


if __name__ == "__main__":
    sys.exit(main())
