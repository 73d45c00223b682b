//! gRPC services, status HTTP, configuration and shutdown.
