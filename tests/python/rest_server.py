"""A catalog server that speaks Iceberg's REST protocol, over PyIceberg's own catalog and models.

Usage: rest_server.py WAREHOUSE [options]

Tables are found through a SQLite file in the warehouse directory; requirements are checked and updates
applied by PyIceberg, so nothing of icecore judges itself here. Loopback only. Prints one line, a JSON
object with the address (`{"uri": "http://127.0.0.1:PORT"}`), serves until its standard input is closed,
and has two switches that a real server has not:

    POST /faults    adds to the faults, a list of objects:
        "on"      commit | create | load | token | any      which requests are meant (default commit)
        "do"      drop-request    the connection ends before anything is done
                  drop-reply      the request is done, and the connection ends without a reply
                  status          "status" is replied (503 unless said), and nothing is done
                  late-status     the request is done, and "status" is replied all the same
        "skip"    how many such requests pass first (default 0)
        "times"   how many are hit (default 1; -1 for all)
    DELETE /faults  forgets them
    GET /faults     counts: {"pending": n, "hit": n, "requests": {kind: n}}
"""

import argparse
import base64
import json
import os
import secrets
import sys
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from pyiceberg import exceptions as errors
from pyiceberg.catalog.rest import CreateTableRequest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.table import CommitTableRequest, StagedTable
from pyiceberg.table.metadata import TableMetadataV3, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

# PyIceberg knows the fields of version 3 and refuses only to write them down; a catalog has to. A
# new table has given out no row ids, which is not the same as not saying so.
if "model_dump_json" in vars(TableMetadataV3):
    del TableMetadataV3.model_dump_json
TableMetadataV3.model_fields["next_row_id"].default = 0
TableMetadataV3.model_rebuild(force=True)

SEPARATOR = "\x1f"
NAMESPACE = "/v1/{prefix}/namespaces/{namespace}"
ENDPOINTS = [
    "GET /v1/{prefix}/namespaces",
    "POST /v1/{prefix}/namespaces",
    f"GET {NAMESPACE}",
    f"HEAD {NAMESPACE}",
    f"DELETE {NAMESPACE}",
    f"POST {NAMESPACE}/properties",
    f"GET {NAMESPACE}/tables",
    f"POST {NAMESPACE}/tables",
    f"GET {NAMESPACE}/tables/{{table}}",
    f"HEAD {NAMESPACE}/tables/{{table}}",
    f"POST {NAMESPACE}/tables/{{table}}",
    f"DELETE {NAMESPACE}/tables/{{table}}",
    f"POST {NAMESPACE}/register",
    "POST /v1/{prefix}/tables/rename",
]


class Refused(Exception):
    """What the protocol answers with a status and an error object."""

    def __init__(self, status, kind, message):
        super().__init__(message)
        self.status, self.kind = status, kind


# The first that fits: errors of PyIceberg, and what the protocol calls them.
STATUSES = [
    (errors.NoSuchNamespaceError, 404, "NoSuchNamespaceException"),
    (errors.NoSuchTableError, 404, "NoSuchTableException"),
    (errors.NamespaceAlreadyExistsError, 409, "AlreadyExistsException"),
    (errors.TableAlreadyExistsError, 409, "AlreadyExistsException"),
    (errors.NamespaceNotEmptyError, 409, "NamespaceNotEmptyException"),
    (errors.CommitFailedException, 409, "CommitFailedException"),
    (errors.ValidationError, 400, "ValidationException"),
    (ValueError, 400, "BadRequestException"),
]


def refusal(error):
    if isinstance(error, Refused):
        return error.status, error.kind
    for kind, status, name in STATUSES:
        if isinstance(error, kind):
            return status, name
    return 500, "InternalServerError"


class Faults:
    """What goes wrong next."""

    def __init__(self):
        self.lock = threading.Lock()
        self.pending, self.hit, self.requests = [], 0, {}

    def add(self, faults):
        with self.lock:
            for fault in faults:
                self.pending.append({"on": "commit", "skip": 0, "times": 1, "status": 503, **fault})

    def clear(self):
        with self.lock:
            self.pending = []

    def counts(self):
        with self.lock:
            return {"pending": len(self.pending), "hit": self.hit, "requests": dict(self.requests)}

    def next(self, kind):
        """The fault that hits a request of this kind, if one does."""
        with self.lock:
            self.requests[kind] = self.requests.get(kind, 0) + 1
            for fault in self.pending:
                if fault["on"] not in (kind, "any"):
                    continue
                if fault["skip"] > 0:
                    fault["skip"] -= 1
                    continue
                self.hit += 1
                fault["times"] -= 1
                if fault["times"] == 0:
                    self.pending.remove(fault)
                return fault
        return None


