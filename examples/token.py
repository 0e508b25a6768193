#!/usr/bin/env python3
"""Makes a token (HS256 JWT with the `mercure` claim) and prints it.

usage: token.py KEY [--publish TOPIC]... [--subscribe TOPIC]... [--seconds N]
"""
import argparse
import base64
import hashlib
import hmac
import json
import time


def encoded(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


parser = argparse.ArgumentParser(description="Makes a token and prints it.")
parser.add_argument("key", help="the hub's publisher or subscriber key")
parser.add_argument("--publish", action="append", default=[], metavar="TOPIC")
parser.add_argument("--subscribe", action="append", default=[], metavar="TOPIC")
parser.add_argument("--seconds", type=int, default=3600, help="how long it is good for")
arguments = parser.parse_args()

claims = {
    "mercure": {"publish": arguments.publish, "subscribe": arguments.subscribe},
    "exp": int(time.time()) + arguments.seconds,
}
head = encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
signed = head + b"." + encoded(json.dumps(claims).encode())
signature = hmac.new(arguments.key.encode(), signed, hashlib.sha256).digest()
print((signed + b"." + encoded(signature)).decode())
