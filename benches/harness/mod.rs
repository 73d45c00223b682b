//! What every target is measured with.

pub mod clients;
pub mod cpu;
pub mod load;
pub mod machine;
pub mod options;
pub mod report;
pub mod rounds;
pub mod sample;
pub mod wait;
