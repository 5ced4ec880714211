"""Trains models with LightGBM, XGBoost and scikit-learn, saves them in their formats, and prints the
rows that they were asked for and what they said: for tests that compare our predictions with theirs.

usage: foreign_models.py FOLDER
"""

import json
import sys
from pathlib import Path

import lightgbm
import numpy as np
import onnxruntime
import pandas as pd
import xgboost
from skl2onnx import to_onnx
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

FOLDER = Path(sys.argv[1])
RANDOM = np.random.default_rng(5)
ROWS, WIDTH = 400, 5
X = RANDOM.normal(size=(ROWS, WIDTH)) * [1, 10, 100, 0.01, 3]
NUMBER = X[:, 0] * 3 + np.where(X[:, 1] > 4, 8, 0) + X[:, 2] / 50 + RANDOM.normal(size=ROWS)
CLASS = (NUMBER > 1).astype(int)
CLASSES = np.digitize(NUMBER, [-2, 3])
GAPS = np.where(RANDOM.random(X.shape) < 0.15, np.nan, X)
models = []


def listed(rows):
    return [[None if isinstance(v, float) and np.isnan(v) else v for v in row] for row in rows]


def add(name, file, columns, rows, expected):
    expected = np.asarray(expected, dtype=float)
    models.append({
        "name": name,
        "file": str(file),
        "columns": list(columns),
        "rows": listed(rows),
        "expected": expected.reshape(len(rows), -1).tolist(),
    })


def booster(name, save, columns, rows, expected):
    file = FOLDER / name
    save(str(file))
    add(name, file, columns, rows, expected)


def lightgbm_models():
    frame = pd.DataFrame({"x": GAPS[:, 0], "y": GAPS[:, 1]})
    frame["shop"] = pd.Categorical(RANDOM.choice(["zoo", "bar", "café"], ROWS))
    frame["plan"] = pd.Categorical(RANDOM.choice([30, 7, 365], ROWS))
    label = CLASS ^ (frame["shop"] == "bar").to_numpy() ^ (frame["plan"] == 7).to_numpy()
    params = {"verbose": -1, "min_data_in_leaf": 5, "objective": "binary", "min_data_per_group": 1,
              "cat_smooth": 1, "num_threads": 1}
    model = lightgbm.train(params, lightgbm.Dataset(frame, label), 20)
    rows = [list(row) for row in frame.astype(object).to_numpy()]
    booster("pandas.txt", model.save_model, frame.columns, rows, model.predict(frame))
    # One split, about `x`: text that no split is about.
    model = lightgbm.train({**params, "num_leaves": 2}, lightgbm.Dataset(frame, frame["x"] > 0), 1)
    booster("pandas_aside.txt", model.save_model, frame.columns, rows, model.predict(frame))


def xgboost_models():
    columns = [f"f{at}" for at in range(WIDTH)]

    def trained(label, rounds=15, data=GAPS, types=None, **params):
        params = {"nthread": 1, "max_depth": 4, "base_score": 0.4, **params}
        matrix = xgboost.DMatrix(data, label, feature_names=columns, feature_types=types,
                                 enable_categorical=True)
        model = xgboost.train(params, matrix, rounds)
        return model, model.predict(matrix)

    for name, label, params in [
        ("binary.ubj", CLASS, {"objective": "binary:logistic"}),
        ("classes.ubj", CLASSES, {"objective": "multi:softprob", "num_class": 3}),
        ("number.ubj", NUMBER, {"objective": "reg:squarederror"}),
        ("parallel.json", CLASS, {"objective": "binary:logistic", "num_parallel_tree": 3,
                                  "subsample": 0.7, "colsample_bynode": 0.6}),
        ("parallel_classes.ubj", CLASSES, {"objective": "multi:softprob", "num_class": 3,
                                           "num_parallel_tree": 2, "subsample": 0.7}),
    ]:
        model, expected = trained(label, **params)
        booster(name, model.save_model, columns, GAPS.tolist(), expected)
    mixed = GAPS.copy()
    mixed[:, 0] = RANDOM.integers(0, 12, ROWS)
    mixed[::9, 0] = np.nan
    label = (np.nan_to_num(mixed[:, 0], nan=3) % 3 == 0).astype(int) ^ CLASS
    types = ["c", "q", "q", "q", "q"]
    for name, hot in [("categories.json", 1), ("partitions.ubj", 100)]:
        model, _ = trained(label, data=mixed, types=types, objective="binary:logistic",
                           max_cat_to_onehot=hot)
        # Categories that were not there, and numbers that are none.
        asked = mixed.copy()
        asked[::6, 0] = RANDOM.choice([13, 253, 254, 300, 1e7, -1, -0.5, 3.5], len(asked[::6]))
        matrix = xgboost.DMatrix(asked, feature_names=columns, feature_types=types,
                                 enable_categorical=True)
        booster(name, model.save_model, columns, asked.tolist(), model.predict(matrix))
    # Stopped early: the interface for scikit-learn predicts with the rounds up to the best.
    for name, label, params in [("stopped.json", CLASS, {}), ("stopped_classes.ubj", CLASSES, {}),
                                ("stopped_forests.ubj", CLASS, {"num_parallel_tree": 2})]:
        model = xgboost.XGBClassifier(n_estimators=200, learning_rate=1, n_jobs=1, subsample=0.7,
                                      early_stopping_rounds=4, **params)
        model.fit(GAPS[:300], label[:300], eval_set=[(GAPS[300:], label[300:])], verbose=False)
        assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
        expected = model.predict_proba(GAPS)
        expected = expected[:, 1] if expected.shape[1] == 2 else expected
        unnamed = [f"Column_{at}" for at in range(WIDTH)]
        booster(name, model.get_booster().save_model, unnamed, GAPS.tolist(), expected)


