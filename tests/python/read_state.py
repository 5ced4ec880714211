"""Reads states of tables with PyIceberg and DuckDB, and writes with PyIceberg; one request per line.

Usage: read_state.py                      reads requests from standard input until it ends
       read_state.py REQUEST              answers one

A request is a JSON object. To read:

    {"reader": "pyiceberg" | "duckdb",
     "metadata": "file:///…/v3.metadata.json",                       the table, by its metadata,
     "catalog": {"kind": "sqlite" | "postgres" | "rest", "uri": …, "name": …, …}, "table": "ns.t",
                                                                     or by a catalog (PyIceberg)
     "snapshot": ID, "ref": NAME}                                    the state; absent means the head

To write with PyIceberg, through a catalog:

    {"writer": "create" | "append" | "overwrite" | "delete" | "upsert" | "evolve", "catalog": …,
     "table": …, "rows": {column: [values]}, "filter": "id < 3", "keys": […], …}

The answer is one line: {"ok": STATE} or {"error": {"kind": …, "message": …}}. A STATE says what is there
without saying it all, by rules that any reader can follow (see `render`):

    {"rows": n, "content": hash of the sorted rows, "columns": [{"name", "nulls", "content"}]}
"""

import hashlib
import json
import struct
import sys

import pyarrow as pa
from write_state import catalog_of, write

LINE = "\x1f"
NULL = "~"
_duckdb = None


def digest(lines):
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:32]


def render_one(value, kind):
    """One value as text: numbers as they are, floats by their bits, moments since 1970."""
    if value is None:
        return NULL
    if pa.types.is_boolean(kind):
        return "true" if value else "false"
    if pa.types.is_floating(kind):
        return "f:" + struct.pack(">d", value).hex()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "b:" + value.hex()
    if pa.types.is_struct(kind):
        return "{" + ",".join(f"{f.name}={render_one(value[f.name], f.type)}" for f in kind) + "}"
    if pa.types.is_map(kind):
        entries = (f"{render_one(k, kind.key_type)}={render_one(v, kind.item_type)}" for k, v in value)
        return "<" + ",".join(sorted(entries)) + ">"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "[" + ",".join(render_one(item, kind.value_type) for item in value) + "]"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "s:" + value
    return str(value)


def render(column):
    kind = column.type
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64())
        return [NULL if value is None else f"t:{value}" for value in column.to_pylist()]
    if pa.types.is_date32(kind):
        days = column.cast(pa.int32()).to_pylist()
        return [NULL if value is None else f"d:{value}" for value in days]
    return [render_one(value, kind) for value in column.to_pylist()]


def state(table):
    columns = [render(table[name]) for name in table.column_names]
    rows = [LINE.join(values) for values in zip(*columns)]
    return {
        "rows": table.num_rows,
        "content": digest(rows),
        "columns": [
            {"name": name, "nulls": sum(value == NULL for value in values), "content": digest(values)}
            for name, values in zip(table.column_names, columns)
        ],
    }


def table_of(request):
    if "catalog" in request:
        return catalog_of(request["catalog"]).load_table(request["table"])
    from pyiceberg.table import StaticTable

    return StaticTable.from_metadata(request["metadata"])


def with_pyiceberg(request):
    table = table_of(request)
    snapshot = request.get("snapshot")
    if "ref" in request:
        snapshot = table.metadata.refs[request["ref"]].snapshot_id
    return table.scan(snapshot_id=snapshot).to_arrow()


def with_duckdb(request):
    global _duckdb
    if _duckdb is None:
        import duckdb
        import duckdb_extensions

        _duckdb = duckdb.connect()
        for extension in ("avro", "iceberg"):
            duckdb_extensions.import_extension(extension)
            _duckdb.execute(f"LOAD {extension}")
        _duckdb.execute("SET TimeZone = 'UTC'")
    location = request.get("metadata") or table_of(request).metadata_location
    options = f", snapshot_from_id = {int(request['snapshot'])}" if "snapshot" in request else ""
    path = location.removeprefix("file://").replace("'", "''")
    return _duckdb.execute(f"SELECT * FROM iceberg_scan('{path}'{options})").to_arrow_table()


def answer(request):
    try:
        if "writer" in request:
            return {"ok": write(request)}
        reader = {"pyiceberg": with_pyiceberg, "duckdb": with_duckdb}[request["reader"]]
        return {"ok": state(reader(request))}
    except Exception as error:
        return {"error": {"kind": type(error).__name__, "message": str(error)}}


def main():
    lines = sys.argv[1:] or sys.stdin
    for line in lines:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
