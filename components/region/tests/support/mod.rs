//! What the tests of this crate share.

pub mod cluster;
pub mod describe;
pub mod log;
