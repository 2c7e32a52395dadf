"""A user agent of RFC 8030: HTTP/2 with server push, by the library h2.

    python agent.py HOST PORT

Commands come on standard input, one JSON object a line, and each is answered with one on standard output:

    {"do": "connect"}                      opens a connection, and drops the one before
    {"do": "ask", "method": "POST", "path": "/subscribe", "fields": {}}
                                           {"status": 201, "fields": {...}, "body": "..."}
    {"do": "monitor", "path": "/s/...", "fields": {}}
                                           {"stream": 3}; the request stays open
    {"do": "next"}                         the next push: {"path", "promise": {...}, "status", "fields": {...}, "body"}
    {"do": "ended", "stream": 3}           {"status": 204}, once the request is answered

Bodies are in base64. What a pushed answer says is told as it came; nothing is judged here.
"""

import base64
import json
import socket
import sys

import h2.config
import h2.connection
import h2.events


def fields(headers):
    """Header fields, with repeated ones as one list."""
    found = {}
    for name, value in headers:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


class Agent:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self.socket = None

    def connect(self):
        if self.socket:
            self.socket.close()
        self.socket = socket.create_connection((self.host, self.port), timeout=30)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.streams, self.pushed = {}, []
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def request(self, method, path, more):
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", f"{self.host}:{self.port}")]
        self.h2.send_headers(stream, head + list(more.items()), end_stream=True)
        self.streams[stream] = {"body": b"", "ended": False}
        self.flush()
        return stream

    def until(self, ready):
        while not (found := ready()):
            octets = self.socket.recv(65536)
            if not octets:
                raise ConnectionError("the service has hung up")
            for event in self.h2.receive_data(octets):
                self.take(event)
            self.flush()
        return found

    def take(self, event):
        if isinstance(event, h2.events.PushedStreamReceived):
            self.streams[event.pushed_stream_id] = {"body": b"", "ended": False, "promise": fields(event.headers)}
            self.pushed.append(event.pushed_stream_id)
        elif isinstance(event, h2.events.ResponseReceived):
            self.streams[event.stream_id]["fields"] = fields(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.streams[event.stream_id]["body"] += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.streams[event.stream_id]["ended"] = True
        elif isinstance(event, h2.events.StreamReset):
            raise ConnectionError(f"stream {event.stream_id} was reset: {event.error_code}")
        elif isinstance(event, h2.events.ConnectionTerminated):
            raise ConnectionError(f"the service ends the connection: {event.error_code}")

    def answer(self, stream):
        found = self.until(lambda: self.streams[stream]["ended"] and self.streams[stream])
        head = dict(found["fields"])
        status = int(head.pop(":status"))
        return {"status": status, "fields": head, "body": base64.b64encode(found["body"]).decode()}

    def do(self, command):
        what = command["do"]
        if what == "connect":
            self.connect()
            return {}
        if what == "ask":
            return self.answer(self.request(command["method"], command["path"], command.get("fields", {})))
        if what == "monitor":
            return {"stream": self.request("GET", command["path"], command.get("fields", {}))}
        if what == "next":
            stream = self.until(lambda: self.pushed and self.pushed.pop(0))
            promise = self.streams[stream]["promise"]
            return {"path": promise[":path"], "promise": promise, **self.answer(stream)}
        if what == "ended":
            return {"status": self.answer(command["stream"])["status"]}
        raise ValueError(f"unknown: {what}")


def main():
    agent = Agent(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        print(json.dumps(agent.do(json.loads(line))), flush=True)


main()
