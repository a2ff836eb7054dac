"""An app as its user would write it for `dapr run`: it takes the events of an input, calls an
output for each, and has a method that others call."""

import http.server
import json
import os
import urllib.request

SIDECAR = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0"


def store(name):
    call = {"operation": "create", "data": "tick", "metadata": {"fileName": name}}
    request = urllib.request.Request(f"{SIDECAR}/bindings/files", json.dumps(call).encode())
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["fileName"]


class App(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body=""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_OPTIONS(self):
        self.answer(200 if self.path == "/tick" else 404)

    def do_POST(self):
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.path == "/tick":
            print("stored", store("tick.txt"), os.environ["GREETING"], flush=True)
            self.answer(200)
        elif self.path == "/hello":
            self.answer(200, f"{os.environ['APP_ID']} says {os.environ['GREETING']} to {data}")
        else:
            self.answer(404)

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), App).serve_forever()
