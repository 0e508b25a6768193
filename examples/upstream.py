"""A tiny server to put Tidegate in front of. It says which requests are open, so you see who shares.

Usage: python3 upstream.py [PORT]   on loopback; port 9000 if none is given

GET /healthz   200, for health probes
GET /...       any other path: an endless event stream, one tick a second, after Last-Event-ID
POST /...      the words of the body, an event each, then the end: as a language model answers
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REPLAYED_MAX = 60
LOCK = threading.Lock()
OPEN = 0


def tell(change, request):
    """Says that a request began or ended, and how many are open."""
    global OPEN
    with LOCK:
        OPEN += change
        print(f"{'begin' if change > 0 else 'end  '} {request}   ({OPEN} open)", flush=True)


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/healthz":
            self.send_response(200)
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"ok\n")
            return
        self.stream(self.ticks())

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.stream(self.words(body.decode("utf-8", "replace")))

    def ticks(self):
        """The seconds of the clock; their numbers are the ids, so they hold over a restart."""
        last = self.headers.get("Last-Event-ID", "")
        now = int(time.time())
        tick = max(int(last) + 1, now - REPLAYED_MAX) if last.isdigit() else now
        while True:
            time.sleep(max(0, tick - time.time()))
            data = {"path": self.path, "time": time.strftime("%H:%M:%S", time.localtime(tick))}
            yield f"id: {tick}\ndata: {json.dumps(data)}\n\n"
            tick += 1

    def words(self, text):
        for word in text.split():
            time.sleep(0.3)
            yield f"data: {word}\n\n"
        yield "data: [DONE]\n\n"

    def stream(self, events):
        """Sends each event when it is there. `Transfer-Encoding` shows the reader a cut."""
        request = f"{self.command} {self.path}"
        tell(+1, request)
        try:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for event in events:
                piece = event.encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # The reader has gone.
        finally:
            tell(-1, request)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    try:
        server = Server(("127.0.0.1", port), Upstream)
    except OSError as error:
        sys.exit(f"cannot listen on port {port}: {error}")
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
