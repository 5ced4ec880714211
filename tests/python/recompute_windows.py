"""Recomputes the window features from the raw events with DuckDB SQL and compares them.

Usage: recompute_windows.py CATALOG_DB [CATALOG_NAME]

Counts must be equal, sums and means agree to 1e-9 relative, the approximate distinct count lies
within five standard errors (1.63 % each, at least one) of the exact one. Prints
{"rows": n, "differences": [...]}.
"""

import json
import sys

from pyiceberg.catalog.sql import SqlCatalog

from read_tables import duckdb_connection

DAY = 86_400_000_000


def main():
    name = sys.argv[2] if len(sys.argv) > 2 else "icecore"
    catalog = SqlCatalog(name, uri=f"sqlite:///{sys.argv[1]}")

    def source(table):
        location = catalog.load_table(table).metadata_location.removeprefix("file://")
        return f"iceberg_scan('{location}')"

    connection = duckdb_connection()
    frames = ", ".join(
        f"w{days} AS (PARTITION BY user_token ORDER BY epoch_us(event_timestamp) "
        f"RANGE BETWEEN {days * DAY} PRECEDING AND CURRENT ROW)"
        for days in (7, 30, 90)
    )
    connection.execute(
        f"""
        CREATE TABLE expected AS
        SELECT user_token, event_timestamp,
            count(txn_id) OVER w7 AS txn_count_7d,
            count(txn_id) OVER w30 AS txn_count_30d,
            count(txn_id) OVER w90 AS txn_count_90d,
            sum(amount) OVER w7 AS txn_amount_7d,
            sum(amount) OVER w30 AS txn_amount_30d,
            avg(amount) OVER w7 AS avg_amount_7d,
            count(CASE WHEN status = 'declined' THEN txn_id END) OVER w30 AS decline_count_30d,
            count(DISTINCT merchant_id) OVER w90 AS exact_merchants_90d,
            count(CASE WHEN status = 'declined' THEN txn_id END) OVER w30
                / greatest(count(txn_id) OVER w30, 1)::DOUBLE AS decline_rate_30d,
            event_timestamp::DATE AS feature_date
        FROM {source("events.raw_transactions")}
        WINDOW {frames}
        QUALIFY row_number() OVER (
            PARTITION BY user_token, event_timestamp::DATE ORDER BY event_timestamp DESC) = 1
        """
    )
    connection.execute(
        f"CREATE VIEW actual AS SELECT * FROM {source('ml_features.user_transaction_features')}"
    )
    equal = ["txn_count_7d", "txn_count_30d", "txn_count_90d", "decline_count_30d", "exact_merchants_90d"]
    close = ["txn_amount_7d", "txn_amount_30d", "avg_amount_7d", "decline_rate_30d"]
    different = [f"a.{c} IS DISTINCT FROM e.{c}" for c in equal]
    different += [
        f"(a.{c} IS NULL) <> (e.{c} IS NULL) OR abs(a.{c} - e.{c}) > 1e-9 * greatest(abs(e.{c}), 1e-300)"
        for c in close
    ]
    different.append(
        "abs(a.unique_merchants_90d - e.exact_merchants_90d)"
        " > greatest(1, 5 * 0.0163 * e.exact_merchants_90d)"
    )
    rows = connection.execute("SELECT count(*) FROM expected").fetchone()[0]
    differences = connection.execute(
        f"""
        SELECT to_json(a), to_json(e)
        FROM actual a FULL JOIN expected e
          ON a.user_token = e.user_token AND a.feature_date = e.feature_date
        WHERE a.user_token IS NULL OR e.user_token IS NULL
           OR a.event_timestamp IS DISTINCT FROM e.event_timestamp
           OR {" OR ".join(different)}
        LIMIT 5
        """
    ).fetchall()
    print(json.dumps({"rows": rows, "differences": differences}))


if __name__ == "__main__":
    main()
