"""Sends push messages with pywebpush, as an application server written in Python does.

Reads jobs from standard input, one JSON object a line, and answers each with one JSON object a line:
see tests/clients/README.md for both.
"""

import base64
import json
import sys

from pywebpush import WebPushException, webpush

TIMEOUT_SECONDS = 30


def send(job):
    headers = {}
    if job.get("topic"):
        headers["topic"] = job["topic"]
    if job.get("urgency"):
        headers["urgency"] = job["urgency"]
    if job.get("receipt"):
        headers["prefer"] = "respond-async"
    signed = bool(job.get("vapid_private"))
    try:
        response = webpush(
            {"endpoint": job["endpoint"], "keys": {"p256dh": job["p256dh"], "auth": job["auth"]}},
            data=base64.b64decode(job["payload_base64"]),
            vapid_private_key=job.get("vapid_private"),
            vapid_claims={"sub": job["subject"]} if signed else None,
            content_encoding=job["encoding"],
            ttl=job["ttl"],
            headers=headers,
            timeout=TIMEOUT_SECONDS,
        )
    except WebPushException as refused:
        if refused.response is None:
            return {"error": str(refused)}
        return {"status": refused.response.status_code, "body": refused.response.text}
    return {"status": response.status_code, "location": response.headers.get("location")}


for line in sys.stdin:
    try:
        answer = send(json.loads(line))
    except Exception as fault:  # the test shows it; a sender that dies would show nothing
        answer = {"error": repr(fault)}
    print(json.dumps(answer), flush=True)
