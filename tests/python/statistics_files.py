"""The statistics files of a table, as PyIceberg finds them in the metadata, and what is in them."""

import json
import struct
import sys
from urllib.parse import unquote, urlparse

from pyiceberg.catalog.sql import SqlCatalog


def footer(path):
    """The footer of a Puffin file, by its specification."""
    with open(unquote(urlparse(path).path), "rb") as file:
        data = file.read()
    assert data[:4] == b"PFA1" and data[-4:] == b"PFA1", "no Puffin file"
    assert data[-8:-4] == b"\0\0\0\0", "an uncompressed footer"
    (length,) = struct.unpack("<I", data[-12:-8])
    payload = data[-12 - length : -12]
    assert data[-16 - length : -12 - length] == b"PFA1"
    return len(data), length + 16, json.loads(payload)


def main():
    catalog = SqlCatalog("icecore", uri=f"sqlite:///{sys.argv[1]}")
    table = catalog.load_table(sys.argv[2])
    files = []
    for statistics in table.metadata.statistics:
        size, footer_size, content = footer(statistics.statistics_path)
        assert size == statistics.file_size_in_bytes
        assert footer_size == statistics.file_footer_size_in_bytes
        files.append(
            {
                "snapshot": str(statistics.snapshot_id),
                "kinds": [blob["type"] for blob in content["blobs"]],
                "in_metadata": [blob.type for blob in statistics.blob_metadata],
                "rows": [blob["properties"].get("rows") for blob in content["blobs"]],
            }
        )
    print(json.dumps({"files": files, "current": str(table.metadata.current_snapshot_id)}))


if __name__ == "__main__":
    main()
