"""An app over gRPC as the Python SDK's documentation has it: an event of an input comes in, an
output is called with what it brought, the reply and its metadata are compared."""

import json
import os
import threading

from dapr.clients import DaprClient
from dapr.ext.grpc import App, BindingRequest

app = App()
done = threading.Event()


@app.binding("tick")
def on_tick(request: BindingRequest):
    if done.is_set():
        return
    done.set()
    # Data of a cron event is empty; when it was sent is in its metadata.
    print("event", request.text() == "", "readTimeUTC" in request.binding_metadata, flush=True)
    print("trace", "traceparent" in request.metadata, flush=True)
    threading.Thread(target=call_outputs).start()


def call_outputs():
    # It waits for the sidecar's health on its own.
    with DaprClient() as client:
        order = json.dumps({"orderId": 7, "price": 9007199254740993})
        created = client.invoke_binding(
            "files", "create", order, binding_metadata={"fileName": "7.json"}
        )
        print("created", created.json()["fileName"].endswith("7.json"), flush=True)
        got = client.invoke_binding("files", "get", "", {"fileName": "7.json"})
        print("got", got.text() == order, flush=True)
        called = client.invoke_binding("web", "get", "")
        print("web", called.text(), called.binding_metadata["statusCode"], flush=True)
        try:
            client.invoke_binding("nope", "get", "")
        except Exception as error:
            print("error", error.code(), error.details(), flush=True)
        client.set_metadata("colour", "blue")
        metadata = client.get_metadata()
        names = sorted(component.name for component in metadata.registered_components)
        print("metadata", metadata.application_id, names, flush=True)
        print("extended", metadata.extended_metadata["colour"], flush=True)
        client.shutdown()


app.run(int(os.environ["APP_PORT"]))
