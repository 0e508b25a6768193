"""Prints the events of one or more topics; connects again and resumes when the stream ends.

Usage: python3 subscribe.py TOPIC...        Environment: HUB, TOKEN
Needs nothing but the standard library. Each event is one line: id, type and data as JSON.
"""

import codecs
import http.client
import json
import os
import random
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

HUB = os.environ.get("HUB", "http://127.0.0.1:8080/.well-known/mercure")
SILENCE_MAX = 90  # seconds; the server sends a heartbeat every 15
WAIT_MAX = 30


class Stopped(Exception):
    """The server answered something else than a stream: a browser would not come back either."""


def lines(stream):
    """The stream's lines: they end with CR, LF or CR LF. What is cut off at the end is no line."""
    text = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    rest = ""
    while block := stream.read1(65536):
        rest += text.decode(block)
        # A CR at the very end may be the first half of a CR LF: it waits for what follows.
        *whole, rest = re.split(r"\r\n|\n|\r(?!\Z)", rest)
        yield from whole
    if rest.endswith("\r"):
        yield rest[:-1]


class Subscription:
    """Reads one stream after another and keeps what must survive a reconnect."""

    def __init__(self, topics):
        self.url = HUB + "?" + urllib.parse.urlencode([("topic", topic) for topic in topics])
        self.last_id = ""
        self.retry = 1.0

    def open(self):
        request = urllib.request.Request(self.url, headers={"Accept": "text/event-stream"})
        if self.last_id:
            # Header values are bytes; ids are UTF-8.
            request.add_header("Last-Event-ID", self.last_id.encode().decode("latin-1"))
        if token := os.environ.get("TOKEN"):
            request.add_header("Authorization", "Bearer " + token)
        try:
            stream = urllib.request.urlopen(request, timeout=SILENCE_MAX)
        except urllib.error.HTTPError as error:
            raise Stopped(f"{error.code} {error.read(200).decode(errors='replace')}") from None
        kind = stream.headers.get_content_type()
        if stream.status != 200 or kind != "text/event-stream":
            raise Stopped(f"{stream.status}, {kind}")
        known = stream.headers.get("Last-Event-ID", self.last_id)
        if self.last_id and known != self.last_id:
            print(f"gap: events after {self.last_id} may be missing", file=sys.stderr)
        return stream

    def events(self):
        """The events of one connection, as (id, type, data)."""
        new_id, kind, data = self.last_id, "", []
        with self.open() as stream:
            print("connected", file=sys.stderr, flush=True)
            for line in lines(stream):
                name, _, value = line.partition(":")
                value = value[1:] if value.startswith(" ") else value
                if line == "":
                    self.last_id = new_id
                    if data:
                        yield self.last_id, kind or "message", "\n".join(data)
                    kind, data = "", []
                elif name == "data":
                    data.append(value)
                elif name == "event":
                    kind = value
                elif name == "id" and "\0" not in value:
                    new_id = value
                elif name == "retry" and re.fullmatch("[0-9]+", value):
                    self.retry = int(value) / 1000


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    subscription = Subscription(sys.argv[1:])
    failures = 0
    while True:
        try:
            for event_id, kind, data in subscription.events():
                failures = 0
                print(json.dumps({"id": event_id, "type": kind, "data": data}), flush=True)
        except Stopped as stopped:
            sys.exit(f"the server refused the subscription: {stopped}")
        # Refused, reset, cut off, timed out: all of it may pass.
        except (OSError, http.client.HTTPException) as error:
            print(error, file=sys.stderr)
        wait = subscription.retry + random.uniform(0, min(WAIT_MAX, 2**failures))
        failures += 1
        print(f"connecting again in {wait:.1f} s", file=sys.stderr, flush=True)
        time.sleep(wait)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
