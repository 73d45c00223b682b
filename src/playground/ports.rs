//! Where the processes of the playground listen: at ports that are easy to remember where those are free, else anywhere.

use server::config::Config;
use server::node::NodeError;

/// An address at any free port.
const ANY: &str = "127.0.0.1:0";

/// The coordinator's address for clients and stores.
pub const COORDINATOR: &str = "127.0.0.1:2379";

/// The coordinator's address for status requests.
pub const COORDINATOR_STATUS: &str = "127.0.0.1:2381";

/// The address of a store for clients and other stores; stores are counted from 1.
pub fn store(number: usize) -> String {
    format!("127.0.0.1:{}", 20160 + number)
}

/// The address of a store for status requests.
pub fn store_status(number: usize) -> String {
    format!("127.0.0.1:{}", 20180 + number)
}

/// Those of the usual addresses of a coordinator and `stores` stores that are not among the `actual` ones, because
/// others use them.
pub fn in_use_by_others(stores: usize, actual: &[&str]) -> Vec<String> {
    let usual = [COORDINATOR, COORDINATOR_STATUS].map(str::to_owned).into_iter();
    let usual = usual.chain((1..=stores).flat_map(|number| [store(number), store_status(number)]));
    usual.filter(|address| !actual.contains(&address.as_str())).collect()
}

/// Starts a process; whichever of its addresses is taken is replaced by one at any free port.
///
/// # Errors
/// Those of `start`.
pub fn start_at_free_ports<T>(
    config: &mut Config,
    mut start: impl FnMut(&Config) -> Result<T, NodeError>,
) -> Result<T, NodeError> {
    loop {
        match start(config) {
            Err(NodeError::Listen { address, .. }) if replace(config, &address) => {}
            result => return result,
        }
    }
}

/// False when no address of the configuration is the one that is taken, or it is at any port already.
fn replace(config: &mut Config, taken: &str) -> bool {
    let (server, coordinator) = (&mut config.server, &mut config.coordinator);
    let addresses = [&mut server.addr, &mut server.status_addr, &mut coordinator.addr, &mut coordinator.status_addr];
    let found = addresses.into_iter().find(|address| *address == taken && *address != ANY);
    found.map(|address| ANY.clone_into(address)).is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io;

    use super::*;

    fn taken(address: &str) -> NodeError {
        NodeError::Listen { address: address.to_owned(), source: io::ErrorKind::AddrInUse.into() }
    }

    #[test]
    fn only_addresses_that_are_taken_are_replaced() {
        let mut config = Config::default();
        config.server.addr = store(1);
        config.server.status_addr = store_status(1);
        let started = start_at_free_ports(&mut config, |config| match config.server.status_addr.as_str() {
            ANY => Ok(config.server.addr.clone()),
            address => Err(taken(address)),
        });
        assert_eq!(started.unwrap(), store(1));
        assert_eq!(config.server.status_addr, ANY);
    }

    #[test]
    fn what_others_use_is_told() {
        let (one, status) = (store(1), store_status(1));
        assert!(in_use_by_others(1, &[COORDINATOR, COORDINATOR_STATUS, &one, &status]).is_empty());
        let moved = in_use_by_others(1, &["127.0.0.1:40000", COORDINATOR_STATUS, "127.0.0.1:40001", &status]);
        assert_eq!(moved, [COORDINATOR.to_owned(), one]);
    }

    #[test]
    fn a_machine_without_any_free_port_is_an_error() {
        let mut tries = 0;
        let result = start_at_free_ports(&mut Config::default(), |config| {
            tries += 1;
            Err::<(), _>(taken(&config.server.addr))
        });
        assert!(result.is_err());
        assert_eq!(tries, 2, "once at the port asked for, once at any");
    }
}
