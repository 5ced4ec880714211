"""One operation of one peer per process: the other side of `table_ops`.

Usage: peer.py PEER OPERATION LAKE TABLE [ARGUMENTS]

PEER is pyiceberg, duckdb or polars; the operations and the printed object are those of
`benches/src/bin/table_ops.rs`. Imports and the opening of the catalog are not measured.
"""

import json
import os
import resource
import sys
import time

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SCANNED = [
    "txn_count_30d",
    "decline_rate_30d",
    "avg_amount_7d",
    "txn_count_90d",
    "unique_merchants_90d",
    "churn_label",
]
FILTER = "feature_date >= '2023-02-01' and churn_label is not null"
SQL_FILTER = "feature_date >= DATE '2023-02-01' AND churn_label IS NOT NULL"


def peak_mib():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def catalog(lake):
    from pyiceberg.catalog.sql import SqlCatalog

    path = os.path.abspath(lake)
    return SqlCatalog("icecore", uri=f"sqlite:///{path}/catalog.db", warehouse=f"file://{path}/warehouse")


def sums(batches):
    """Rows, and the sum of each column; PyIceberg keeps the order of the table's."""
    rows, totals = 0, None
    for batch in batches:
        batch = batch.select(SCANNED)
        rows += batch.num_rows
        here = [pc.sum(column).as_py() or 0 for column in batch.columns]
        totals = here if totals is None else [a + b for a, b in zip(totals, here)]
    return {"rows": rows, "checksum": [round(float(total), 2) for total in totals or []]}


def pyiceberg(operation, table, rest):
    import pyiceberg.io.pyarrow  # noqa: F401
    from pyiceberg.expressions import EqualTo, In

    def rows():
        return pq.read_table(rest[0])

    def append():
        # A file at a time would be a commit each; batches of a row group keep memory in bounds only
        # at the price of as many commits, so the table is read whole.
        table.append(rows())
        return {}

    def overwrite_partitions():
        table.dynamic_partition_overwrite(rows())
        return {}

    def overwrite_where():
        new = rows()
        table.overwrite(new, EqualTo("feature_date", new["feature_date"][0].as_py()))
        return {}

    def upsert():
        done = table.upsert(rows(), join_cols=rest[1].split(","))
        return {"rows": done.rows_updated + done.rows_inserted}

    def delete():
        table.delete(In("user_token", open(rest[0]).read().split()))
        return {}

    def scan():
        return sums([table.scan(row_filter=FILTER, selected_fields=tuple(SCANNED)).to_arrow()])

    def batches():
        reader = table.scan(row_filter=FILTER, selected_fields=tuple(SCANNED)).to_arrow_batch_reader()
        return sums(reader)

    def plan():
        return {"rows": sum(1 for _ in table.scan().plan_files())}

    def count():
        return {"rows": table.scan().count()}

    return {
        "append": append,
        "overwrite-partitions": overwrite_partitions,
        "overwrite-where": overwrite_where,
        "upsert": upsert,
        "delete": delete,
        "scan": scan,
        "scan-batches": batches,
        "plan": plan,
        "count": count,
    }[operation]


def duckdb(operation, table, _rest):
    import duckdb as module
    import duckdb_extensions

    connection = module.connect()
    for extension in ("avro", "iceberg"):
        duckdb_extensions.import_extension(extension)
        connection.execute(f"LOAD {extension}")
    connection.execute("SET TimeZone = 'UTC'")
    source = f"iceberg_scan('{table.metadata_location.removeprefix('file://')}')"

    def scan():
        query = f"SELECT {', '.join(SCANNED)} FROM {source} WHERE {SQL_FILTER}"
        return sums([connection.execute(query).to_arrow_table()])

    def count():
        return {"rows": connection.execute(f"SELECT count(*) FROM {source}").fetchone()[0]}

    return {"scan": scan, "count": count}[operation]


def polars(operation, table, rest):
    import polars as module

    def append():
        module.read_parquet(rest[0]).write_iceberg(table, mode="append")
        return {}

    def scan():
        from datetime import date

        frame = module.scan_iceberg(table).filter(
            (module.col("feature_date") >= date(2023, 2, 1)) & module.col("churn_label").is_not_null()
        )
        return sums([frame.select(SCANNED).collect().to_arrow()])

    def count():
        return {"rows": module.scan_iceberg(table).select(module.len()).collect().item()}

    return {"append": append, "scan": scan, "count": count}[operation]


def main():
    peer, operation, lake, name, *rest = sys.argv[1:]
    table = catalog(lake).load_table(name)
    run = {"pyiceberg": pyiceberg, "duckdb": duckdb, "polars": polars}[peer](operation, table, rest)
    began, worked = time.perf_counter(), time.process_time()
    report = run()
    report.update(
        operation=operation,
        seconds=time.perf_counter() - began,
        cpu_seconds=time.process_time() - worked,
        peak_mib=peak_mib(),
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
