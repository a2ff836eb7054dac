"""Receives traces by OTLP with OpenTelemetry's own messages, over HTTP and over gRPC on the ports that
it is given, and prints for each span a line of JSON that says what came."""

import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services


def tell(by, request):
    for of_resource in request.resource_spans:
        resource = {a.key: a.value.string_value for a in of_resource.resource.attributes}
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                said = {
                    "by": by,
                    "service": resource.get("service.name"),
                    "name": span.name,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "took": span.end_time_unix_nano - span.start_time_unix_nano,
                }
                print(json.dumps(said), flush=True)


class OverHttp(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        tell("http", messages.ExportTraceServiceRequest.FromString(body))
        answer = messages.ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class OverGrpc(services.TraceServiceServicer):
    def Export(self, request, context):
        tell("grpc", request)
        return messages.ExportTraceServiceResponse()


http_port, grpc_port = map(int, sys.argv[1:])
server = grpc.server(futures.ThreadPoolExecutor(2))
services.add_TraceServiceServicer_to_server(OverGrpc(), server)
server.add_insecure_port(f"127.0.0.1:{grpc_port}")
server.start()
over_http = HTTPServer(("127.0.0.1", http_port), OverHttp)
threading.Thread(target=over_http.serve_forever, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
