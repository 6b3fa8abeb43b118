"""The far ends of the pipeline: OTLP over HTTP and gRPC, files and the console."""
