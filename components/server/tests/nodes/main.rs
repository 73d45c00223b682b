//! Whole nodes in one process, over real sockets and disks.

#![allow(clippy::unwrap_used)]

mod cluster;
mod moves;
mod restarts;
mod routes;
