"""Runs a point-in-time join beside Polars, DuckDB and pandas: a spine and three feature views with a ttl of 7, 30
and 90 days, from files to a file, one process each, taking turns.

Usage: pit.py [--work DIR] [--rounds 5] [--data 100k-1m-10k-uni,1m-10m-100k-zipf,…] [--peers icecore,polars,…]
              [--threads 2] [--memory MIB] [--limit SECONDS] [--out benches/results/pit.json]

Wants `cargo build --release -p icecore-benches --bin pit_join` first (or --binary), and a Python with duckdb,
pandas, polars and pyarrow. Data is named SPINE-FEATURES-ENTITIES-SKEW, with `-tenth` where the spine covers the
last tenth of the time, and `-wide` for one view of 1,000 features; `icecore-sorted` reads tables in the order of entity and time. What each made is compared
by DuckDB, every value to the bit, rows by their number; one that made something else fails the run. CPU seconds
count; imports and the start of a session do not.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DAY = 86_400_000_000
FIRST = 1_672_531_200_000_000
DAYS = 365


def views(name):
    """Days of a row's ttl and number of features, by view."""
    return {1: (30, 1000)} if "wide" in str(name) else {1: (7, 3), 2: (30, 2), 3: (90, 3)}



def number(text):
    return int(text.rstrip("km")) * {"k": 1_000, "m": 1_000_000}.get(text[-1], 1)


def make(directory, name):
    """Features in the order of time, as they are appended; the spine in no order. One moment, one row of a view."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    spine, features, entities, skew, *part = name.split("-")
    spine, features, entities = number(spine), number(features), number(entities)
    rng = np.random.default_rng(2026)
    if skew == "zipf":
        weights = 1.0 / np.arange(1, entities + 1) ** 1.05
        cumulated = np.cumsum(weights) / weights.sum()

    def picked(rows):
        if skew == "uni":
            return rng.integers(0, entities, rows)
        return np.minimum(np.searchsorted(cumulated, rng.random(rows)), entities - 1)

    def write(table, path):
        pq.write_table(table, path, row_group_size=1_000_000, compression="zstd", compression_level=1)

    directory.mkdir(parents=True, exist_ok=True)
    for view, (_, count) in views(name).items():
        moments = np.sort(rng.choice(DAYS * DAY // 50, features, replace=False) * 50) if features <= 1_000_000 else (
            np.arange(features) * (DAYS * DAY // features) + rng.integers(0, DAYS * DAY // features, features)
        )
        columns = {"entity_id": picked(features), "event_timestamp": pa.array(FIRST + moments, pa.timestamp("us"))}
        columns |= {f"f{view}_{c}": np.round(rng.normal(100, 30, features), 3) for c in range(count)}
        write(pa.table(columns), directory / f"fv{view}.parquet")
    begin = DAYS * DAY * 9 // 10 if "tenth" in part else 0
    rows = {
        "row_id": np.arange(spine),
        "entity_id": picked(spine),
        "event_timestamp": pa.array(FIRST + rng.integers(begin, DAYS * DAY, spine), pa.timestamp("us")),
        "label": rng.integers(0, 2, spine).astype(np.int8),
    }
    write(pa.table(rows), directory / "spine.parquet")


def duckdb_side(data, out, threads, memory):
    import duckdb

    con = duckdb.connect()
    con.execute(f"SET threads = {threads}; SET preserve_insertion_order = false; SET memory_limit = '{memory}MiB'")
    con.execute(f"SET temp_directory = '{data.parent / 'duckdb_tmp'}'")
    yield
    joins, columns = "", ""
    for view, (days, count) in views(data).items():
        joins += f""" ASOF LEFT JOIN read_parquet('{data}/fv{view}.parquet') v{view}
            ON s.entity_id = v{view}.entity_id AND s.event_timestamp >= v{view}.event_timestamp"""
        fresh = f"v{view}.event_timestamp >= s.event_timestamp - INTERVAL {days} DAY"
        columns += "".join(f", CASE WHEN {fresh} THEN f{view}_{c} END AS f{view}_{c}" for c in range(count))
    con.execute(
        f"COPY (SELECT s.*{columns} FROM read_parquet('{data}/spine.parquet') s{joins}) TO '{out}' "
        "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
    )


def polars_side(data, out, threads, _memory):
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    import polars as pl

    yield
    rows = pl.scan_parquet(data / "spine.parquet").sort("event_timestamp")
    for view, (days, _) in views(data).items():
        features = pl.scan_parquet(data / f"fv{view}.parquet")
        features = features.set_sorted("event_timestamp")
        rows = rows.join_asof(
            features, on="event_timestamp", by="entity_id", tolerance=f"{days}d", check_sortedness=False
        )
    rows.collect().write_parquet(out, compression="zstd", compression_level=1)


def pandas_side(data, out, _threads, _memory):
    import pandas as pd

    yield
    rows = pd.read_parquet(data / "spine.parquet").sort_values("event_timestamp")
    for view, (days, _) in views(data).items():
        features = pd.read_parquet(data / f"fv{view}.parquet")
        rows = pd.merge_asof(
            rows, features, on="event_timestamp", by="entity_id", tolerance=pd.Timedelta(days=days)
        )
    rows.to_parquet(out, compression="zstd", index=False)


SIDES = {"duckdb": duckdb_side, "polars": polars_side, "pandas": pandas_side}


def peak_mib():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def side(peer, data, out, threads, memory):
    """The process of a peer."""
    steps = SIDES[peer](Path(data), out, int(threads), int(memory))
    next(steps)
    began, worked = time.perf_counter(), time.process_time()
    for _ in steps:
        pass
    cost = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - worked}
    print(json.dumps({**cost, "peak_mib": peak_mib()}))


def checksum(out, name):
    """Rows, and of every column a sum of hashes with the row's number."""
    import duckdb

    features = [f"f{view}_{c}" for view, (_, count) in views(name).items() for c in range(count)]
    sums = ", ".join(f"sum(hash(row_id, {column})::HUGEINT % 1000000007), count({column})" for column in features)
    row = duckdb.execute(f"SELECT count(*), sum(row_id::HUGEINT * entity_id), {sums} FROM read_parquet('{out}')")
    return [int(value) for value in row.fetchone()]


