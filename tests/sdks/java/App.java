// An app as the Java SDK's documentation has it: an event of an input comes in over HTTP, outputs
// are called, the reply is compared.

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.domain.ComponentMetadata;
import io.dapr.exceptions.DaprException;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicBoolean;

public class App {
  public record Order(int orderId, long price) {}

  private static final AtomicBoolean begun = new AtomicBoolean();

  public static void main(String[] args) throws IOException {
    int port = Integer.parseInt(System.getenv("APP_PORT"));
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
    server.setExecutor(Executors.newCachedThreadPool());
    server.createContext("/tick", App::onTick);
    server.start();
  }

  private static void onTick(HttpExchange exchange) throws IOException {
    boolean isEvent = exchange.getRequestMethod().equals("POST");
    exchange.sendResponseHeaders(200, -1);
    exchange.close();
    if (isEvent && begun.compareAndSet(false, true)) {
      System.out.println("event " + exchange.getRequestHeaders().containsKey("readTimeUTC"));
      new Thread(App::callOutputs).start();
    }
  }

  private static void callOutputs() {
    try (DaprClient client = new DaprClientBuilder().build()) {
      client.waitForSidecar(10_000).block();
      Order order = new Order(7, 9007199254740993L);
      Map<String, String> file = Map.of("fileName", "7.json");
      client.invokeBinding("files", "create", order, file, byte[].class).block();
      Order got = client.invokeBinding("files", "get", null, file, Order.class).block();
      System.out.println("got " + order.equals(got));
      byte[] web = client.invokeBinding("web", "get", null, byte[].class).block();
      System.out.println("web " + new String(web));
      try {
        client.invokeBinding("nope", "get", null).block();
      } catch (DaprException error) {
        boolean says = error.getMessage().contains("couldn't find output binding nope");
        System.out.println("error " + error.getErrorCode() + " " + says);
      }
      var metadata = client.getMetadata().block();
      var names = metadata.getComponents().stream().map(ComponentMetadata::getName).sorted().toList();
      System.out.println("metadata " + metadata.getId() + " " + names);
      client.shutdown().block();
    } catch (Exception error) {
      error.printStackTrace(System.out);
    }
  }
}
