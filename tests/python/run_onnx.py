"""Scores rows with ONNX Runtime and prints what it says.

usage: run_onnx.py MODEL ROWS.json
"""

import json
import sys

import numpy as np
import onnxruntime

rows = np.array(json.load(open(sys.argv[2])), dtype=np.float64)
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
outputs = dict(zip([output.name for output in session.get_outputs()],
                   session.run(None, {"input": rows})))
scores = outputs.get("probabilities", outputs.get("variable"))
labels = outputs.get("label")
print(json.dumps({
    "scores": np.asarray(scores, dtype=float).tolist(),
    "labels": None if labels is None else labels.tolist(),
}))
