"""Runs the churn view beside Polars, DuckDB, DataFusion's own window operator and PySpark: from a file of
events to a file of features, one process each, taking turns.

Usage: windows.py [--work DIR] [--rounds 5] [--data 1m-uni,1m-zipf,10m-uni] [--peers icecore,polars,…]
                  [--threads 2] [--memory MIB] [--limit SECONDS] [--out benches/results/windows.json]

Wants `cargo build --release -p icecore-benches --bin window_features` first (or --binary), and a Python with
duckdb, polars and pyarrow. All sides count events in closed windows of 7, 30 and 90 days to the microsecond,
the merchants exactly, and write the last row of each user and day. What they made is compared by DuckDB; one
that made something else fails the run. CPU seconds count; imports and the start of a session do not.
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
COLUMNS = [
    "txn_count_7d",
    "txn_amount_7d",
    "avg_amount_7d",
    "txn_count_30d",
    "txn_amount_30d",
    "decline_count_30d",
    "txn_count_90d",
    "unique_merchants_90d",
    "decline_rate_30d",
]


def make(path, rows, skew):
    """180 days of events of 50,000 users in the order of time; skewed, by a Zipf law with exponent 0.8."""
    import duckdb

    users = 50_000
    last = (users + 1) ** 0.2 - 1
    pick = f"u * {users}" if skew == "uni" else f"pow(u * {last} + 1, 5) - 1"
    duckdb.execute(
        f"""
        COPY (
          SELECT 't' || lpad(i::VARCHAR, 10, '0') AS txn_id,
                 'u_' || substr(md5((least(floor({pick}), {users - 1}))::INT::VARCHAR), 1, 12) AS user_token,
                 (1 + hash(i * 3 + 1) % 100000)::INT / 100.0::DOUBLE AS amount,
                 'm_' || substr(md5((hash(i * 5 + 2) % 5000)::VARCHAR), 1, 12) AS merchant_id,
                 CASE WHEN hash(i * 7 + 3) % 100 < 6 THEN 'declined' ELSE 'approved' END AS status,
                 make_timestamp(1672531200000000 + i * ({180 * DAY} // {rows})) AS event_timestamp
          FROM (SELECT range AS i, (hash(range * 11 + 5) % 1000000007) / 1000000007.0 AS u FROM range({rows}))
          ORDER BY i
        ) TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 1000000)
        """
    )


def sql(source, micros, date, cast):
    frames = ", ".join(
        f"w{days} AS (PARTITION BY user_token ORDER BY instant RANGE BETWEEN {days * DAY} PRECEDING AND CURRENT ROW)"
        for days in (7, 30, 90)
    )
    return f"""
        SELECT user_token, event_timestamp, txn_count_7d, txn_amount_7d, avg_amount_7d, txn_count_30d, txn_amount_30d,
               decline_count_30d, txn_count_90d, unique_merchants_90d,
               decline_count_30d / CAST(txn_count_30d AS DOUBLE) AS decline_rate_30d
        FROM (
          SELECT user_token, event_timestamp,
            count(*) OVER w7 AS txn_count_7d, sum(amount) OVER w7 AS txn_amount_7d, avg(amount) OVER w7 AS avg_amount_7d,
            count(*) OVER w30 AS txn_count_30d, sum(amount) OVER w30 AS txn_amount_30d,
            count(CASE WHEN status = 'declined' THEN 1 END) OVER w30 AS decline_count_30d,
            count(*) OVER w90 AS txn_count_90d, {cast} AS unique_merchants_90d,
            row_number() OVER (PARTITION BY user_token, day ORDER BY instant DESC) AS place
          FROM (SELECT *, {micros} AS instant, {date} AS day FROM {source}) events
          WINDOW {frames}
        ) ranked WHERE place = 1"""


def duckdb_side(events, features, threads, memory):
    import duckdb

    con = duckdb.connect()
    con.execute(f"SET threads = {threads}; SET preserve_insertion_order = false; SET memory_limit = '{memory}MiB'")
    con.execute("SET temp_directory = '" + str(Path(features).parent / "duckdb_tmp") + "'")
    yield
    source = f"read_parquet('{events}')"
    query = sql(source, "epoch_us(event_timestamp)", "event_timestamp::DATE", "count(DISTINCT merchant_id) OVER w90")
    con.execute(f"COPY ({query}) TO '{features}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)")


def polars_side(events, features, threads, _memory):
    os.environ["POLARS_MAX_THREADS"] = str(threads)
    import polars as pl

    yield
    key, moment = "user_token", "event_timestamp"
    frame = pl.scan_parquet(events).select(
        key, moment, "amount", "merchant_id", day=pl.col(moment).dt.date(), declined=(pl.col("status") == "declined")
    )
    frame = frame.sort(key, moment).collect()

    def rolled(days, **columns):
        windows = frame.rolling(moment, period=f"{days}d", group_by=key, closed="both")
        return windows.agg(**columns).drop(key, moment)

    amount = pl.col("amount")
    rows = pl.concat(
        [
            frame.select(key, moment, "day"),
            rolled(7, txn_count_7d=pl.len(), txn_amount_7d=amount.sum(), avg_amount_7d=amount.mean()),
            rolled(30, txn_count_30d=pl.len(), txn_amount_30d=amount.sum(), decline_count_30d=pl.col("declined").sum()),
            rolled(90, txn_count_90d=pl.len(), unique_merchants_90d=pl.col("merchant_id").n_unique()),
        ],
        how="horizontal",
    )
    changes = lambda column: (pl.col(column) != pl.col(column).shift(-1)).fill_null(True)  # noqa: E731
    rows = rows.filter(changes(key) | changes("day")).drop("day")
    rows = rows.with_columns(decline_rate_30d=pl.col("decline_count_30d") / pl.col("txn_count_30d"))
    rows.write_parquet(features, compression="zstd", compression_level=1)


def spark_side(events, features, threads, memory):
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{threads}]").config("spark.driver.memory", f"{memory}m")
    builder = builder.config("spark.ui.enabled", "false").config("spark.sql.session.timeZone", "UTC")
    spark = builder.config("spark.sql.shuffle.partitions", str(2 * threads)).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    yield
    spark.read.parquet(events).createOrReplaceTempView("source")
    # There is no exact distinct count over a window: the size of the set is one.
    distinct = "size(collect_set(merchant_id) OVER w90)"
    query = sql("source", "unix_micros(CAST(event_timestamp AS TIMESTAMP))", "to_date(event_timestamp)", distinct)
    spark.sql(query).write.mode("overwrite").option("compression", "zstd").parquet(features)


SIDES = {"duckdb": duckdb_side, "polars": polars_side, "spark": spark_side}


def children(pid):
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += [int(child), *children(int(child))]
    return found


def cpu_and_peak():
    """CPU seconds and peak MiB of this process and those that it started, such as a JVM."""
    cpu, peak = 0.0, 0.0
    for pid in [os.getpid(), *children(os.getpid())]:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        high = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
        peak += int(high[0].split()[1]) / 1024 if high else 0
    return cpu, peak


def side(name, events, features, threads, memory):
    work = SIDES[name](events, features, int(threads), int(memory))
    next(work)
    (before, _), started = cpu_and_peak(), time.monotonic()
    next(work, None)
    seconds, (after, peak) = time.monotonic() - started, cpu_and_peak()
    print(json.dumps({"seconds": seconds, "cpu_seconds": after - before, "peak_mib": peak}))


def checksum(features):
    import duckdb

    path = f"{features}/*.parquet" if os.path.isdir(features) else features
    sums = ", ".join(f"sum({column})::DOUBLE" for column in COLUMNS)
    found = duckdb.sql(f"SELECT count(*), {sums} FROM read_parquet('{path}')").fetchone()
    return [float(f"{value:.9g}") for value in found]


def load():
    return float(Path("/proc/loadavg").read_text().split()[0])


def measure(given):
    results, summary = [], []
    for data in given.data.split(","):
        size, skew = data.split("-")
        rows = int(size[:-1]) * 1_000_000
        events = given.work / f"events_{data}.parquet"
        if not events.exists():
            make(events, rows, skew)
        runs, sums = {}, {}
        for round_ in range(given.rounds):
            for peer in given.peers.split(","):
                features = given.work / f"features_{data}_{peer}.parquet"
                if peer in ("icecore", "datafusion"):
                    command = [str(given.binary), peer]
                else:
                    command = [sys.executable, __file__, "--side", peer]
                command += [str(events), str(features), str(given.threads), str(given.memory)]
                busy = load()
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=given.limit)
                    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
                    run = json.loads(lines[-1]) if done.returncode == 0 else {"error": done.stderr[-300:]}
                except subprocess.TimeoutExpired:
                    run = {"error": f"more than {given.limit} s"}
                run |= {"data": data, "peer": peer, "round": round_, "load": busy}
                if "error" not in run:
                    sums[peer] = checksum(str(features))
                    runs.setdefault(peer, []).append(run)
                results.append(run)
                print(json.dumps(run), file=sys.stderr)
        if len({json.dumps(found) for found in sums.values()}) > 1:
            sys.exit(f"{data}: peers made different features: {json.dumps(sums, indent=1)}")
        ours = statistics.median(run["cpu_seconds"] for run in runs["icecore"]) if "icecore" in runs else None
        for peer, of_peer in runs.items():
            middle = {key: statistics.median(run[key] for run in of_peer) for key in ("seconds", "cpu_seconds", "peak_mib")}
            ratio = middle["cpu_seconds"] / ours if ours else None
            entry = {"data": data, "peer": peer, "runs": len(of_peer), **middle, "cpu_of_icecore": ratio}
            summary.append({key: round(v, 2) if isinstance(v, float) else v for key, v in entry.items()})
    return {"command": " ".join(["benches/peers/windows.py", *given.said]), "machine": machine(), "summary": summary, "runs": results}


def machine():
    cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {"cpu": cpu[0] if cpu else platform.processor(), "cores": os.cpu_count(), "load_now": load()}


def main():
    if sys.argv[1:2] == ["--side"]:
        return side(*sys.argv[2:])
    options = argparse.ArgumentParser()
    options.add_argument("--work", type=Path, default=Path("/tmp/icecore-windows"))
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--data", default="1m-uni,1m-zipf,10m-uni")
    options.add_argument("--peers", default="icecore,duckdb,polars")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--memory", type=int, default=8192)
    options.add_argument("--limit", type=int, default=600)
    options.add_argument("--binary", type=Path, default=ROOT / "target/release/window_features")
    options.add_argument("--out", type=Path, default=ROOT / "benches/results/windows.json")
    given = options.parse_args()
    # What the machine is called and where things lie there is nobody's business.
    given.said = [f"--{name} {getattr(given, name)}" for name in ("rounds", "data", "peers", "threads", "memory")]
    given.work.mkdir(parents=True, exist_ok=True)
    found = measure(given)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found["summary"], indent=1))


if __name__ == "__main__":
    main()
