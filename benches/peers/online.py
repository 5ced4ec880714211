"""Materializes features to Redis beside redis-py, and serves scores and features beside a bare C server.

Usage: online.py [--work DIR] [--rows 1000000] [--rounds 5] [--binary target/release/icecore]
                 [--bare HELLO] [--seconds 3] [--parts materialize,serve] [--out benches/results/online.json]

Wants `cargo build --release -p icecore-cli` first, `redis-server` and `wrk`, and a Python with redis, pyarrow and
numpy. HELLO is a program that answers every request on the port that it is given with a fixed body: the limit of
one thread on this machine. One Redis, emptied before each run; sides take turns, and medians are printed.
Materialization counts wall seconds, CPU seconds of the client and of Redis, and the client's peak memory; the
values of both sides are compared. CPU seconds and ratios are what to quote.
"""

import argparse
import json
import os
import platform
import re
import resource
import statistics
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FEATURES = [
    "txn_count_7d",
    "txn_amount_7d",
    "avg_amount_7d",
    "txn_count_30d",
    "decline_count_30d",
    "txn_count_90d",
    "unique_merchants_90d",
    "decline_rate_30d",
]
DEFINITIONS = f"""
[[entity]]
name = "user"
join_keys = ["user_token"]
[[feature_view]]
name = "wide"
entities = ["user"]
source = "ml.wide"
columns = {json.dumps(FEATURES)}
"""


def make(path, rows, seed, day):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(seed)
    at = np.full(rows, 1_769_817_600_000_000 + day * 86_400_000_000, dtype="int64")
    columns = {
        "user_token": pa.array([f"u_{user:012d}" for user in range(rows)]),
        "event_timestamp": pa.array(at, pa.timestamp("us", tz="UTC")),
    }
    columns |= {name: pa.array(random.random(rows)) for name in FEATURES}
    pq.write_table(pa.table(columns), path, compression="zstd")


def redis_py(path, port):
    """The usual client: one SETEX a row with the values packed, in pipelines of 1000. One process of its own."""
    import pyarrow.parquet as pq
    import redis

    client = redis.Redis(port=port)
    table = pq.read_table(path, columns=["user_token", *FEATURES])
    begun = time.perf_counter()
    pipe = client.pipeline(transaction=False)
    for batch in table.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            value = struct.pack("<8d", *(row[name] for name in FEATURES))
            pipe.setex("feat:" + row["user_token"], 86400, value)
        pipe.execute()
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"seconds": time.perf_counter() - begun, "cpu": used.ru_utime + used.ru_stime}))


def run(arguments, **more):
    """Runs to the end; wall and CPU seconds, and peak memory.

    The peak is read while it runs: what the kernel says at the end includes this process before the other began.
    """
    begun, peak = time.perf_counter(), 0
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, **more)
    while True:
        pid, status, used = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        peak = max([peak, *high_water(child.pid)])
        time.sleep(0.005)
    out = child.stdout.read()
    if status:
        sys.exit(f"{arguments} failed")
    return {
        "seconds": time.perf_counter() - begun,
        "cpu": used.ru_utime + used.ru_stime,
        "peak_mib": peak / 1024,
        "out": json.loads(out) if out.strip() else None,
    }


def high_water(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []
    return [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]


@contextmanager
def redis_server(port, directory):
    """A Redis of its own that answers, as its client."""
    import redis

    command = ["redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1", "--dir", directory]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port)
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        yield client
    finally:
        server.terminate()
        server.wait()


def redis_cpu(client):
    used = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


class Lake:
    def __init__(self, options, port):
        self.dir, self.binary = Path(options.work) / "project", options.binary
        (self.dir / "features").mkdir(parents=True)
        (self.dir / "icecore.toml").write_text(f"[online]\nurl = 'redis://127.0.0.1:{port}/0'\n")
        (self.dir / "features/wide.toml").write_text(DEFINITIONS)

    def icecore(self, *arguments):
        return run([self.binary, "--project", str(self.dir), "--json", *arguments])


