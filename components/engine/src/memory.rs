//! Both engines in memory, with crashes and faults.
