//! Both engines on RocksDB.
