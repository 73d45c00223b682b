//! The embedding facade: a replicated store as a library, with no placement driver.
