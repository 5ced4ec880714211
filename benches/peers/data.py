"""Makes the data of the runs beside peers: the same on every machine, by seed.

Usage: data.py DIR ROWS

Writes DIR/features_ROWS.parquet, a feature table as in the churn example (one row per user and day, in
order of days; `account` is unique by itself), and DIR/changes_ROWS.parquet, one percent as many rows: nine
of ten replace a row of the former (one more in `decline_count_30d`), one of ten is new.
"""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

DAYS = 100
FIRST_DAY = 19358  # 2023-01-01, in days since 1970
MICROS_PER_DAY = 86_400_000_000


def tokens(prefix, numbers):
    """Texts whose order is not that of the numbers, as real tokens are."""
    scrambled = (numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) & np.uint64(0xFFFFFFFFFFFF)
    digits = np.char.mod("%012x", scrambled)
    return pa.array(np.char.add(prefix, digits))


def features(first, count, users, seed):
    """Rows by number; those of one seed and place are always the same."""
    rng = np.random.default_rng([seed, first])
    number = np.arange(first, first + count)
    user, day = number % users, number // users
    week = rng.poisson(3, count)
    month = week + rng.poisson(9, count)
    quarter = month + rng.poisson(25, count)
    declined = rng.binomial(month, 0.06)
    # Whole quarters of a unit, so that sums are the same in whatever order they are made.
    amount_week = week * rng.integers(1, 200, count) / 4.0
    amount_month = month * rng.integers(1, 200, count) / 4.0
    churned = (rng.random(count) < 0.1).astype(np.int32)
    moment = (FIRST_DAY + day) * MICROS_PER_DAY + rng.integers(0, MICROS_PER_DAY, count)
    return pa.table(
        {
            "account": tokens("a", number),
            "user_token": tokens("u", user),
            "feature_date": pa.array((FIRST_DAY + day).astype(np.int32)).cast(pa.date32()),
            "event_timestamp": pa.array(moment, pa.timestamp("us", "UTC")),
            "txn_count_7d": week,
            "txn_amount_7d": amount_week,
            "avg_amount_7d": np.floor(amount_week / np.maximum(week, 1) * 8) / 8,
            "txn_count_30d": month,
            "txn_amount_30d": amount_month,
            "decline_count_30d": declined,
            "decline_rate_30d": np.floor(declined / np.maximum(month, 1) * 1024) / 1024,
            "txn_count_90d": quarter,
            "unique_merchants_90d": np.minimum(quarter, rng.poisson(15, count)),
            "days_since_last_txn": rng.integers(0, 90, count).astype(np.int32),
            "churn_label": pa.array(churned, mask=rng.random(count) < 0.2),
        }
    )


def changes(rows, users, seed):
    """The changed rows: those of every hundredth number, and new ones after the last day."""
    changed = rows // 100 * 9 // 10
    picked = np.sort(np.random.default_rng(seed + 1).choice(rows, changed, replace=False))
    chunk = 1_000_000
    parts = []
    for first in range(0, rows, chunk):
        here = picked[(picked >= first) & (picked < first + chunk)] - first
        parts.append(features(first, min(chunk, rows - first), users, seed).take(pa.array(here)))
    table = pa.concat_tables(parts)
    place = table.column_names.index("decline_count_30d")
    one_more = pa.compute.add(table["decline_count_30d"], 1)
    table = table.set_column(place, "decline_count_30d", one_more)
    return pa.concat_tables([table, features(rows, rows // 1000, users, seed)])


def write(directory, rows, seed=2026):
    users = rows // DAYS
    path = f"{directory}/features_{rows}.parquet"
    chunk = min(rows, 1_000_000)
    with pq.ParquetWriter(path, features(0, 1, users, seed).schema, compression="zstd") as writer:
        for first in range(0, rows, chunk):
            writer.write_table(features(first, min(chunk, rows - first), users, seed))
    pq.write_table(changes(rows, users, seed), f"{directory}/changes_{rows}.parquet", compression="zstd")
    day = features(rows // 2 // users * users, users, users, seed + 7)
    pq.write_table(day, f"{directory}/day_{rows}.parquet", compression="zstd")
    names = features(0, users, users, seed)["user_token"].to_pylist()
    with open(f"{directory}/users_{rows}.txt", "w") as file:
        file.writelines(f"{name}\n" for name in names[:: max(1, users // 1000)][:1000])


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]))
