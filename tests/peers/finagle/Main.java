import com.twitter.finagle.Http;
import com.twitter.finagle.ListeningServer;
import com.twitter.finagle.Service;
import com.twitter.finagle.SimpleFilter;
import com.twitter.finagle.http.Request;
import com.twitter.finagle.http.Response;
import com.twitter.finagle.stats.JsonExporter;
import com.twitter.finagle.stats.MetricsStatsReceiver;
import com.twitter.finagle.tracing.NullTracer$;
import com.twitter.finagle.tracing.Trace;
import com.twitter.util.Await;
import com.twitter.util.Future;

/**
 * A Finagle HTTP router in front of a Finagle HTTP app: the library that Linkerd 1 is made of, with its own Scribe tracer.
 * Configured by system properties: router, app, admin are ports; Finagle's own com.twitter.finagle.zipkin.host and
 * com.twitter.finagle.zipkin.initialSampleRate say where spans go and how many.
 */
public final class Main {
  /** As Finagle has done itself since 19: the hop that decides a trace notes at what rate. */
  private static final class NotesRate extends SimpleFilter<Request, Response> {
    private final double rate = Double.parseDouble(System.getProperty("com.twitter.finagle.zipkin.initialSampleRate"));

    @Override
    public Future<Response> apply(Request request, Service<Request, Response> next) {
      if (Trace.id()._parentId().isEmpty()) Trace.recordBinary("zipkin.sampling_rate", rate);
      return next.apply(request);
    }
  }

  private static final class App extends Service<Request, Response> {
    @Override
    public Future<Response> apply(Request request) {
      Response response = Response.apply();
      if (request.path().startsWith("/fail")) response.statusCode(503);
      response.setContentString("ok\n");
      return Future.value(response);
    }
  }

  private static String address(String port) {
    return "127.0.0.1:" + Integer.getInteger(port);
  }

  public static void main(String[] arguments) throws Exception {
    ListeningServer app = Http.server().withLabel("app").serve(address("app"), new App());
    Service<Request, Response> client = Http.client().withLabel("app").newService(address("app"));
    ListeningServer router = Http.server().withLabel("router").serve(address("router"), new NotesRate().andThen(client));
    Http.server()
        .withTracer(NullTracer$.MODULE$)
        .serve(address("admin"), new JsonExporter(MetricsStatsReceiver.defaultRegistry()));
    Await.ready(router);
  }
}
