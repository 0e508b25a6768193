#!/usr/bin/env bash
# Publishes one event and prints its id.
# Usage: publish.sh TOPIC DATA [FIELD=VALUE...]   fields: id, type, retry, private, topic
# Environment: HUB, TOKEN
set -euo pipefail
hub=${HUB:-http://127.0.0.1:8080/.well-known/mercure}
(($# >= 2)) || { echo "usage: $0 TOPIC DATA [FIELD=VALUE...]" >&2; exit 2; }

form=(--data-urlencode "topic=$1" --data-urlencode "data=$2")
for field in "${@:3}"; do form+=(--data-urlencode "$field"); done
[[ -z ${TOKEN:-} ]] || form+=(-H "Authorization: Bearer $TOKEN")
curl --silent --show-error --fail-with-body "${form[@]}" "$hub"
echo
