//! Cluster metadata, ids, timestamps and routing, kept in a region of its own.
