#!/usr/bin/env bash
# Prints the events of one or more topics; connects again and resumes when the stream ends.
# Usage: subscribe.sh TOPIC...        Environment: HUB, TOKEN
set -euo pipefail
hub=${HUB:-http://127.0.0.1:8080/.well-known/mercure}
(($#)) || { echo "usage: $0 TOPIC..." >&2; exit 2; }

# --get puts the fields into the query; --no-buffer shows each event as it comes.
ask=(--silent --show-error --fail --no-buffer --get -H 'Accept: text/event-stream')
for topic in "$@"; do ask+=(--data-urlencode "topic=$topic"); done
[[ -z ${TOKEN:-} ]] || ask+=(-H "Authorization: Bearer $TOKEN")

last='' id='' wait=1
while true; do
    resume=()
    [[ -z $last ]] || resume=(-H "Last-Event-ID: $last")
    while IFS= read -r line; do
        case $line in
            'id: '*) id=${line#id: } ;;
            'data: '*) printf '%s\n' "${line#data: }" ;;
            'retry: '*) wait=$(((${line#retry: } + 999) / 1000)) ;;
            '') last=$id ;; # the event is complete: only now does its id count
        esac
    done < <(curl "${ask[@]}" "${resume[@]}" "$hub")
    code=0
    wait $! || code=$?
    ((code != 22)) || exit 1 # the server answered, and not with a stream: it means it
    id=$last
    echo "the stream ended; connecting again in $wait s${last:+, after $last}" >&2
    sleep "$wait"
done
