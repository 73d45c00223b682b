//! What the paths of a store's status port and those of the placement driver have in common.

pub(crate) mod refused;
pub(crate) mod region;
