"""Publishes one event and prints its id.

Usage: python3 publish.py TOPIC DATA [FIELD=VALUE...]   fields: id, type, retry, private, topic
Environment: HUB, TOKEN
"""

import os
import sys
import urllib.error
import urllib.parse
import urllib.request

HUB = os.environ.get("HUB", "http://127.0.0.1:8080/.well-known/mercure")


def publish(topic, data, fields=()):
    """Returns the event's id."""
    form = urllib.parse.urlencode([("topic", topic), ("data", data), *fields])
    request = urllib.request.Request(HUB, data=form.encode())
    if token := os.environ.get("TOKEN"):
        request.add_header("Authorization", "Bearer " + token)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        more = [tuple(field.partition("=")[::2]) for field in sys.argv[3:]]
        print(publish(sys.argv[1], sys.argv[2], more))
    except urllib.error.HTTPError as error:
        sys.exit(f"the hub refused the event: {error.code} {error.read().decode().strip()}")
    except OSError as error:
        sys.exit(f"cannot reach {HUB}: {error}")
