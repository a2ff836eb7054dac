"""An app as a user would write it, with nothing but Python's own library: it takes the events of
the cron binding `tick` and stores an order for each through the output binding `files`."""

import http.server
import json
import os
import urllib.request

SIDECAR = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/bindings/files"


def store(number):
    body = {
        "operation": "create",
        "data": {"orderId": number},
        "metadata": {"fileName": f"order-{number}.json"},
    }
    request = urllib.request.Request(
        SIDECAR, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["fileName"]


class App(http.server.BaseHTTPRequestHandler):
    orders = 0

    def do_OPTIONS(self):
        self.send_response(200 if self.path == "/tick" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        App.orders += 1
        print("stored", store(App.orders), flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), App).serve_forever()
