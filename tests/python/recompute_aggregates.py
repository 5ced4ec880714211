"""Recomputes aggregates over windows from a file of events with DuckDB, for each row of a feature table.

Usage: recompute_aggregates.py EVENTS_CSV FEATURES_PARQUET

Prints {"rows": n, "different": {feature: [rows…]}}: what is not equal (floats: to 1e-9; percentiles: 0.4 %).
"""

import json
import sys

import duckdb

# Feature: its value over the events `e` of a window, and the window's condition on `e.moment` and `t`.
LAST_10 = "e.moment >= t - INTERVAL 10 DAY AND e.moment <= t"
OFFSET = "e.moment >= t - INTERVAL 15 DAY AND e.moment <= t - INTERVAL 5 DAY"
TUMBLING = "e.moment >= date_trunc('day', t) - INTERVAL 1 DAY AND e.moment < date_trunc('day', t)"
TO_DATE = "e.moment >= date_trunc('day', t) AND e.moment <= t"
EVER = "e.moment <= t"
FEATURES = {
    "orders_10d": ("count(*)", LAST_10),
    "orders_10d_offset_5d": ("count(*)", OFFSET),
    "orders_tumbling_1d": ("count(*)", TUMBLING),
    "orders_to_date_1d": ("count(*)", TO_DATE),
    "spend_10d": ("sum(e.amount)", LAST_10),
    "spend": ("sum(e.amount)", EVER),
    "mean_10d": ("avg(e.amount)", LAST_10),
    "sd_10d": ("stddev_samp(e.amount)", LAST_10),
    "var_10d": ("var_samp(e.amount)", LAST_10),
    "least_10d": ("min(e.amount)", LAST_10),
    "most_10d": ("max(e.amount)", LAST_10),
    "shops_10d": ("count(DISTINCT e.shop)", LAST_10),
    "some_shops_10d": ("least(count(DISTINCT e.shop), 3)", LAST_10),
    "first_shops_10d": ("coalesce(list(e.shop ORDER BY e.moment)[:3], [])", LAST_10 + " AND e.shop IS NOT NULL"),
    "last_shops_10d": ("coalesce(list(e.shop ORDER BY e.moment DESC)[:3], [])", LAST_10 + " AND e.shop IS NOT NULL"),
    "top_10d": ("coalesce(list(e.amount ORDER BY e.amount DESC)[:4], [])", LAST_10 + " AND e.amount IS NOT NULL"),
    "bottom_10d": ("coalesce(list(e.amount ORDER BY e.amount)[:4], [])", LAST_10 + " AND e.amount IS NOT NULL"),
    "classes_10d": (
        "[count(*) FILTER (e.amount < 10), count(*) FILTER (e.amount >= 10 AND e.amount < 50),"
        " count(*) FILTER (e.amount >= 50)]",
        LAST_10,
    ),
    "p90_10d": ("quantile_disc(e.amount, 0.9)", LAST_10),
    "big_10d": ("count(*)", LAST_10 + " AND e.amount > 50"),
}
NEAR = {"mean_10d": 1e-9, "sd_10d": 1e-9, "var_10d": 1e-9, "spend_10d": 1e-9, "spend": 1e-9}


def main():
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute(
        "CREATE TABLE events AS SELECT who, moment::TIMESTAMP AS moment, amount::DOUBLE AS amount, shop"
        f" FROM read_csv('{sys.argv[1]}', header = true, all_varchar = true, nullstr = '')"
    )
    con.execute(
        "CREATE TABLE rows AS SELECT * REPLACE (event_timestamp::TIMESTAMP AS event_timestamp)"
        f" FROM read_parquet('{sys.argv[2]}')"
    )
    different = {}
    for feature, (value, window) in FEATURES.items():
        expected = f"(SELECT {value} FROM events e WHERE e.who = r.who AND {window})"
        pairs = con.execute(
            f"SELECT who, t, ours, theirs FROM (SELECT who, t, ours, {expected} AS theirs FROM"
            f" (SELECT who, event_timestamp AS t, {feature} AS ours FROM rows) r) ORDER BY who, t"
        ).fetchall()
        if feature == "p90_10d":
            # Their rank is that of the least value with at least nine tenths at or below it.
            pairs = [(w, t, o, percentile(con, w, t)) for w, t, o, _ in pairs]
        wrong = [row for row in pairs if not same(feature, row[2], row[3])]
        if wrong:
            different[feature] = [[str(value) for value in row] for row in wrong[:3]]
    rows = con.execute("SELECT count(*) FROM rows").fetchone()[0]
    print(json.dumps({"rows": rows, "different": different}))


def percentile(con, who, t):
    values = con.execute(
        f"SELECT amount FROM events e, (SELECT ?::TIMESTAMP AS t) WHERE who = ? AND amount IS NOT NULL AND {LAST_10}"
        " ORDER BY amount",
        [t, who],
    ).fetchall()
    return values[int(0.9 * (len(values) - 1))][0] if values else None


def same(feature, ours, theirs):
    if ours is None or theirs is None:
        return ours is None and theirs is None
    near = 0.004 if feature == "p90_10d" else NEAR.get(feature)
    if near is None:
        return ours == theirs
    return abs(ours - theirs) <= near * max(abs(theirs), 1e-300)


if __name__ == "__main__":
    main()
