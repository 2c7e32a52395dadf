"""Receives the posts of a webhook, as an application server with the library standardwebhooks does.

Prints the port that it listens at, then reads commands from standard input, one JSON object a line:
{"secret": the secret that signs, "statuses": the answers of the next posts; then 204}. Each post prints one JSON object:
"verified", "id", "status" (what it was answered), "body".
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook

lock = threading.Lock()
state = {"secret": None, "statuses": []}


def say(what):
    with lock:
        print(json.dumps(what), flush=True)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with lock:
            secret = state["secret"]
            status = state["statuses"].pop(0) if state["statuses"] else 204
        try:
            Webhook(secret).verify(body.decode(), dict(self.headers))
            verified = True
        except Exception as fault:
            verified = repr(fault)
        say({"verified": verified, "id": self.headers["webhook-id"], "status": status, "body": json.loads(body)})
        self.send_response(status)
        if status == 307:
            self.send_header("location", "/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
say({"port": server.server_port})
for line in sys.stdin:
    command = json.loads(line)
    with lock:
        state.update(command)
    say({"done": True})