def once(given, name, peer):
    data, out = given.work / name, given.work / f"out_{peer}.parquet"
    out.unlink(missing_ok=True)
    if peer.startswith("icecore"):
        lake = given.work / ("lake_sorted" if peer.endswith("sorted") else "lake")
        command = [given.binary, "join", lake, data, out, given.threads, given.memory, len(views(name))]
    else:
        command = [sys.executable, __file__, "--side", peer, data, out, given.threads, given.memory]
    try:
        run = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=given.limit)
    except subprocess.TimeoutExpired:
        return {"over": given.limit}
    if run.returncode != 0:
        said = run.stderr.strip().splitlines()
        return {"error": said[-1][:300] if said else f"ended with status {run.returncode}"}
    return {**json.loads(run.stdout), "checksum": checksum(out, name)}


def prepare(given, name):
    if not (given.work / name / "spine.parquet").exists():
        make(given.work / name, name)
    for lake, order in (("lake", []), ("lake_sorted", ["entity_id", "event_timestamp"])):
        done = given.work / lake / f"{name}.done"
        if done.exists() or (order and "icecore-sorted" not in given.peers):
            continue
        done.parent.mkdir(parents=True, exist_ok=True)
        for view in views(name):
            file = given.work / name / f"fv{view}.parquet"
            command = [given.binary, "load", given.work / lake, f"bench.d{name.replace('-', '_')}_fv{view}", file, *order]
            subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
        done.touch()


def measured(runs):
    done = [run for run in runs if "cpu_seconds" in run]
    if not done:
        return runs[0]
    middle = {key: round(statistics.median(run[key] for run in done), 3) for key in ("cpu_seconds", "seconds")}
    return {**middle, "peak_mib": round(max(run["peak_mib"] for run in done)), "runs": len(done)}


def main():
    if sys.argv[1:2] == ["--side"]:
        return side(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("target/peers/pit"))
    parser.add_argument("--binary", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", default="100k-1m-10k-uni,1m-10m-100k-uni,1m-10m-100k-zipf,1m-10m-100k-uni-tenth")
    parser.add_argument("--peers", default="icecore,icecore-sorted,polars,duckdb,pandas")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int, default=4096)
    parser.add_argument("--limit", type=float, default=600)
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    given.binary = (given.binary or target / "release/pit_join").resolve()
    given.work, given.peers = given.work.resolve(), given.peers.split(",")
    from run import machine
    from importlib.metadata import version

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    report = {
        "command": "benches/peers/pit.py " + " ".join(sys.argv[1:]),
        "commit": commit.stdout.strip(),
        "machine": machine(),
        "versions": {name: version(name) for name in ("duckdb", "polars", "pandas", "pyarrow")},
        "jobs": {},
    }
    if given.out and given.out.exists():
        report["jobs"] = json.loads(given.out.read_text())["jobs"]
    for name in given.data.split(","):
        prepare(given, name)
        if given.rounds == 0:
            continue
        runs = {peer: [] for peer in given.peers}
        for _ in range(given.rounds):
            for peer in given.peers:
                if not (runs[peer] and "cpu_seconds" not in runs[peer][0]):
                    runs[peer].append(once(given, name, peer))
        sums = {peer: found[0]["checksum"] for peer, found in runs.items() if "checksum" in found[0]}
        if len({json.dumps(value) for value in sums.values()}) > 1:
            raise SystemExit(f"{name}: the peers disagree: {json.dumps(sums)}")
        report["jobs"][name] = {peer: measured(found) for peer, found in runs.items()}
        print(name, file=sys.stderr)
        for peer, found in report["jobs"][name].items():
            print(f"  {peer:16} {found}", file=sys.stderr)
        if given.out:
            given.out.write_text(json.dumps(report, indent=1) + "\n")
    if not given.out:
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
