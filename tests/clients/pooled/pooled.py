"""Sends refused and valid push messages in turn over one pooled connection, with requests or httpx.

pooled.py LIBRARY VALID_URL REFUSED_URL COUNT: see tests/clients/README.md.
"""

import json
import sys

BODY = b"x" * 4000
FIELDS = {"TTL": "60", "Content-Encoding": "aes128gcm"}
TIMEOUT_SECONDS = 30


def with_requests():
    import requests

    session = requests.Session()

    def post(url, fields):
        return session.post(url, data=BODY, headers=fields, timeout=TIMEOUT_SECONDS).status_code

    def connections():
        pools = session.get_adapter("http://").poolmanager.pools
        return sum(pools[key].num_connections for key in pools.keys())

    return post, connections


def with_httpx():
    import httpx

    client = httpx.Client(timeout=TIMEOUT_SECONDS)
    made = []

    def trace(event, _details):
        if event == "connection.connect_tcp.started":
            made.append(event)

    def post(url, fields):
        return client.post(url, content=BODY, headers=fields, extensions={"trace": trace}).status_code

    return post, lambda: len(made)


def main(library, valid, refused, count):
    post, connections = {"requests": with_requests, "httpx": with_httpx}[library]()
    statuses, faults = {}, []
    for number in range(count):
        # No such endpoint, and a message without its TTL.
        refusal = (refused, FIELDS) if number % 2 else (valid, {})
        for url, fields in (refusal, (valid, FIELDS)):
            try:
                status = post(url, fields)
                statuses[status] = statuses.get(status, 0) + 1
            except Exception as fault:
                faults.append(f"{number}: {type(fault).__name__}")
    print(json.dumps({"statuses": statuses, "connections": connections(), "faults": faults}))


main(*sys.argv[1:4], int(sys.argv[4]))
