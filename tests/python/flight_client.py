"""What a Python client of the Flight service sees, as JSON: flight_client.py ADDRESS [TOKEN]."""

import json
import sys

import pyarrow as pa
import pyarrow.flight as flight

address, token = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
client = flight.connect(f"grpc://{address}")
headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
options = flight.FlightCallOptions(headers=headers)


def command(**keys):
    return flight.FlightDescriptor.for_command(json.dumps(keys))


def rows(**keys):
    info = client.get_flight_info(command(**keys), options)
    return client.do_get(info.endpoints[0].ticket, options).read_all()


def refused(call):
    try:
        call()
    except (flight.FlightError, pa.ArrowException, KeyError, ValueError) as error:
        return str(error)
    return None


listed = list(client.list_flights(b"", options))
whole = client.get_flight_info(flight.FlightDescriptor.for_path("dataset", "churn"), options)
table = client.do_get(whole.endpoints[0].ticket, options).read_all()
few = rows(dataset="churn", columns=["churn_label", "user_token"], batch_rows=7)
first = table.column_names[-1]

# Rows that are sent come back with features, in their order.
spine = table.select(["user_token", "event_timestamp"]).slice(0, 50)

def exchange(**asked):
    writer, reader = client.do_exchange(command(**asked), options)
    writer.begin(spine.schema)
    for batch in spine.to_batches(max_chunksize=9):
        writer.write_batch(batch)
    writer.done_writing()
    found = reader.read_all()
    writer.close()
    return found


enriched = exchange(features=["churn_features:txn_count_30d"])
# The same view under another name, of which each row has the age.
named = exchange(
    features=["other:txn_count_30d"],
    views={"other": {"of": "churn_features", "keys": {"user_token": "user_token"}}},
    with_ages=True,
)

print(json.dumps({
    "listed": [b"/".join(info.descriptor.path).decode() for info in listed],
    "total": whole.total_records,
    "hash": whole.app_metadata.decode() if hasattr(whole, "app_metadata") else None,
    "named": named.column_names,
    "named_equal": named["txn_count_30d"].equals(enriched["txn_count_30d"]),
    "rows": table.num_rows,
    "columns": table.column_names,
    "schema_equal": client.get_schema(command(dataset="churn"), options).schema.names == table.column_names,
    "few": few.column_names,
    "few_batches_max": max(batch.num_rows for batch in few.to_batches()),
    "few_equal": few.column("user_token").equals(table.column("user_token")),
    "where": rows(dataset="churn", where="txn_count_30d > 5").num_rows,
    "passing": sum(1 for count in table.column("txn_count_30d").to_pylist() if count is not None and count > 5),
    "enriched": enriched.column_names,
    "enriched_keys_equal": enriched.column("user_token").to_pylist() == spine.column("user_token").to_pylist(),
    "enriched_counts": enriched.column("txn_count_30d").to_pylist(),
    "set_counts": table.column("txn_count_30d").slice(0, 50).to_pylist(),
    "unknown": refused(lambda: rows(dataset="chrn")),
    "escape": refused(lambda: rows(dataset="../training/churn")),
    "column": refused(lambda: rows(dataset="churn", columns=["lable"])),
    "write": refused(lambda: client.do_put(command(dataset="churn"), spine.schema, options)[0].close()),
    "no_token": refused(lambda: list(client.list_flights())) if token else None,
}))
