"""Reads a pinned table with a condition into a dense matrix of f32, beside PyIceberg, Polars and DuckDB: 10M rows of
14 columns written by icecore, of which six are read; one process each, taking turns.

Usage: matrix.py [--work DIR] [--rows 10000000] [--rounds 5] [--peers icecore,icecore-stream,pyiceberg,polars,duckdb]
                 [--threads 2] [--binary FILE] [--out benches/results/matrix.json]

Wants `cargo build --release -p icecore-benches --bin dense_matrix` first, and a Python with duckdb, numpy, polars,
pyarrow and pyiceberg. All read the same table through its SQLite catalog or metadata; DuckDB, whose Iceberg reader is
an extension, is told the snapshot's files instead. `icecore-stream` looks at each batch and keeps none. Rows and
sums of columns are compared; CPU seconds count, imports do not.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COLUMNS = [
    "txn_count_30d", "decline_rate_30d", "avg_amount_7d", "txn_count_90d", "unique_merchants_90d", "churn_label"
]
WHERE = "feature_date >= '2023-02-01' AND churn_label IS NOT NULL"


def make(work, rows):
    """A row for each user and day, in files of a million rows; a last file comes after the pin."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, users, files = np.random.default_rng(777), max(rows // 200, 1), []
    for at, first in enumerate([*range(0, rows, 1_000_000), rows - 1000]):
        count = 1000 if first == rows - 1000 else min(1_000_000, rows - first)
        index = np.arange(first, first + count)
        day = index // users
        week = rng.poisson(3, count)
        month = week + rng.poisson(9, count)
        quarter = month + rng.poisson(25, count)
        declined = rng.binomial(month, 0.06)
        spent = np.round(week * rng.gamma(2, 12, count), 2)
        table = {
            "user_token": pa.array([f"u_{user:012d}" for user in index % users]),
            "feature_date": pa.array((19358 + day).astype(np.int32)).cast(pa.date32()),
            "event_timestamp": pa.array(
                1_672_531_200_000_000 + day * 86_400_000_000 + rng.integers(0, 86_400_000_000, count),
                pa.timestamp("us", "UTC"),
            ),
            "txn_count_7d": week,
            "txn_amount_7d": spent,
            "avg_amount_7d": spent / np.maximum(week, 1),
            "txn_count_30d": month,
            "txn_amount_30d": np.round(month * rng.gamma(2, 12, count), 2),
            "decline_count_30d": declined,
            "txn_count_90d": quarter,
            "unique_merchants_90d": np.minimum(quarter, rng.poisson(15, count)),
            "decline_rate_30d": declined / np.maximum(month, 1),
            "days_since_last_txn": rng.integers(0, 90, count).astype(np.int32),
            "churn_label": pa.array((rng.random(count) < 0.1).astype(np.int32), mask=rng.random(count) < 0.2),
        }
        files.append(work / f"part_{at}.parquet")
        pq.write_table(pa.table(table), files[-1], compression="zstd", compression_level=1)
    return files


def catalog(lake):
    from pyiceberg.catalog.sql import SqlCatalog

    return SqlCatalog("icecore", uri=f"sqlite:///{lake}/catalog.db", warehouse=f"file://{lake}/warehouse")


def matrix(columns):
    import numpy as np

    whole = np.empty((len(columns), len(columns[0])), np.float32)
    for at, column in enumerate(columns):
        whole[at] = column
    return whole


def pyiceberg_side(lake, snapshot, _threads):
    import numpy
    import pyarrow
    import pyiceberg.catalog.sql

    yield
    table = catalog(lake).load_table("ml.churn")
    rows = table.scan(row_filter=WHERE, selected_fields=tuple(COLUMNS), snapshot_id=snapshot).to_arrow()
    yield matrix([rows[column].to_numpy() for column in COLUMNS])


