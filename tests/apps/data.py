"""Sends what is on the table (a JSON file) as `data` of a create call, and prints the answers:
each entry is either the raw JSON text of `data`, or a value that Python's own encoder writes."""

import json
import os
import sys
import urllib.request

binding, table = sys.argv[1], json.load(open(sys.argv[2], encoding="utf-8"))
url = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/bindings/{binding}"
for entry in table:
    data = entry["raw"] if "raw" in entry else json.dumps(entry["value"])
    metadata = json.dumps(entry["metadata"])
    body = '{"operation": "%s", "data": %s, "metadata": %s}' % (entry["operation"], data, metadata)
    request = urllib.request.Request(url, body.encode("utf-8"))
    with urllib.request.urlopen(request) as answer:
        print(answer.status, flush=True)
