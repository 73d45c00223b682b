//! Free ports that stay the same over a restart.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports are taken from here: below those that the system gives to outgoing connections, so that no client's socket sits
/// on the port of a store that is down for a moment.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// An address on the loopback interface that nobody listens on, and that this process has not given away before.
pub fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run at the same time begin at different places.
    let start = (std::process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let offset = (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        let address = format!("127.0.0.1:{}", FIRST + offset);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
    panic!("no port from {FIRST} to {} is free", FIRST + COUNT);
}
