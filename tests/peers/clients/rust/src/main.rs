//! otlp-rust ENDPOINT SECONDS: spans by the OpenTelemetry SDK for Rust, over tonic, as they come. Prints as otlp-go does.
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Compression, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter};
use opentelemetry_sdk::Resource;

#[derive(Debug)]
struct Witness(opentelemetry_otlp::SpanExporter);

impl SpanExporter for Witness {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let ids: Vec<_> = batch.iter().map(|span| span.span_context.span_id()).collect();
        let result = self.0.export(batch).await;
        let mut lines = String::new();
        match &result {
            Ok(()) => ids.iter().for_each(|id| writeln!(lines, "ack {id}").unwrap()),
            Err(error) => writeln!(lines, "fail {} {error}", ids.len()).unwrap(),
        }
        let mut out = std::io::stdout().lock();
        out.write_all(lines.as_bytes()).unwrap();
        out.flush().unwrap();
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let seconds = arguments[2].parse().unwrap();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(format!("http://{}", arguments[1]))
        .with_compression(Compression::Gzip)
        .build()
        .unwrap();
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(200_000)
        .with_max_export_batch_size(100)
        .with_scheduled_delay(Duration::from_millis(100))
        .build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(Witness(exporter)).with_batch_config(config).build())
        .with_resource(Resource::builder_empty().with_attribute(KeyValue::new("service.name", "client-rust")).build())
        .build();
    let tracer = provider.tracer("weir");
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        tracer.in_span("GET /carts", |_| {});
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::task::spawn_blocking(move || provider.shutdown()).await.unwrap().unwrap();
}
