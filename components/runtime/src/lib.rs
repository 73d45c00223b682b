//! Mailboxes, poller pools, timers and workers; the clock, RNG and spawn seams.
