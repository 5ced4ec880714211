"""What PyIceberg does to tables on request: see `read_state.py` for how it is asked."""

import json

import pyarrow as pa
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import parse_transform
from pyiceberg.types import LongType, NestedField, StringType

_catalogs = {}


def catalog_of(request):
    """A catalog by its description; one that was opened before is kept."""
    key = json.dumps(request, sort_keys=True)
    if key not in _catalogs:
        given = dict(request)
        kind, name = given.pop("kind"), given.pop("name")
        if kind == "postgres":
            given["uri"] = given["uri"].replace("postgres://", "postgresql+psycopg2://")
        _catalogs[key] = (RestCatalog if kind == "rest" else SqlCatalog)(name, **given)
    return _catalogs[key]


def rows_of(table, columns):
    """Columns of plain JSON values (moments in microseconds, days since 1970) in a table's types."""
    schema = schema_to_pyarrow(table.schema(), include_field_ids=False)
    arrays, fields = [], []
    for field in schema:
        if field.name not in columns:
            continue
        values = columns[field.name]
        if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type):
            stored = pa.int64() if pa.types.is_timestamp(field.type) else pa.int32()
            arrays.append(pa.array(values, stored).cast(field.type))
        else:
            arrays.append(pa.array(values, field.type))
        fields.append(field)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def create(catalog, request):
    """A table of the given columns: `[[name, type, required]]`, partitioned by `[[column, transform]]`."""
    fields = [
        NestedField(number, name, kind, required=required)
        for number, (name, kind, required) in enumerate(request["columns"], 1)
    ]
    schema = Schema(*fields)
    spec = PartitionSpec(
        *(
            PartitionField(
                schema.find_field(column).field_id, 1000 + number, parse_transform(transform), f"p{number}"
            )
            for number, (column, transform) in enumerate(request.get("partition_by", []))
        )
    )
    namespace = request["table"].rsplit(".", 1)[0]
    catalog.create_namespace_if_not_exists(namespace)
    properties = request.get("properties", {})
    return catalog.create_table(request["table"], schema, partition_spec=spec, properties=properties)


def evolve(table, request):
    """One change of columns or partitions: `{"change": KIND, …}`."""
    change = request["change"]
    if change == "partition":
        with table.update_spec() as update:
            update.add_field(request["column"], parse_transform(request["transform"]), "p_new")
        return
    with table.update_schema() as update:
        if change == "add":
            update.add_column(request["column"], StringType())
        elif change == "rename":
            update.rename_column(request["column"], request["to"])
        elif change == "widen":
            update.update_column(request["column"], field_type=LongType())
        elif change == "drop":
            update.delete_column(request["column"])


def write(request):
    catalog = catalog_of(request["catalog"])
    what = request["writer"]
    if what == "create":
        table = create(catalog, request)
    else:
        table = catalog.load_table(request["table"])
        rows = rows_of(table, request["rows"]) if "rows" in request else None
        branch = request.get("branch", "main")
        if what == "append":
            table.append(rows, branch=branch)
        elif what == "overwrite":
            table.overwrite(rows, request.get("filter", AlwaysTrue()), branch=branch)
        elif what == "delete":
            table.delete(request["filter"], branch=branch)
        elif what == "upsert":
            table.upsert(rows, join_cols=request["keys"], branch=branch)
        elif what == "evolve":
            evolve(table, request)
        else:
            raise ValueError(f"no writer `{what}`")
    head = table.metadata.current_snapshot_id
    return {"snapshot": None if head is None else str(head), "metadata": table.metadata_location}
