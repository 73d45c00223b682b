//! What the tests of this crate share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod cluster;
pub mod describe;
pub mod member;
pub mod requests;
