"""Fills and serves features beside Feast, and scores beside a FastAPI app, all from one Redis.

Usage: servers.py --python PYTHON [--bare HELLO] [--work DIR] [--rows 100000] [--rounds 5] [--seconds 2]
                  [--binary target/release/icecore] [--parts fill,serve] [--out benches/results/servers.json]

PYTHON has feast with redis, fastapi and uvicorn; this script wants redis, pyarrow and numpy itself, `redis-server`
and `wrk`. Every server has one process, all are up all the time, and the sides take turns in each round; medians.
Feast materializes the same Parquet file by its Python API, imports and start-up not counted; icecore is a process
from start to end. Features are 8 of 1 and of 100 entities, asked by Feast's request, through Redis each time
(`redis`) and with the service's default cache (`memory`); the values of both sides are compared. The FastAPI app looks
one key up in Redis, as tutorials do.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from online import FEATURES, Lake, Served, make, redis_cpu, redis_server, wrk

ROOT = Path(__file__).resolve().parent.parent.parent
STORE = """project: bench
provider: local
registry: {dir}/registry.db
offline_store:
    type: dask
online_store:
    type: redis
    connection_string: localhost:{port},db=1
entity_key_serialization_version: 3
"""
REPO = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64
user = Entity(name="user", join_keys=["user_token"], value_type=ValueType.STRING)
wide = FeatureView(name="wide", entities=[user], ttl=timedelta(days=3650),
    schema=[Field(name=name, dtype=Float64) for name in {features}],
    source=FileSource(path="{data}", timestamp_field="event_timestamp"))
"""
FILL = """
import json, resource, time
from datetime import datetime, timezone
from feast import FeatureStore
import definitions
store = FeatureStore(repo_path=".")
store.apply([definitions.user, definitions.wide])
used = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
begun, cpu = time.perf_counter(), used()
store.materialize(datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 3, 1, tzinfo=timezone.utc))
print("\\n" + json.dumps({"seconds": time.perf_counter() - begun, "cpu": used() - cpu,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""
APP = """
import redis
from fastapi import FastAPI
app = FastAPI()
store = redis.Redis(host="127.0.0.1", port={port}, decode_responses=True)
@app.get("/churn-score/{{user_token}}")
async def score(user_token: str):
    cached = store.get(f"churn:{{user_token}}")
    if cached:
        return {{"user_token": user_token, "churn_probability": float(cached), "source": "cache"}}
    return {{"user_token": user_token, "churn_probability": 0.05, "source": "default"}}
"""


def feast_repo(options, data):
    repo = options.work / "feast"
    repo.mkdir()
    (repo / "feature_store.yaml").write_text(STORE.format(dir=repo, port=options.port))
    (repo / "definitions.py").write_text(REPO.format(features=json.dumps(FEATURES), data=data))
    (repo / "fill.py").write_text(FILL)
    return repo


def fill(options, lake, client, repo):
    runs = {"icecore": [], "feast": []}
    for _ in range(options.rounds):
        client.flushall()
        cpu = redis_cpu(client)
        took = lake.icecore("online", "materialize", "wide")
        assert took["out"]["written"] == options.rows, took
        runs["icecore"].append(took | {"redis_cpu": redis_cpu(client) - cpu})
        cpu = redis_cpu(client)
        side = subprocess.run([options.python, "fill.py"], cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        took = json.loads(side.stdout.decode().strip().splitlines()[-1])
        runs["feast"].append(took | {"redis_cpu": redis_cpu(client) - cpu})
    keys = ["seconds", "cpu", "peak_mib", "redis_cpu"]
    found = {side: {key: round(statistics.median(run[key] for run in took), 3) for key in keys} for side, took in runs.items()}
    found["ratio_seconds"] = round(found["feast"]["seconds"] / found["icecore"]["seconds"], 1)
    found["ratio_cpu"] = round(found["feast"]["cpu"] / found["icecore"]["cpu"], 1)
    return found


def body(view, users):
    return {"features": [f"{view}:{name}" for name in FEATURES], "entities": {"user_token": users}}


def post(url, asked):
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(asked).encode(), head)
    return json.load(urllib.request.urlopen(request))


def scripts(options):
    """Lua for wrk: other entities in each request."""
    chosen, found = random.Random(7), {}
    users = [f"u_{user:012d}" for user in range(options.rows)]
    for count in [1, 100]:
        asked = [json.dumps(body("wide", chosen.sample(users, count))) for _ in range(200 if count == 1 else 50)]
        found[count] = options.work / f"features_{count}.lua"
        found[count].write_text(
            f"local b = {{{','.join(f'[[{one}]]' for one in asked)}}}\nlocal i = 0\n"
            'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
            "request = function() i = i % #b + 1 return wrk.format(nil, nil, nil, b[i]) end\n"
        )
    found["score"] = options.work / "score.lua"
    paths = ",".join(f"'/churn-score/{user}'" for user in chosen.sample(users, 2000))
    found["score"].write_text(f"local b = {{{paths}}}\nlocal i = 0\nrequest = function() i = i % #b + 1 return wrk.format('GET', b[i]) end\n")
    return found


def wait_for(url, asked=None):
    for _ in range(600):
        try:
            return post(url, asked) if asked else urllib.request.urlopen(url).read()
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} does not answer")


def serve(options, lake, client, repo):
    client.flushall()
    lake.icecore("online", "materialize", "wide")
    subprocess.run([options.python, "fill.py"], cwd=repo, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    lines = "".join(f"u_{user:012d},0.25,2026-01-31\n" for user in range(10))
    (lake.dir / "scores.csv").write_text("user_token,churn_probability,churn_score_date\n" + lines)
    lake.icecore("ingest", "ml.scores", str(lake.dir / "scores.csv"))
    (lake.dir / "scoring").mkdir(exist_ok=True)
    (lake.dir / "scoring/churn.toml").write_text(
        """name = "churn"\nmodel = "models:/churn/Production"\nview = "wide"\ntable = "ml.scores"