def materialize(options, lake, client, port):
    full, delta = Path(options.work) / "full.parquet", Path(options.work) / "delta.parquet"
    make(full, options.rows, 1, 0)
    lake.icecore("ingest", "ml.wide", str(full))
    runs = {"icecore": [], "icecore_delta": [], "redis_py": []}
    for round_ in range(options.rounds):
        client.flushall()
        cpu = redis_cpu(client)
        took = lake.icecore("online", "materialize", "wide")
        took["redis_cpu"] = redis_cpu(client) - cpu
        assert took["out"]["written"] == options.rows, took
        runs["icecore"].append(took)
        # One in a hundred entities has a newer row.
        make(delta, options.rows // 100, 10 + round_, 1 + round_)
        lake.icecore("ingest", "ml.wide", str(delta))
        cpu = redis_cpu(client)
        took = lake.icecore("online", "materialize", "wide")
        took["redis_cpu"] = redis_cpu(client) - cpu
        assert took["out"]["written"] == options.rows // 100 and took["out"]["full"] is None, took
        runs["icecore_delta"].append(took)
        lake.icecore("online", "verify", "wide")
        client.flushall()
        # What one round added is not the next one's.
        lake.icecore("table", "rollback", "ml.wide", "--to", first_snapshot(lake))
        cpu = redis_cpu(client)
        took = run([sys.executable, __file__, "--redis-py", str(full), str(port)])
        took.update({key: took["out"][key] for key in ["seconds"]})
        took["redis_cpu"] = redis_cpu(client) - cpu
        runs["redis_py"].append(took)
    return {name: medians(taken) for name, taken in runs.items()}


def first_snapshot(lake):
    return lake.icecore("table", "log", "ml.wide")["out"][-1]["snapshot_id"]


def medians(runs):
    keys = ["seconds", "cpu", "peak_mib", "redis_cpu"]
    return {key: round(statistics.median(run[key] for run in runs), 3) for key in keys}


def wrk(url, connections, seconds, script=None):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    if script:
        command[1:1] = ["-s", str(script)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    p50, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", text).groups()
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    scale = {"us": 1, "ms": 1e3, "s": 1e6}[unit]
    return {"rate": rate, "p50_us": float(p50) * scale, "bad": int(bad[1]) if bad else 0}


class Served:
    def __init__(self, lake, **environment):
        command = [lake.binary, "--project", str(lake.dir), "serve", "--listen", "127.0.0.1:0"]
        environment = os.environ | environment
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        self.address = json.loads(self.child.stdout.readline())["listening"]

    def __enter__(self):
        return f"http://{self.address}"

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()


def serve(options, lake, client):
    client.flushall()
    scores = lake.dir / "scores.csv"
    scores.write_text("user_token,churn_probability,churn_score_date\nu_000000000001,0.25,2026-01-31\n")
    lake.icecore("ingest", "ml.scores", str(scores))
    (lake.dir / "scoring").mkdir(exist_ok=True)
    (lake.dir / "scoring/churn.toml").write_text(
        """name = "churn"\nmodel = "models:/churn/Production"\nview = "wide"\ntable = "ml.scores"
prediction = "churn_probability"\ndate_column = "churn_score_date"
[materialize]\nkey = "churn:{user_token}"\nvalue = "churn_probability"
[serve]\nroute = "/churn-score/{user_token}"\ndefault = 0.05\n"""
    )
    client.set("churn:u_000000000001", "0.9312")
    lake.icecore("online", "materialize", "wide")
    body = {
        "features": [f"wide:{name}" for name in FEATURES],
        "entities": {"user_token": [f"u_{user:012d}" for user in range(100)]},
    }
    script = Path(options.work) / "features.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [[{json.dumps(body)}]]\n"
    )
    found = {}
    for round_ in range(options.rounds):
        sides = {}
        if options.bare:
            port = 18_500 + round_
            bare = subprocess.Popen([options.bare, str(port)])
            time.sleep(0.2)
            for count in [1, 16]:
                sides[f"bare_c{count}"] = wrk(f"http://127.0.0.1:{port}/x", count, options.seconds)
            bare.terminate()
            bare.wait()
        with Served(lake) as url:
            for count in [1, 16]:
                score = f"{url}/churn-score/u_000000000001"
                sides[f"memory_c{count}"] = wrk(score, count, options.seconds)
        with Served(lake, ICECORE_ONLINE__CACHE="0") as url:
            for count in [1, 16]:
                score = f"{url}/churn-score/u_000000000001"
                sides[f"redis_c{count}"] = wrk(score, count, options.seconds)
            features = f"{url}/get-online-features"
            sides["features_100_c16"] = wrk(features, 16, options.seconds, script)
        for name, side in sides.items():
            found.setdefault(name, []).append(side)
    pick = lambda runs, key: statistics.median(run[key] for run in runs)
    return {
        name: {key: pick(runs, key) for key in ["rate", "p50_us"]} | {"bad": max(r["bad"] for r in runs)}
        for name, runs in found.items()
    }


def main():
    if sys.argv[1:2] == ["--redis-py"]:
        return redis_py(sys.argv[2], int(sys.argv[3]))
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", default="/tmp/icecore-online")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--binary", default=str(ROOT / "target/release/icecore"))
    parser.add_argument("--bare")
    parser.add_argument("--port", type=int, default=17_391)
    parser.add_argument("--parts", default="materialize,serve")
    parser.add_argument("--out")
    options = parser.parse_args()
    Path(options.work).mkdir(parents=True)
    with redis_server(options.port, options.work) as client:
        lake = Lake(options, options.port)
        report = {"machine": platform.processor() or platform.machine(), "cpus": os.cpu_count(), "rows": options.rows}
        parts = options.parts.split(",")
        if "materialize" in parts:
            report["materialize"] = materialize(options, lake, client, options.port)
        if "serve" in parts:
            if "materialize" not in parts:
                make(Path(options.work) / "full.parquet", options.rows, 1, 0)
                lake.icecore("ingest", "ml.wide", str(Path(options.work) / "full.parquet"))
            report["serve"] = serve(options, lake, client)
    text = json.dumps(report, indent=2)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
