//! What is asked of regions beside reads and writes, by people, clients and the placement driver: that they are split, get
//! other members, or are led elsewhere.
//!
//! Nothing here decides whether that is a good idea. The region does, under its epoch; so what is asked twice or too late
//! does no harm.
//!
//! Reading order: [`ask()`], `split`, `pd`.

mod ask;
mod pd;
mod split;

pub use ask::{ask, inspect};
pub use pd::PdSplits;
pub use split::{SplitReports, Splits};
