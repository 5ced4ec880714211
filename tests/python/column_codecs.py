"""Prints with which codecs the columns of a table's files are compressed.

Usage: column_codecs.py CATALOG_DB TABLE

Prints one JSON document: {column: [codec, …]}.
"""

import json
import sys

import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog


def main():
    catalog = SqlCatalog("icecore", uri=f"sqlite:///{sys.argv[1]}")
    codecs = {}
    for task in catalog.load_table(sys.argv[2]).scan().plan_files():
        metadata = pq.ParquetFile(task.file.file_path.removeprefix("file://")).metadata
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                codecs.setdefault(column.path_in_schema, set()).add(column.compression)
    print(json.dumps({column: sorted(found) for column, found in codecs.items()}))


if __name__ == "__main__":
    main()
