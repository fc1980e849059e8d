#!/usr/bin/python3
"""The lab's test server for updates and traffic.

  GET /             "VERSION HOSTNAME CLIENT-ADDRESS"
  GET /healthz      200 "ok"; 503 while the file /tmp/sick exists
  GET /slow?MS      answers after MS milliseconds
  GET /env/NAME     that environment variable, or 404

PORT (8080) and VERSION come from the environment; START_DELAY seconds pass before
it listens. On SIGTERM it takes no new connection, finishes the requests it has,
and exits with 0.
"""
import os
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("VERSION", "?")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self):
        path, _, query = self.path.partition("?")
        status, body = 200, "ok"
        if path == "/":
            body = f"{VERSION} {socket.gethostname()} {self.client_address[0]}"
        elif path == "/healthz":
            if os.path.exists("/tmp/sick"):
                status, body = 503, "sick"
        elif path == "/slow":
            time.sleep(int(query or 1000) / 1000)
        elif path.startswith("/env/") and path[5:] in os.environ:
            body = os.environ[path[5:]]
        else:
            status, body = 404, "not found"
        data = (body + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(data)))
        # One request a connection: each shows where a new connection lands, and
        # none is cut off by a stop while it idles.
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    # Not daemonic and joined on close: a stop waits for requests in flight.
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128


def main():
    time.sleep(float(os.environ.get("START_DELAY", 0)))
    server = Server(("0.0.0.0", int(os.environ.get("PORT", 8080))), Handler)
    # shutdown() waits for the loop, which this thread runs: hence another thread.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"web {VERSION}: listening on {server.server_address[1]}", flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    print(f"web {VERSION}: done", flush=True)


main()
