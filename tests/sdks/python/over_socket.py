"""An app that speaks to its sidecar over a unix domain socket, and asks it for a secret."""

from dapr.clients import DaprClient

with DaprClient() as client:
    print("metadata", client.get_metadata().application_id, flush=True)
    print("secret", client.get_secret("env", "SHOP_USER").secret, flush=True)
    print("bulk", client.get_bulk_secret("env").secrets["SHOP_USER"], flush=True)
    client.shutdown()
