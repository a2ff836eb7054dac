// Sends what is on the table (a JSON file) as `data` of a create call, and prints the answers:
// each entry is either the raw JSON text of `data`, or a value that Node's own encoder writes.

const fs = require('fs');

const [binding, file] = process.argv.slice(2);
const table = JSON.parse(fs.readFileSync(file, 'utf8'));
const url = `http://127.0.0.1:${process.env.DAPR_HTTP_PORT}/v1.0/bindings/${binding}`;

(async () => {
  for (const entry of table) {
    const data = 'raw' in entry ? entry.raw : JSON.stringify(entry.value);
    const metadata = JSON.stringify(entry.metadata);
    const body = `{"operation": "${entry.operation}", "data": ${data}, "metadata": ${metadata}}`;
    const answer = await fetch(url, { method: 'POST', body });
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    console.log(answer.status);
  }
})();