def onnx(name, estimator, label, data=X, types=None, options=None, frame=None, transform=None):
    estimator.fit(data if frame is None else frame, label)
    width = data.shape[1]
    types = types or [("input", FloatTensorType([None, width]))]
    opsets = {"": 18, "ai.onnx.ml": 3}
    converted = to_onnx(estimator, initial_types=types, options=options, target_opset=opsets)
    for node in converted.graph.node:
        for attribute in node.attribute:
            # As older versions fitted one class against the rest.
            if transform and attribute.name == "post_transform":
                attribute.s = transform.encode()
    file = FOLDER / f"{name}.onnx"
    file.write_bytes(converted.SerializeToString())
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64}
    feeds, at = {}, 0
    for given in session.get_inputs():
        count = given.shape[1]
        feeds[given.name] = data[:, at:at + count].astype(kinds[given.type])
        at += count
    outputs = session.run(None, feeds)
    expected = outputs[-1]
    if isinstance(expected, list):
        expected = np.array([[row[key] for key in sorted(row)] for row in expected])
    if expected.ndim == 2 and expected.shape[1] == 2:
        expected = expected[:, 1]
    columns = [f"Column_{at}" for at in range(width)]
    if len(session.get_inputs()) > 1:
        columns = [given.name if given.shape[1] == 1 else f"{given.name}_{at}"
                   for given in session.get_inputs() for at in range(given.shape[1])]
    add(name, file, columns, data.tolist(), expected)


def onnx_models():
    double = [("input", DoubleTensorType([None, WIDTH]))]
    onnx("tree", DecisionTreeClassifier(max_depth=4), CLASS)
    onnx("tree_number", DecisionTreeRegressor(max_depth=4), NUMBER)
    onnx("forest", RandomForestClassifier(20, max_depth=5, random_state=1), CLASS)
    onnx("forest_double", RandomForestClassifier(20, max_depth=5, random_state=1), CLASS, types=double)
    onnx("forest_classes", RandomForestClassifier(20, max_depth=5, random_state=1), CLASSES)
    onnx("forest_number", RandomForestRegressor(20, max_depth=5, random_state=1), NUMBER)
    onnx("extra_number", ExtraTreesRegressor(20, max_depth=5, random_state=1), NUMBER)
    onnx("boosting", GradientBoostingClassifier(n_estimators=20, random_state=1), CLASS)
    onnx("boosting_number", GradientBoostingRegressor(n_estimators=20, random_state=1), NUMBER)
    onnx("boosting_classes", GradientBoostingClassifier(n_estimators=20, random_state=1), CLASSES)
    onnx("raw_scores", GradientBoostingClassifier(n_estimators=20, random_state=1), CLASS,
         options={"raw_scores": True, "zipmap": False})
    onnx("logistic", LogisticRegression(max_iter=1000), CLASS)
    onnx("linear", LinearRegression(), NUMBER)
    onnx("no_zip", LogisticRegression(max_iter=1000), CLASS, options={"zipmap": False})
    steps = [SimpleImputer(strategy="median"), StandardScaler()]
    onnx("piped_logistic", make_pipeline(*steps, LogisticRegression(max_iter=1000)), CLASS, data=GAPS)
    onnx("piped_lasso", make_pipeline(*steps, Lasso(alpha=0.1)), NUMBER, data=GAPS)
    onnx("piped_boosting",
         make_pipeline(*steps, GradientBoostingClassifier(n_estimators=20, random_state=1)),
         CLASS, data=GAPS)
    onnx("min_max", make_pipeline(MinMaxScaler(), GradientBoostingRegressor(n_estimators=20)), NUMBER)
    columns = ColumnTransformer([("a", StandardScaler(), [3, 0]), ("b", SimpleImputer(), [1, 2])])
    onnx("columns", make_pipeline(columns, RandomForestClassifier(20, max_depth=5, random_state=1)),
         CLASS, data=np.column_stack([X[:, 0], GAPS[:, 1:3], X[:, 3]]))
    named = [(name, FloatTensorType([None, 1])) for name in "abcde"]
    columns = ColumnTransformer([("a", StandardScaler(), ["d", "a"]),
                                 ("b", "passthrough", ["b", "c", "e"])])
    onnx("named", make_pipeline(columns, GradientBoostingRegressor(n_estimators=20)), NUMBER,
         types=named, frame=pd.DataFrame(X, columns=list("abcde")))


