// An app as the JavaScript SDK's documentation has it, over the protocol that APP_PROTOCOL names:
// an event of an input comes in, outputs are called, the reply is compared.

const { CommunicationProtocolEnum, DaprClient, DaprServer } = require("@dapr/dapr");

const isGrpc = process.env.APP_PROTOCOL === "grpc";
const communicationProtocol = isGrpc
  ? CommunicationProtocolEnum.GRPC
  : CommunicationProtocolEnum.HTTP;
const clientOptions = {
  daprHost: "127.0.0.1",
  daprPort: isGrpc ? process.env.DAPR_GRPC_PORT : process.env.DAPR_HTTP_PORT,
  communicationProtocol,
};
const server = new DaprServer({
  serverHost: "127.0.0.1",
  serverPort: process.env.APP_PORT,
  communicationProtocol,
  clientOptions,
});
const client = new DaprClient(clientOptions);

let begun = false;

async function callOutputs() {
  const order = { orderId: 7, customer: "Zoë" };
  await client.binding.send("files", "create", order, { fileName: "7.json" });
  let got = await client.binding.send("files", "get", undefined, { fileName: "7.json" });
  // Over gRPC this SDK gives the bytes as they came.
  if (isGrpc) got = JSON.parse(Buffer.from(got.data).toString());
  console.log("got", got.orderId, got.customer);
  try {
    await client.binding.send("nope", "get");
  } catch (error) {
    console.log("error", error.message.includes("couldn't find output binding nope"));
  }
  await client.metadata.set("colour", "blue");
  const metadata = await client.metadata.get();
  const names = metadata.components.map((component) => component.name).sort();
  console.log("metadata", metadata.id, names.join(" "));
  await client.sidecar.shutdown();
}

async function main() {
  await server.binding.receive("tick", async () => {
    if (begun) return;
    begun = true;
    // The event is answered first.
    setImmediate(callOutputs);
  });
  await server.start();
}

main().catch((error) => {
  console.log("failed", error);
  process.exit(1);
});
