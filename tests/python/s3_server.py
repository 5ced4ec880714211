"""An S3-compatible server on loopback.

Usage: s3_server.py BUCKET [PORT]

Makes the bucket, prints one line, a JSON object (`{"uri": "http://127.0.0.1:PORT"}`), and serves until
its standard input is closed. Any access key will do; the region is `us-east-1`.
"""

import json
import logging
import sys

import boto3
from moto.server import ThreadedMotoServer


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    uri = "http://127.0.0.1:{}".format(server.get_host_and_port()[1])
    client = boto3.client(
        "s3",
        endpoint_url=uri,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket=sys.argv[1])
    print(json.dumps({"uri": uri}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