def mixed(name, estimator, label, frame):
    """A pipeline over named columns of floats, whole numbers and text."""
    tensors = {"f": FloatTensorType, "i": Int64TensorType, "O": StringTensorType}
    estimator.fit(frame, label)
    types = [(column, tensors[frame[column].dtype.kind]([None, 1])) for column in frame]
    converted = to_onnx(estimator, initial_types=types, target_opset={"": 18, "ai.onnx.ml": 3})
    file = FOLDER / f"{name}.onnx"
    file.write_bytes(converted.SerializeToString())
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    kinds = {"f": np.float32, "i": np.int64, "O": object}
    # Rows with values that were not there.
    asked = frame.copy()
    asked.loc[::7, "city"] = "oslo"
    asked.loc[::5, "plan"] = 8
    feeds = {column: asked[[column]].to_numpy().astype(kinds[frame[column].dtype.kind])
             for column in asked if column in {given.name for given in session.get_inputs()}}
    expected = session.run(None, feeds)[-1]
    if isinstance(expected, list):
        expected = np.array([[row[key] for key in sorted(row)] for row in expected])
    if expected.ndim == 2 and expected.shape[1] == 2:
        expected = expected[:, 1]
    rows = [[None if v != v else v for v in row] for row in asked.astype(object).to_numpy().tolist()]
    add(name, file, frame.columns, rows, expected)


def mixed_models():
    names = np.array(["low", "mid", "top"])[CLASSES]
    onnx("classes", LogisticRegression(max_iter=1000), CLASSES)
    onnx("named_classes", LogisticRegression(max_iter=1000), names)
    onnx("one_against_rest", LogisticRegression(max_iter=1000), CLASSES, transform="LOGISTIC")
    onnx("named_forest", RandomForestClassifier(20, max_depth=5, random_state=1), names)
    onnx("named_boosting", GradientBoostingClassifier(n_estimators=10, random_state=1), names)
    onnx("named_pair", LogisticRegression(max_iter=1000), np.where(CLASS == 1, "yes", "no"))
    hot = make_pipeline(OneHotEncoder(handle_unknown="ignore", categories=[[7, 30, 365]] * 2))
    numbers = np.column_stack([RANDOM.choice([7, 30, 365], ROWS), RANDOM.choice([7, 30], ROWS)])
    onnx("hot_numbers", make_pipeline(hot, LogisticRegression()), CLASSES, data=numbers.astype(float))
    frame = pd.DataFrame({
        "city": RANDOM.choice(["rome", "paris", "köln"], ROWS), "a": GAPS[:, 0],
        "plan": RANDOM.choice([7, 30, 365], ROWS), "b": GAPS[:, 1], "note": "x",
    }).astype({"city": object, "note": object})
    score = NUMBER + 3 * (frame["city"] == "rome") - 2 * (frame["plan"] == 30)
    classes = np.digitize(score, [-2, 3])

    def columns():
        numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        hot = OneHotEncoder(handle_unknown="ignore")
        return ColumnTransformer([("numbers", numbers, ["a", "b"]), ("hot", hot, ["city", "plan"])])

    forest = RandomForestClassifier(20, max_depth=6, random_state=1)
    boosting = GradientBoostingClassifier(n_estimators=20, random_state=1)
    mixed("mixed_logistic", make_pipeline(columns(), LogisticRegression()), score > 1, frame)
    mixed("mixed_classes", make_pipeline(columns(), LogisticRegression()), classes, frame)
    mixed("mixed_names", make_pipeline(columns(), forest), np.array(["c", "a", "b"])[classes], frame)
    mixed("mixed_boosting", make_pipeline(columns(), boosting), score > 1, frame)
    mixed("mixed_ridge", make_pipeline(columns(), Ridge()), score, frame)


lightgbm_models()
xgboost_models()
onnx_models()
mixed_models()
print(json.dumps(models, default=str))
