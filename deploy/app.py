"""Takes the events of `new-order`, and has each of them stored by `orders`."""
import http.server, json, os, urllib.request

ORDERS = f"http://localhost:{os.environ['DAPR_HTTP_PORT']}/v1.0/bindings/orders"
count = 0

class App(http.server.BaseHTTPRequestHandler):
    def do_OPTIONS(self):           # "do you want the events of this input?"
        self.send_response(200 if self.path == "/new-order" else 404)
        self.end_headers()

    def do_POST(self):              # an event
        global count
        count += 1
        call = {
            "operation": "create",
            "metadata": {"key": f"order-{count}"},
            "data": {"orderId": count},
        }
        urllib.request.urlopen(ORDERS, json.dumps(call).encode())
        self.send_response(200)
        self.end_headers()

port = int(os.environ["APP_PORT"])
http.server.ThreadingHTTPServer(("127.0.0.1", port), App).serve_forever()
