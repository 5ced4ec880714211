"""Runs icecore beside PyIceberg, DuckDB and Polars: the same job on the same tables, one process each,
taking turns, and says what each cost in CPU time and memory.

Usage: run.py [--work DIR] [--rounds 5] [--jobs NAME,…] [--rows 1000000,10000000] [--limit SECONDS]
              [--out benches/results/table_ops.json]

Wants `cargo build --release -p icecore-benches --bins` first, and a Python with pyarrow, pyiceberg, duckdb
and polars (ICECORE_TEST_PYTHON, or the one that runs this). Jobs that change a table get a table of their
own for each run: the same metadata under another name, so that nothing is copied. What two peers made is
compared by DuckDB, column sums and all; a peer that made something else fails the run.
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

import data
from peer import catalog

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FILES = 10_000


class Job:
    """A job: who can do it, and how. `changes` says whether it changes its table."""

    def __init__(self, name, base, peers, arguments=(), changes=False, ours=None):
        self.name, self.base, self.peers = name, base, peers
        self.arguments, self.changes, self.ours = list(arguments), changes, ours

    def command(self, peer, given, table):
        """Both sides take the same arguments; a peer is NAME or NAME:OPERATION."""
        name, _, operation = peer.partition(":")
        operation = operation or self.ours or self.name
        if name == "icecore":
            return [str(given.binary), operation, str(given.work), table, *self.arguments]
        return [sys.executable, str(HERE / "peer.py"), name, operation, str(given.work), table, *self.arguments]


def jobs(given):
    work = given.work
    found = []
    for rows in given.rows:
        features, daily, empty = f"bench.features_{rows}", f"bench.daily_{rows}", f"bench.empty_{rows}"
        by_user = f"bench.by_user_{rows}"
        file = {kind: str(work / f"{kind}_{rows}.parquet") for kind in ("features", "changes", "day")}
        label = f"{rows // 1_000_000}m" if rows >= 1_000_000 else str(rows)
        bare = str(work / f"files_{rows}.txt")
        found += [
            Job(f"append-{label}", empty, ["icecore", "pyiceberg", "polars"], [file["features"]], True, "append"),
            Job(
                f"overwrite-partition-{label}",
                daily,
                ["icecore", "pyiceberg"],
                [file["day"]],
                True,
                "overwrite-partitions",
            ),
            Job(
                f"upsert-one-key-{label}",
                features,
                ["icecore", "icecore:upsert-merge-on-read", "pyiceberg"],
                [file["changes"], "account"],
                True,
                "upsert",
            ),
            Job(
                f"upsert-two-keys-{label}",
                features,
                ["icecore", "icecore:upsert-merge-on-read", "pyiceberg"],
                [file["changes"], "user_token,feature_date"],
                True,
                "upsert",
            ),
            Job(
                f"delete-1000-users-{label}",
                features,
                ["icecore", "icecore:delete-merge-on-read", "pyiceberg"],
                [str(work / f"users_{rows}.txt")],
                True,
                "delete",
            ),
            # What a request to be forgotten is: one user, in a table that is sorted by user.
            Job(
                f"delete-one-user-sorted-{label}",
                by_user,
                ["icecore", "icecore:delete-merge-on-read", "pyiceberg"],
                [str(work / f"one_user_{rows}.txt")],
                True,
                "delete",
            ),
            Job(f"scan-{label}", features, ["icecore", "icecore:query", "pyiceberg", "pyiceberg:scan-batches", "duckdb", "polars"], (), False, "scan"),
            Job(f"scan-bare-{label}", features, ["icecore"], [bare], False, "query-bare"),
            Job(f"count-{label}", features, ["icecore", "pyiceberg", "duckdb", "polars"], (), False, "count"),
        ]
    found.append(Job("plan-10000-files", f"bench.files_{FILES}", ["icecore", "pyiceberg"], (), False, "plan"))
    wanted = given.jobs.split(",") if given.jobs else None
    return [job for job in found if wanted is None or any(job.name.startswith(name) for name in wanted)]


def ours(given, operation, table, *arguments):
    command = [str(given.binary), operation, str(given.work), table, *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def prepare(given):
    """Data and tables that are not there yet."""
    given.work.mkdir(parents=True, exist_ok=True)
    for rows in given.rows:
        features = given.work / f"features_{rows}.parquet"
        if not (given.work / f"users_{rows}.txt").exists():
            data.write(str(given.work), rows)
        present = {".".join(name) for name in tables(given)}
        if f"bench.empty_{rows}" not in present:
            ours(given, "create", f"bench.empty_{rows}", features)
        if f"bench.features_{rows}" not in present:
            ours(given, "create", f"bench.features_{rows}", features)
            ours(given, "append", f"bench.features_{rows}", features)
        if f"bench.daily_{rows}" not in present:
            ours(given, "create", f"bench.daily_{rows}", features, "feature_date")
            ours(given, "append", f"bench.daily_{rows}", features)
        if f"bench.by_user_{rows}" not in present:
            ours(given, "create-sorted", f"bench.by_user_{rows}", features, "user_token")
            ours(given, "append", f"bench.by_user_{rows}", features)
        users = (given.work / f"users_{rows}.txt").read_text().split()
        (given.work / f"one_user_{rows}.txt").write_text(users[len(users) // 2] + "\n")
        table = catalog(given.work).load_table(f"bench.features_{rows}")
        paths = [task.file.file_path.removeprefix("file://") for task in table.scan().plan_files()]
        (given.work / f"files_{rows}.txt").write_text("\n".join(paths) + "\n")
    wanted = any(job.name.startswith("plan") for job in jobs(given))
    if wanted and ("bench", f"files_{FILES}") not in tables(given):
        ours(given, "many-files", f"bench.files_{FILES}", FILES)


def tables(given):
    found = catalog(given.work)
    return found.list_tables("bench") if found.namespace_exists("bench") else []


def clone(given, base, name):
    """The same metadata under another name."""
    lake = catalog(given.work)
    if lake.table_exists(name):
        lake.drop_table(name)
    lake.register_table(name, lake.load_table(base).metadata_location)


def made(given, name):
    """What a table holds, by an engine that made none of it."""
    import duckdb
    import duckdb_extensions

    connection = duckdb.connect()
    for extension in ("avro", "iceberg"):
        duckdb_extensions.import_extension(extension)
        connection.execute(f"LOAD {extension}")
    location = catalog(given.work).load_table(name).metadata_location.removeprefix("file://")
    row = connection.execute(
        "SELECT count(*), sum(decline_count_30d), sum(txn_amount_30d), sum(txn_count_90d), "
        f"count(churn_label), count(DISTINCT user_token) FROM iceberg_scan('{location}')"
    ).fetchone()
    return [None if value is None else float(value) for value in row]


def once(given, job, peer, round_number):
    table = job.base
    if job.changes:
        table = f"bench.run_{job.name}_{peer}_{round_number}".replace("-", "_").replace(":", "_")
        clone(given, job.base, table)
    command = job.command(peer, given, table)
    began = time.monotonic()
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=given.limit)
    except subprocess.TimeoutExpired:
        return {"over": given.limit}
    if run.returncode != 0:
        said = run.stderr.strip().splitlines()
        return {"error": said[-1][:300] if said else f"ended with status {run.returncode}"}
    report = json.loads(run.stdout)
    report["process_seconds"] = time.monotonic() - began
    if job.changes:
        if round_number == 0:
            report["checksum"] = made(given, table)
        catalog(given.work).drop_table(table)
    return report


def measured(runs):
    done = [run for run in runs if "cpu_seconds" in run]
    if not done:
        return runs[0]
    middle = {key: round(statistics.median(run[key] for run in done), 4) for key in ("cpu_seconds", "seconds")}
    found = {**middle, "peak_mib": round(max(run["peak_mib"] for run in done)), "runs": len(done)}
    for key in ("rows", "checksum"):
        if key in done[0]:
            found[key] = done[0][key]
    return found


def compare(job, peers):
    """Everybody saw or made the same."""
    sums = {peer: found["checksum"] for peer, found in peers.items() if "checksum" in found}
    if len({json.dumps(value) for value in sums.values()}) > 1:
        raise SystemExit(f"{job.name}: the peers disagree: {json.dumps(sums)}")


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), "")
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cores": os.cpu_count(), "cpu": model, "memory_gib": round(pages / 2**30), "system": platform.system()}


def versions():
    from importlib.metadata import version

    return {name: version(name) for name in ("pyiceberg", "duckdb", "polars", "pyarrow")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("target/peers"))
    parser.add_argument("--binary", type=Path, default=None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", default="")
    parser.add_argument("--rows", default="1000000,10000000")
    parser.add_argument("--limit", type=float, default=900, help="seconds that a run may take")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    given.binary = (given.binary or target / "release/table_ops").resolve()
    given.work = given.work.resolve()
    given.rows = [int(rows) for rows in given.rows.split(",")]
    prepare(given)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    report = {
        "command": "benches/peers/run.py " + " ".join(sys.argv[1:]),
        "commit": commit.stdout.strip(),
        "machine": machine(),
        "versions": versions(),
        "jobs": {},
    }
    for job in jobs(given):
        runs = {peer: [] for peer in job.peers}
        for round_number in range(given.rounds):
            for peer in job.peers:
                failed = runs[peer] and "cpu_seconds" not in runs[peer][0]
                if not failed:
                    runs[peer].append(once(given, job, peer, round_number))
        peers = {peer: measured(found) for peer, found in runs.items()}
        compare(job, peers)
        report["jobs"][job.name] = peers
        print(job.name, file=sys.stderr)
        for peer, found in peers.items():
            shown = {key: found[key] for key in ("cpu_seconds", "seconds", "peak_mib", "over", "error") if key in found}
            print(f"  {peer:24} {shown}", file=sys.stderr)
        if given.out:
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps(report, indent=1) + "\n")
    if not given.out:
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
