"""An app over HTTP with FastAPI and the Python SDK beside it: an event of an input comes in, an
output is called, the reply and its metadata are compared."""

import os
import threading

import uvicorn
from dapr.clients import DaprClient
from dapr.ext.fastapi import DaprApp
from fastapi import FastAPI, Request

app = FastAPI()
# Routes of other building blocks stand beside those of bindings.
DaprApp(app)
done = threading.Event()


@app.post("/tick")
async def on_tick(request: Request):
    if not done.is_set():
        done.set()
        print("event", await request.body() == b"", "readTimeUTC" in request.headers, flush=True)
        threading.Thread(target=call_outputs).start()


def call_outputs():
    with DaprClient() as client:
        client.wait(10)
        file = {"fileName": "7.json"}
        client.invoke_binding("files", "create", '{"orderId": 7}', file)
        got = client.invoke_binding("files", "get", "", file)
        print("got", got.json(), flush=True)
        called = client.invoke_binding("web", "get", "")
        print("web", called.text(), called.binding_metadata["statusCode"], flush=True)
        try:
            client.invoke_binding("nope", "get", "")
        except Exception as error:
            print("error", error.code(), flush=True)
        client.shutdown()


uvicorn.run(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), log_level="warning")
