"""The quickstart as a user writes it with Flask: each time the cron binding `batch` fires, three
orders are inserted into PostgreSQL through the output binding `sqldb`."""

import os

import requests
from flask import Flask

app = Flask(__name__)
sidecar = f"http://localhost:{os.environ['DAPR_HTTP_PORT']}/v1.0/bindings/sqldb"
orders = [
    {"orderid": 1, "customer": "John Smith", "price": 100.32},
    {"orderid": 2, "customer": "Jane Bond", "price": 15.4},
    {"orderid": 3, "customer": "Tony James", "price": 35.56},
]


@app.post("/batch")
def process_batch():
    for order in orders:
        sql = (
            "insert into orders (orderid, customer, price) values "
            f"({order['orderid']}, '{order['customer']}', {order['price']})"
        )
        answer = requests.post(sidecar, json={"operation": "exec", "metadata": {"sql": sql}})
        answer.raise_for_status()
    print("Finished processing batch", flush=True)
    return "Processed batch"


if __name__ == "__main__":
    app.run(port=int(os.environ["APP_PORT"]))
