"""Reads every table of an icecore catalog with PyIceberg and with DuckDB.

Usage: read_tables.py CATALOG_DB [CATALOG_NAME]

Prints one JSON document: {reader: {table: {"rows": n, "sums": {column: sum}, "nulls": {column: n}}}}.
Whatever icecore wrote must be readable by engines that know nothing about it.
"""

import json
import sys

import duckdb
import duckdb_extensions
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog.sql import SqlCatalog


def with_pyiceberg(catalog):
    tables = {}
    for namespace in catalog.list_namespaces():
        for identifier in catalog.list_tables(namespace):
            arrow = catalog.load_table(identifier).scan().to_arrow()
            tables[".".join(identifier)] = {
                "rows": arrow.num_rows,
                "sums": {
                    f.name: pc.sum(pc.cast(arrow[f.name], pa.float64(), safe=False)).as_py() or 0.0
                    for f in arrow.schema
                    if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)
                },
                "nulls": {f.name: arrow[f.name].null_count for f in arrow.schema},
            }
    return tables


def duckdb_connection():
    connection = duckdb.connect()
    for extension in ("avro", "iceberg"):
        duckdb_extensions.import_extension(extension)
        connection.execute(f"LOAD {extension}")
    return connection


def with_duckdb(catalog):
    connection = duckdb_connection()
    tables = {}
    for namespace in catalog.list_namespaces():
        for identifier in catalog.list_tables(namespace):
            location = catalog.load_table(identifier).metadata_location.removeprefix("file://")
            source = f"iceberg_scan('{location}')"
            columns = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
            numbers = [c[0] for c in columns if c[1] in ("BIGINT", "INTEGER", "DOUBLE", "FLOAT")]
            sums = ", ".join(f'coalesce(sum("{c}"::DOUBLE), 0)' for c in numbers) or "0"
            nulls = ", ".join(f'count(*) - count("{c[0]}")' for c in columns)
            row = connection.execute(f"SELECT count(*), {sums}, {nulls} FROM {source}").fetchone()
            width = max(len(numbers), 1)
            tables[".".join(identifier)] = {
                "rows": row[0],
                "sums": dict(zip(numbers, row[1 : 1 + width])),
                "nulls": dict(zip([c[0] for c in columns], row[1 + width :])),
            }
    return tables


def main():
    name = sys.argv[2] if len(sys.argv) > 2 else "icecore"
    catalog = SqlCatalog(name, uri=f"sqlite:///{sys.argv[1]}")
    print(json.dumps({"pyiceberg": with_pyiceberg(catalog), "duckdb": with_duckdb(catalog)}))


if __name__ == "__main__":
    main()