class Access:
    """Who may come in: everyone, the bearer of a fixed token, or of one that was given out here."""

    def __init__(self, token, credential, seconds):
        self.token, self.credential, self.seconds = token, credential, seconds
        self.lock, self.given = threading.Lock(), {}

    def give(self, form, authorization):
        """Client credentials (RFC 6749, 4.4), in the body or by basic authentication."""
        if form.get("grant_type") != "client_credentials":
            raise Refused(400, "unsupported_grant_type", "only client_credentials are known")
        known = (form.get("client_id", ""), form.get("client_secret", ""))
        if authorization.startswith("Basic "):
            known = tuple(base64.b64decode(authorization[6:]).decode().split(":", 1))
        if self.credential is None or ":".join(known) != self.credential:
            raise Refused(401, "invalid_client", "the client is not known, or its secret is another")
        token = secrets.token_urlsafe(24)
        with self.lock:
            self.given[token] = time.monotonic() + self.seconds
        return {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": max(1, int(self.seconds)),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }

    def check(self, authorization):
        if self.token is None and self.credential is None:
            return
        scheme, _, token = authorization.partition(" ")
        with self.lock:
            lasting = self.given.get(token, 0) > time.monotonic()
        if scheme.lower() != "bearer" or not (lasting or (self.token and token == self.token)):
            raise Refused(401, "NotAuthorizedException", "a valid bearer token is needed")


class Lake:
    """The catalog behind the protocol."""

    def __init__(self, warehouse, properties):
        directory = os.path.abspath(warehouse)
        os.makedirs(directory, exist_ok=True)
        self.location = properties.pop("warehouse", f"file://{directory}")
        database = f"sqlite:///{directory}/rest-catalog.db"
        self.catalog = SqlCatalog("rest", uri=database, warehouse=self.location, **properties)
        self.lock = threading.RLock()

    @staticmethod
    def document(table):
        return {
            "metadata-location": table.metadata_location,
            "metadata": json.loads(table.metadata.model_dump_json()),
            "config": {},
        }

    def create(self, namespace, request):
        absent = {"location": None, "partition-spec": None, "write-order": None, "properties": {}}
        wanted = CreateTableRequest.model_validate({**absent, "stage-create": False, **request})
        spec = wanted.partition_spec or UNPARTITIONED_PARTITION_SPEC
        order = wanted.write_order or UNSORTED_SORT_ORDER
        name = (*namespace, wanted.name)
        if not wanted.stage_create:
            table = self.catalog.create_table(
                name, wanted.table_schema, wanted.location, spec, order, wanted.properties
            )
            return self.document(table)
        if not self.catalog.namespace_exists(namespace):
            raise errors.NoSuchNamespaceError(f"Namespace does not exist: {namespace}")
        if self.catalog.table_exists(name):
            raise errors.TableAlreadyExistsError(f"Table {name} already exists")
        metadata = new_table_metadata(
            location=wanted.location or f"{self.location}/{'/'.join(name)}",
            schema=wanted.table_schema,
            partition_spec=spec,
            sort_order=order,
            properties=dict(wanted.properties),
        )
        return {"metadata": json.loads(metadata.model_dump_json()), "config": {}}

    def commit(self, name, request):
        wanted = CommitTableRequest.model_validate({"identifier": identifier(name), **request})
        if any(requirement.type == "assert-create" for requirement in wanted.requirements):
            # Only the name counts: the metadata is made from the updates alone.
            location = next((u.location for u in wanted.updates if u.action == "set-location"), "")
            table = StagedTable(
                identifier=name,
                metadata=self.catalog._empty_table_metadata(),
                metadata_location=location,
                io=self.catalog._load_file_io(location=location or self.location),
                catalog=self.catalog,
            )
        else:
            table = self.catalog.load_table(name)
        done = self.catalog.commit_table(table, wanted.requirements, wanted.updates)
        return {
            "metadata-location": done.metadata_location,
            "metadata": json.loads(done.metadata.model_dump_json()),
        }

    def rename(self, request):
        names = [(*request[end]["namespace"], request[end]["name"]) for end in ("source", "destination")]
        self.catalog.rename_table(*names)


def identifier(name):
    return {"namespace": list(name[:-1]), "name": name[-1]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lake = faults = access = None
    prefix = ""

    def log_message(self, *_):
        pass

    def reply(self, status, document=None):
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        if body:
            self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, kind, message):
        if kind in ("invalid_client", "unsupported_grant_type"):
            self.reply(status, {"error": kind, "error_description": message})
        else:
            self.reply(status, {"error": {"message": message, "type": kind, "code": status}})

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        try:
            if url.path == "/faults":
                return self.switch(body)
            parts = [unquote(part) for part in url.path.strip("/").split("/")]
            fault = self.faults.next(self.kind(parts))
            what = fault["do"] if fault else None
            if what == "drop-request":
                self.close_connection = True
                return None
            if what == "status":
                return self.refuse(fault["status"], "ServiceUnavailableException", "a fault")
            status, document = self.route(parts, parse_qs(url.query), body)
            if what == "drop-reply":
                self.close_connection = True
                return None
            if what == "late-status":
                return self.refuse(fault["status"], "ServiceUnavailableException", "a late fault")
            return self.reply(status, document)
        except Exception as error:
            status, kind = refusal(error)
            if status == 500:
                traceback.print_exc()
            return self.refuse(status, kind, str(error) or repr(error))

    do_GET = do_POST = do_DELETE = do_HEAD = handle_request

    def switch(self, body):
        if self.command == "POST":
            self.faults.add(json.loads(body))
        elif self.command == "DELETE":
            self.faults.clear()
        return self.reply(200, self.faults.counts())

    def kind(self, parts):
        if parts[-2:] == ["oauth", "tokens"]:
            return "token"
        if self.command == "POST" and parts[-1] == "tables":
            return "create"
        if len(parts) >= 5 and parts[-2] == "tables" and parts[-1] != "rename":
            return {"POST": "commit", "GET": "load"}.get(self.command, "other")
        return "other"

    def route(self, parts, query, body):
        authorization = self.headers.get("Authorization", "")
        if parts == ["v1", "oauth", "tokens"]:
            form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
            return 200, self.access.give(form, authorization)
        self.access.check(authorization)
        if parts == ["v1", "config"]:
            overrides = {"prefix": self.prefix} if self.prefix else {}
            return 200, {"defaults": {}, "overrides": overrides, "endpoints": ENDPOINTS}
        base = ["v1", *([self.prefix] if self.prefix else [])]
        if parts[: len(base)] == base:
            with self.lake.lock:
                answer = self.resource(parts[len(base) :], query, json.loads(body) if body else {})
            if answer is not None:
                return answer
        raise Refused(404, "NoSuchEndpointException", f"no endpoint {self.command} {self.path}")

    def resource(self, parts, query, request):
        method, lake = self.command, self.lake
        if method == "POST" and parts == ["tables", "rename"]:
            lake.rename(request)
            return 204, None
        if not parts or parts[0] != "namespaces":
            return None
        if len(parts) == 1:
            return self.namespaces(query, request)
        namespace = tuple(parts[1].split(SEPARATOR))
        if len(parts) == 2:
            return self.namespace(namespace)
        if method == "POST" and parts[2:] == ["properties"]:
            done = lake.catalog.update_namespace_properties(
                namespace, set(request.get("removals") or []), request.get("updates") or {}
            )
            return 200, {"updated": done.updated, "removed": done.removed, "missing": done.missing}
        if method == "POST" and parts[2:] == ["register"]:
            name = (*namespace, request["name"])
            return 200, lake.document(lake.catalog.register_table(name, request["metadata-location"]))
        if parts[2:] == ["tables"] and method == "GET":
            names = lake.catalog.list_tables(namespace)
            return 200, {"identifiers": [identifier(name) for name in names]}
        if parts[2:] == ["tables"] and method == "POST":
            return 200, lake.create(namespace, request)
        if len(parts) == 4 and parts[2] == "tables":
            return self.table((*namespace, parts[3]), request)
        return None

    def namespaces(self, query, request):
        catalog = self.lake.catalog
        if self.command == "GET":
            parent = tuple(query["parent"][0].split(SEPARATOR)) if "parent" in query else ()
            return 200, {"namespaces": [list(name) for name in catalog.list_namespaces(parent)]}
        properties = request.get("properties") or {}
        catalog.create_namespace(tuple(request["namespace"]), properties)
        return 200, {"namespace": request["namespace"], "properties": properties}

    def namespace(self, namespace):
        catalog = self.lake.catalog
        if self.command == "DELETE":
            catalog.drop_namespace(namespace)
            return 204, None
        properties = catalog.load_namespace_properties(namespace)
        if self.command == "HEAD":
            return 204, None
        return 200, {"namespace": list(namespace), "properties": properties}

    def table(self, name, request):
        lake = self.lake
        if self.command == "POST":
            return 200, lake.commit(name, request)
        if self.command == "DELETE":
            lake.catalog.drop_table(name)
            return 204, None
        table = lake.catalog.load_table(name)
        return (204, None) if self.command == "HEAD" else (200, lake.document(table))


def main():
    parser = argparse.ArgumentParser(description="An Iceberg REST catalog for tests.")
    parser.add_argument("warehouse", help="where tables and the catalog's database are put")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--prefix", default="", help="what the configuration tells clients to use")
    parser.add_argument("--token", help="a bearer token that is always valid")
    parser.add_argument("--credential", help="CLIENT:SECRET that tokens are given for")
    parser.add_argument("--token-seconds", type=float, default=3600, help="how long these last")
    parser.add_argument(
        "--property", action="append", default=[], help="KEY=VALUE for PyIceberg, such as s3.endpoint"
    )
    given = parser.parse_args()
    properties = dict(item.split("=", 1) for item in given.property)
    Handler.lake = Lake(given.warehouse, properties)
    Handler.faults = Faults()
    Handler.access = Access(given.token, given.credential, given.token_seconds)
    Handler.prefix = given.prefix
    server = ThreadingHTTPServer(("127.0.0.1", given.port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"uri": f"http://127.0.0.1:{server.server_port}"}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
