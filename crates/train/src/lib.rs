//! Training that can be rebuilt bit for bit: gradient boosting, baselines, splits, metrics, model files.
