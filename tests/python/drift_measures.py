"""Distances between two lists of numbers, by scipy where it is present and by numpy otherwise."""

import json
import sys

import numpy as np


def cumulative(values, at):
    return np.searchsorted(np.sort(values), at, side="right") / len(values)


def kolmogorov_smirnov(a, b):
    at = np.concatenate([a, b])
    return float(np.max(np.abs(cumulative(a, at) - cumulative(b, at))))


def wasserstein(a, b):
    at = np.sort(np.concatenate([a, b]))
    gaps = np.abs(cumulative(a, at[:-1]) - cumulative(b, at[:-1]))
    return float(np.sum(gaps * np.diff(at)))


def jensen_shannon(p, q):
    p, q = np.asarray(p), np.asarray(q)
    mean = (p + q) / 2
    part = lambda x: np.sum(np.where(x > 0, x * np.log2(np.where(x > 0, x, 1) / mean), 0))
    return float(np.sqrt((part(p) + part(q)) / 2))


def stability_index(p, q):
    p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
    return float(np.sum((q - p) * np.log(q / p)))


def main():
    with open(sys.argv[1]) as file:
        asked = json.load(file)
    a, b = np.array(asked["a"], float), np.array(asked["b"], float)
    p = np.array([bin["reference"] for bin in asked["bins"]])
    q = np.array([bin["current"] for bin in asked["bins"]])
    found = {
        "ks": kolmogorov_smirnov(a, b),
        "wasserstein": wasserstein(a, b),
        "js": jensen_shannon(p, q),
        "psi": stability_index(p, q),
        "mean": [float(np.mean(a)), float(np.mean(b))],
        "stddev": [float(np.std(a)), float(np.std(b))],
    }
    try:
        from scipy import stats
        from scipy.spatial import distance
    except ImportError:
        pass
    else:
        found["ks"] = float(stats.ks_2samp(a, b).statistic)
        found["wasserstein"] = float(stats.wasserstein_distance(a, b))
        found["js"] = float(distance.jensenshannon(p, q, base=2))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
