"""What the as-of joins of DuckDB and Polars make of the same rows: prints `row_id,value` lines in the order of rows.
The two have to agree.

Usage: asof.py SPINE FEATURES KEY MOMENT FEATURE TTL_DAYS
"""

import sys

import duckdb
import polars as pl

spine, features, key, moment, feature, days = sys.argv[1:]


def duckdb_side():
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection.execute(
        f"""
        SELECT s.row_id,
               CASE WHEN f.{moment} >= s.{moment} - INTERVAL {days} DAY THEN f.{feature} END
        FROM read_parquet('{spine}') s
        ASOF LEFT JOIN read_parquet('{features}') f ON s.{key} = f.{key} AND s.{moment} >= f.{moment}
        ORDER BY s.row_id
        """
    ).fetchall()


def polars_side():
    rows = pl.read_parquet(spine).sort(moment)
    known = pl.read_parquet(features).select(key, moment, feature).sort(moment)
    rows = rows.join_asof(known, on=moment, by=key, strategy="backward", tolerance=f"{days}d", check_sortedness=False)
    return rows.sort("row_id").select("row_id", feature).rows()


rows = duckdb_side()
if rows != polars_side():
    sys.exit("DuckDB and Polars do not agree")
for number, value in rows:
    print(f"{number},{'' if value is None else value}")
