"""Whether Python's clients reach the services inside TLS, as JSON: tls_clients.py HTTP FLIGHT FOLDER anonymous|known."""

import http.client
import json
import ssl
import sys
import urllib.error
import urllib.request

import pyarrow.flight as flight

address, grpc, folder, own = sys.argv[1:]
port = address.rsplit(":", 1)[1]


def ask(known):
    context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    if known:
        context.load_cert_chain(f"{folder}/server.pem", f"{folder}/server.key")
    try:
        with urllib.request.urlopen(f"https://localhost:{port}/healthz", context=context, timeout=20) as answer:
            return json.load(answer)["status"]
    except (urllib.error.URLError, http.client.HTTPException, OSError):
        return "refused"


def plain():
    try:
        urllib.request.urlopen(f"http://localhost:{port}/healthz", timeout=20)
        return "ok"
    except (urllib.error.URLError, http.client.HTTPException, OSError):
        return "refused"


def read(name):
    with open(f"{folder}/{name}") as file:
        return file.read()


def listed():
    certificates = {"cert_chain": read("server.pem"), "private_key": read("server.key")} if own == "known" else {}
    location = f"grpc+tls://localhost:{grpc.rsplit(':', 1)[1]}"
    with flight.connect(location, tls_root_certs=read("ca.pem"), **certificates) as client:
        return len(list(client.list_flights()))


print(json.dumps({"http": ask(own == "known"), "flight": listed(), "plain": plain(), "without_certificate": ask(False)}))
