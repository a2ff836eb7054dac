// The tutorial as a user writes it with Express: one Kafka component, `sample-topic`, is output
// and input of the same app. It sends numbered orders and takes them back.

const express = require('express');

const ORDERS = Number(process.env.ORDERS);
const sidecar = `http://localhost:${process.env.DAPR_HTTP_PORT}/v1.0/bindings/sample-topic`;
const received = [];
const app = express();
app.use(express.json());

app.post('/sample-topic', (request, response) => {
  received.push(request.body.orderId);
  response.status(200).send();
});

app.get('/received', (request, response) => response.json(received));

async function send() {
  for (let orderId = 1; orderId <= ORDERS; orderId += 1) {
    const answer = await fetch(sidecar, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ operation: 'create', data: { orderId } }),
    });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  }
  console.log('sent all orders');
}

app.listen(Number(process.env.APP_PORT), () => {
  send().catch((error) => { console.error(error); process.exit(1); });
});
