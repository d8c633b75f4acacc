//! The gRPC service and its typed client.
