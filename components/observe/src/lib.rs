//! Logs, slow logs and the metric registry.