prediction = "churn_probability"\ndate_column = "churn_score_date"
[materialize]\nkey = "churn:{user_token}"\nvalue = "churn_probability"
[serve]\nroute = "/churn-score/{user_token}"\ndefault = 0.05\n"""
    )
    pipe = client.pipeline(transaction=False)
    for user in range(options.rows):
        pipe.set(f"churn:u_{user:012d}", "0.9312")
    pipe.execute()
    (options.work / "app.py").write_text(APP.format(port=options.port))
    ports = {"feast": 18_601, "app": 18_602, "bare": 18_603}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    bin_ = Path(options.python).parent
    servers = [
        subprocess.Popen([bin_ / "feast", "serve", "-p", str(ports["feast"]), "--no-access-log"], cwd=repo, **quiet),
        subprocess.Popen([bin_ / "uvicorn", "app:app", "--port", str(ports["app"]), "--log-level", "error", "--no-access-log"], cwd=options.work, **quiet),
    ]
    if options.bare:
        servers.append(subprocess.Popen([options.bare, str(ports["bare"])], **quiet))
    lua = scripts(options)
    feast, app = (f"http://127.0.0.1:{ports[name]}" for name in ["feast", "app"])
    found = {}
    try:
        with Served(lake) as memory, Served(lake, ICECORE_ONLINE__CACHE="0") as redis:
            asked = body("wide", [f"u_{user:012d}" for user in [0, 7, options.rows - 1]])
            theirs = wait_for(f"{feast}/get-online-features", asked)
            wait_for(f"{app}/churn-score/u_000000000001")
            for ours in [post(f"{url}/get-online-features", asked) for url in [memory, redis]]:
                by_name = lambda answer: {name: result["values"] for name, result in zip(answer["metadata"]["feature_names"], answer["results"])}
                if by_name(ours) != by_name(theirs):
                    sys.exit(f"the sides disagree: {by_name(ours)} {by_name(theirs)}")
            cells = {
                "score_app": (app, "score"),
                "score_memory": (memory, "score"),
                "score_redis": (redis, "score"),
            }
            for count in [1, 100]:
                for side, url in [("feast", feast), ("redis", redis), ("memory", memory)]:
                    cells[f"features_{count}_{side}"] = (f"{url}/get-online-features", count)
            if options.bare:
                cells["bare"] = (f"http://127.0.0.1:{ports['bare']}/x", None)
            for _ in range(options.rounds):
                for name, (url, script) in cells.items():
                    for connections in [1, 16]:
                        took = wrk(url, connections, options.seconds, lua.get(script))
                        found.setdefault(f"{name}_c{connections}", []).append(took)
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait()
    pick = lambda runs, key: statistics.median(run[key] for run in runs)
    return {
        name: {key: pick(runs, key) for key in ["rate", "p50_us"]} | {"bad": max(one["bad"] for one in runs)}
        for name, runs in found.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True)
    parser.add_argument("--work", type=Path, default=Path("/tmp/icecore-servers"))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--binary", default=str(ROOT / "target/release/icecore"))
    parser.add_argument("--bare")
    parser.add_argument("--port", type=int, default=17_392)
    parser.add_argument("--parts", default="fill,serve")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True)
    with redis_server(options.port, options.work) as client:
        lake, data = Lake(options, options.port), options.work / "wide.parquet"
        make(data, options.rows, 1, 0)
        lake.icecore("ingest", "ml.wide", str(data))
        repo = feast_repo(options, data)
        report = {"machine": platform.processor() or platform.machine(), "cpus": os.cpu_count()}
        report |= {"rows": options.rows, "rounds": options.rounds}
        if "fill" in options.parts:
            report["fill"] = fill(options, lake, client, repo)
        if "serve" in options.parts:
            report["serve"] = serve(options, lake, client, repo)
    text = json.dumps(report, indent=2)
    print(text)
    if options.out:
        if options.out.exists():
            text = json.dumps(json.loads(options.out.read_text()) | report, indent=2)
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
