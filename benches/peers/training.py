#!/usr/bin/env python3
"""Trains and scores boosted trees beside LightGBM, XGBoost and CatBoost: same rows, comparable parameters, 2 threads.

Usage: training.py BOOST [--runs N] [--sets a,b] [--engines icecore,lightgbm,…] [--output results/training.json]

BOOST is `cargo build --release -p icecore-benches --bin boost`. Each engine runs in a process of
its own, one after the other, N times; what is reported is the median. Fit time includes binning.
`pip install lightgbm xgboost catboost lleaves numpy`. CatBoost grows oblivious trees of depth 5, whatever the shape,
and scores rows that are already in its own pool; lleaves compiles the model that icecore trained, and trains none.
Everything scores on one thread.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

SETS = {
    "9x100k": (9, 100_000),
    "24x100k": (24, 100_000),
    "9x1M": (9, 1_000_000),
    "24x1M": (24, 1_000_000),
}
TEST_ROWS = 100_000
COMMON = {"n_estimators": 300, "learning_rate": 0.05, "subsample": 0.8, "min_samples_leaf": 50}
SHAPES = {"depth 5": {"max_depth": 5}, "31 leaves": {"num_leaves": 31}}


def generate(features, rows, seed):
    """Counts, times and shares with missing values, of which some explain the label."""
    import numpy as np

    rng = np.random.default_rng(seed)
    x = np.empty((features, rows))
    for at in range(features):
        kind = at % 4
        if kind == 0:
            x[at] = rng.poisson(6 + at, rows)
        elif kind == 1:
            x[at] = rng.exponential(20, rows)
        elif kind == 2:
            x[at] = rng.random(rows)
        else:
            x[at] = np.round(rng.normal(size=rows) * 50, 2)
        if at % 3 == 1:
            x[at][rng.random(rows) < 0.05 * (1 + at % 4)] = np.nan
    odds = (-0.35 * x[0] + 0.06 * np.nan_to_num(x[1], nan=30) + 3 * (x[2] > 0.7) * (x[0] > 6)
            + 0.012 * x[3] - 1.0 * np.sin(x[3] / 40) + 0.3 * (np.nan_to_num(x[5]) > 15) + 0.4 * x[6]
            - 0.02 * np.nan_to_num(x[7]) * (x[6] > 0.5))
    odds -= np.quantile(odds, 0.72)
    label = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
    return np.vstack([x, label])


def memory(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) / 1024


def auc(label, score):
    import numpy as np

    order = np.argsort(score, kind="stable")
    values, inverse, counts = np.unique(score[order], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = label[order] == 1
    p, n = positive.sum(), (~positive).sum()
    return float((ranks[positive].sum() - p * (p + 1) / 2) / (p * n))


def peer(engine, train, test, features, shape, seed, model):
    import numpy as np

    def read(path):
        data = np.fromfile(path).reshape(features + 1, -1)
        return np.ascontiguousarray(data[:features].T), data[features]

    (x, y), (xt, yt) = read(train), read(test)
    if engine == "lleaves":
        return compiled(xt, model)
    # What reading the files took does not count.
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")
    if engine == "lightgbm":
        import lightgbm as lgb

        loaded = memory("VmRSS")
        size = {"max_depth": 5, "num_leaves": 32} if shape == "depth 5" else {"num_leaves": 31}
        start, cpu = time.perf_counter(), time.process_time()
        data = lgb.Dataset(x, y, params={"max_bin": 255, "verbosity": -1})
        booster = lgb.train({
            "objective": "binary", "learning_rate": 0.05, "bagging_fraction": 0.8, "bagging_freq": 1,
            "min_data_in_leaf": 50, "min_sum_hessian_in_leaf": 0, "num_threads": 2, "verbosity": -1,
            "seed": seed, **size}, data, 300)
    elif engine == "catboost":
        import catboost as cb

        loaded = memory("VmRSS")
        start, cpu = time.perf_counter(), time.process_time()
        booster = cb.CatBoostClassifier(
            iterations=300, depth=5, learning_rate=0.05, bootstrap_type="Bernoulli", subsample=0.8, border_count=254,
            thread_count=2, random_seed=seed, allow_writing_files=False, verbose=False)
        booster.fit(x, y)
    else:
        import xgboost as xgb

        loaded = memory("VmRSS")
        size = ({"max_depth": 5} if shape == "depth 5"
                else {"max_depth": 0, "max_leaves": 31, "grow_policy": "lossguide"})
        start, cpu = time.perf_counter(), time.process_time()
        data = xgb.QuantileDMatrix(x, y, max_bin=256, nthread=2)
        booster = xgb.train({
            "objective": "binary:logistic", "eta": 0.05, "subsample": 0.8, "min_child_weight": 8,
            "lambda": 0, "tree_method": "hist", "nthread": 2, "seed": seed, "max_bin": 256, **size},
            data, 300)
    wall, used, peak = time.perf_counter() - start, time.process_time() - cpu, memory("VmHWM") - loaded
    if engine == "lightgbm":
        def predict(rows, **more):
            return booster.predict(rows, num_threads=1, **more)
    elif engine == "catboost":
        xt = cb.Pool(xt)

        def predict(rows):
            return booster.predict(rows, prediction_type="Probability", thread_count=1)[:, 1]
    else:
        booster.set_param({"nthread": 1})

        def predict(rows):
            return booster.inplace_predict(rows)
    best = float("inf")
    for _ in range(2):
        begin = time.process_time()
        scores = predict(xt)
        best = min(best, (time.process_time() - begin) / len(yt))
    out = {"fit_s": wall, "fit_cpu_s": used, "auc": auc(yt, scores), "peak_mib": peak,
           "predict_ns": best * 1e9}
    if engine == "lightgbm" and os.path.exists(model):
        # Our model, scored by LightGBM: every row must agree.
        import lightgbm as lgb

        ours = lgb.Booster(model_file=model)
        begin = time.process_time()
        theirs = ours.predict(xt, num_threads=1)
        out["predict_our_model_ns"] = (time.process_time() - begin) / len(xt) * 1e9
        out["our_model_checksum"] = float(theirs.sum())
    print(json.dumps(out))


def compiled(rows, model):
    """Scores with the model that lleaves compiles."""
    import lleaves

    start, cpu = time.perf_counter(), time.process_time()
    booster = lleaves.Model(model_file=model)
    booster.compile()
    out = {"compile_s": time.perf_counter() - start, "compile_cpu_s": time.process_time() - cpu}
    best = float("inf")
    for _ in range(5):
        begin = time.process_time()
        scores = booster.predict(rows, n_jobs=1)
        best = min(best, (time.process_time() - begin) / len(rows))
    print(json.dumps({**out, "predict_ns": best * 1e9, "our_model_checksum": float(scores.sum())}))


def main():
    if sys.argv[1] == "peer":
        engine, train, test, features, shape, seed, model = sys.argv[2:]
        return peer(engine, train, test, int(features), shape, int(seed), model)
    parser = argparse.ArgumentParser()
    parser.add_argument("boost")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--engines", default="icecore,lightgbm,xgboost")
    parser.add_argument("--output")
    args = parser.parse_args()
    results = []
    for name in args.sets.split(","):
        features, rows = SETS[name]
        with tempfile.TemporaryDirectory() as folder:
            train, test, model = (os.path.join(folder, f) for f in ("train", "test", "model.txt"))
            generate(features, rows, 1).tofile(train)
            generate(features, TEST_ROWS, 2).tofile(test)
            for shape in args.shapes.split(","):
                measured = {}
                for run in range(args.runs):
                    for engine in args.engines.split(","):
                        if engine == "icecore":
                            given = {**COMMON, **SHAPES[shape], "seed": run, "threads": 2}
                            command = [args.boost, train, test, str(features), model,
                                       *(f"{k}={v}" for k, v in given.items())]
                        else:
                            command = [sys.executable, __file__, "peer", engine, train, test,
                                       str(features), shape, str(run), model]
                        out = subprocess.run(command, check=True, capture_output=True, text=True,
                                             env={**os.environ, "RAYON_NUM_THREADS": "1"})
                        measured.setdefault(engine, []).append(json.loads(out.stdout))
                for engine, runs in measured.items():
                    row = {"set": name, "shape": shape, "engine": engine, "runs": len(runs)}
                    for key in runs[0]:
                        values = [one[key] for one in runs]
                        if key == "auc":
                            row[key] = round(statistics.mean(values), 6)
                        elif isinstance(values[0], float):
                            row[key] = round(statistics.median(values), 4)
                    results.append(row)
                    print(json.dumps(row), flush=True)
    if args.output:
        with open(args.output, "w") as f:
            json.dump(results, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