def polars_side(lake, snapshot, threads):
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    import numpy
    import polars as pl
    import pyiceberg.catalog.sql

    table = catalog(lake).load_table("ml.churn")
    yield
    rows = pl.scan_iceberg(table.metadata_location, snapshot_id=snapshot)
    rows = rows.filter((pl.col("feature_date") >= pl.date(2023, 2, 1)) & pl.col("churn_label").is_not_null())
    rows = rows.select(*[pl.col(column).cast(pl.Float32) for column in COLUMNS]).collect()
    yield rows.to_numpy(order="fortran").T


def duckdb_side(lake, snapshot, threads):
    import duckdb
    import numpy

    files = catalog(lake).load_table("ml.churn").scan(snapshot_id=snapshot).plan_files()
    files = [task.file.file_path.removeprefix("file://") for task in files]
    con = duckdb.connect()
    con.execute(f"SET threads = {threads}; SET preserve_insertion_order = false")
    yield
    columns = ", ".join(f"{column}::FLOAT AS {column}" for column in COLUMNS)
    rows = con.execute(f"SELECT {columns} FROM read_parquet({files}) WHERE {WHERE}").fetchnumpy()
    yield matrix([rows[column] for column in COLUMNS])


SIDES = {"pyiceberg": pyiceberg_side, "polars": polars_side, "duckdb": duckdb_side}


def side(peer, lake, snapshot, threads):
    """The process of a peer."""
    steps = SIDES[peer](lake, int(snapshot), int(threads))
    next(steps)
    began, worked = time.perf_counter(), time.process_time()
    found = next(steps)
    cost = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - worked}
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    sums = [float(row.sum(dtype="float64")) for row in found]
    print(json.dumps({**cost, "peak_mib": int(line.split()[1]) / 1024, "rows": found.shape[1], "sums": sums}))


def measure(peer, lake, snapshot, args):
    if peer.startswith("icecore"):
        command = [args.binary, "stream" if peer.endswith("stream") else "read", lake, snapshot]
    else:
        command = [sys.executable, __file__, "--side", peer, lake, snapshot, str(args.threads)]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{peer}: {done.stderr.strip()}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    if sys.argv[1:2] == ["--side"]:
        return side(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "peers-matrix")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", default="icecore,icecore-stream,pyiceberg,polars,duckdb")
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "dense_matrix")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lake, pinned = args.work / f"lake_{args.rows}", args.work / f"lake_{args.rows}" / "pin"
    if not pinned.exists():
        shutil.rmtree(lake, ignore_errors=True)
        lake.mkdir(parents=True)
        files = make(args.work, args.rows)
        loaded = subprocess.run([args.binary, "load", lake, *files], capture_output=True, text=True, check=True)
        pinned.write_text(json.loads(loaded.stdout)["snapshot"])
        for file in files:
            file.unlink()
    snapshot, runs, sums = pinned.read_text(), {}, {}
    for _ in range(args.rounds):
        for peer in args.peers.split(","):
            done = measure(peer, lake, snapshot, args)
            found = [done["rows"], *(f"{total:.6g}" for total in done["sums"])]
            if sums.setdefault("all", found) != found:
                sys.exit(f"{peer} read {found}, not {sums['all']}")
            runs.setdefault(peer, []).append(done)
    rows = sums["all"][0]
    jobs = {}
    for peer, done in runs.items():
        middle = {key: statistics.median(run[key] for run in done) for key in ("cpu_seconds", "seconds", "peak_mib")}
        jobs[peer] = {**{key: round(value, 3) for key, value in middle.items()}, "runs": len(done)}
        print(f"  {peer:16} {jobs[peer]}")
    report = {
        "command": "benches/peers/matrix.py", "rows": rows, "matrix_mib": round(rows * len(COLUMNS) * 4 / 2**20),
        "machine": {"cores": os.cpu_count(), "system": platform.system()}, "jobs": jobs,
    }
    print(json.dumps({key: report[key] for key in ("rows", "matrix_mib")}))
    if args.out:
        args.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
