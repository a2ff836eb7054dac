// An app as the Java SDK's documentation has it: a controller of Spring Boot takes the event of an
// input, outputs are called, the reply is compared.

import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.domain.ComponentMetadata;
import io.dapr.exceptions.DaprException;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RestController;
import reactor.core.publisher.Mono;

@EnableAutoConfiguration
@RestController
public class App {
  public record Order(int orderId, long price) {}

  private static final AtomicBoolean begun = new AtomicBoolean();

  public static void main(String[] args) {
    var application = new SpringApplication(App.class);
    application.setDefaultProperties(
        Map.of("server.port", System.getenv("APP_PORT"), "server.address", "127.0.0.1"));
    application.run(args);
  }

  @PostMapping("/tick")
  public Mono<Void> onTick(@RequestHeader(name = "readTimeUTC", required = false) String readAt) {
    return Mono.fromRunnable(
        () -> {
          if (begun.compareAndSet(false, true)) {
            System.out.println("event " + (readAt != null));
            new Thread(App::callOutputs).start();
          }
        });
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
