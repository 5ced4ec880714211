"""The requests of a client of Feast 0.67's feature server, one after the other, and its answers.

Only the standard library: what goes over the wire is what the recorded client sent.
"""

import datetime
import json
import sys
import urllib.error
import urllib.request

BASE = sys.argv[1]
FEATURES = ["driver_hourly_stats:conv_rate", "driver_hourly_stats:acc_rate", "driver_hourly_stats:avg_daily_trips"]
FRESH = ["driver_hourly_stats_fresh:conv_rate", "driver_hourly_stats_fresh:avg_daily_trips"]


def call(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    request = urllib.request.Request(BASE + path, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    try:
        return [status, json.loads(text)]
    except ValueError:
        return [status, text]


def get(features, entities, **more):
    return call("/get-online-features", {"features": features, "entities": entities, **more})


def event(driver, rate, trips):
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None).isoformat()
    columns = {
        "driver_id": driver, "event_timestamp": now, "created": now, "conv_rate": rate, "acc_rate": 0.25,
        "avg_daily_trips": trips, "driver_metadata": None, "driver_config": None, "driver_profile": None,
    }
    return {name: [value] for name, value in columns.items()}


now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None).isoformat()
service = {
    "feature_service": "driver_activity_v1",
    "entities": {"driver_id": [1001], "val_to_add": [1], "val_to_add_2": [2]},
}
print(json.dumps({
    "health": call("/health"),
    "version": call("/version"),
    "list": get(FEATURES, {"driver_id": [1001, 1002]}),
    "full names": get(FEATURES, {"driver_id": [1001]}, full_feature_names=True),
    "unknown entity": get(FEATURES, {"driver_id": [1001, 999999]}),
    "service": call("/get-online-features", service),
    "unknown view": get(["nope:x"], {"driver_id": [1]}),
    "push": call("/push", {
        "push_source_name": "driver_stats_push_source", "to": "online", "df": event(1001, 0.5, 77),
    }),
    "read pushed": get(FRESH, {"driver_id": [1001]}),
    "write": call("/write-to-online-store", {
        "feature_view_name": "driver_hourly_stats", "df": event(1002, 0.125, 12),
    }),
    "materialize": call("/materialize", {
        "start_ts": "2020-01-01T00:00:00", "end_ts": now, "feature_views": ["driver_hourly_stats"],
    }),
    "materialize all": call("/materialize-incremental", {"end_ts": now}),
    "materialize nothing": call("/materialize", {"end_ts": now, "feature_views": ["nope"]}),
    "materialize never": call("/materialize", {"end_ts": "yesterday"}),
    "after": get(FEATURES, {"driver_id": [1001, 1002]}),
}))
