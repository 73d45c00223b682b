//! Messages between stores over gRPC.
