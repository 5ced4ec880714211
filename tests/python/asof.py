"""What DuckDB's own as-of join makes of the same rows: prints `row_id,value` lines in the order of rows.

Usage: asof.py SPINE FEATURES KEY MOMENT FEATURE TTL_DAYS
"""

import sys

import duckdb

spine, features, key, moment, feature, days = sys.argv[1:]
connection = duckdb.connect()
connection.execute("SET TimeZone = 'UTC'")
rows = connection.execute(
    f"""
    SELECT s.row_id,
           CASE WHEN f.{moment} >= s.{moment} - INTERVAL {days} DAY THEN f.{feature} END
    FROM read_parquet('{spine}') s
    ASOF LEFT JOIN read_parquet('{features}') f ON s.{key} = f.{key} AND s.{moment} >= f.{moment}
    ORDER BY s.row_id
    """
).fetchall()
for number, value in rows:
    print(f"{number},{'' if value is None else value}")
