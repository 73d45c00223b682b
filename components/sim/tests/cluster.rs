//! A cluster in the hands of whoever tests what he builds on it: regions move under his programs as well.

#![allow(missing_docs, clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use region::Role;
use sim::{Guests, Host, Profile, Settings, scenario};
use types::{ColumnFamily, Instant, RegionId, RequestHeader, Responder, StoreId};

/// Writes to whatever its store leads, and takes down which regions and members it sees.
#[derive(Clone, Default)]
struct Writers(Rc<RefCell<Seen>>);

#[derive(Default)]
struct Seen {
    hosts: BTreeMap<StoreId, Host>,
    next: BTreeMap<StoreId, Instant>,
    written: u64,
    regions: BTreeSet<RegionId>,
    configurations: BTreeSet<u64>,
}

impl Guests for Writers {
    fn moved_in(&mut self, host: Host) {
        let mut seen = self.0.borrow_mut();
        seen.next.remove(&host.id());
        seen.hosts.insert(host.id(), host);
    }

    fn moved_out(&mut self, store: StoreId) {
        self.0.borrow_mut().hosts.remove(&store);
    }

    fn run(&mut self, store: StoreId) -> Option<Instant> {
        let mut seen = self.0.borrow_mut();
        let host = seen.hosts.get(&store)?.clone();
        let (now, next) = (host.clock().now(), *seen.next.entry(store).or_insert(Instant::ORIGIN));
        if now < next {
            return Some(next);
        }
        let next = now + Duration::from_millis(40);
        seen.next.insert(store, next);
        let handle = host.store().upgrade()?;
        for view in handle.regions().into_iter().filter(|view| view.role == Role::Leader) {
            let region = &view.descriptor;
            seen.regions.insert(region.id);
            seen.configurations.insert(region.epoch.conf_ver);
            seen.written += 1;
            let mut key = region.range.start.to_vec();
            key.extend(format!("k{}", seen.written % 64).bytes());
            if !region.range.contains(&key) {
                continue;
            }
            let header = RequestHeader { region_id: region.id, epoch: region.epoch, ..RequestHeader::default() };
            let put = apply::build::put(ColumnFamily::Default, Bytes::from(key), Bytes::from_static(b"value"));
            handle.write(header, apply::build::batch(vec![put]), Responder::new(|_| {}));
        }
        Some(next)
    }
}

/// Regions and configurations that were seen in a few runs, all of which must pass.
fn seen(moves: bool) -> (usize, usize) {
    let mut most = (0, 0);
    for seed in 1..6 {
        let writers = Writers::default();
        let settings = Settings::new(seed, Profile::Calm);
        let played = scenario(&settings, vec![Bytes::from_static(b"m")], Box::new(writers.clone()), |cluster| {
            if moves {
                cluster.let_regions_move();
            }
            cluster.disturb(Profile::Network, 15_000)?;
            cluster.heal();
            cluster.serve()
        });
        if let Err(failure) = played {
            panic!("seed {seed}: {}\n{}", failure.what, failure.trace);
        }
        let seen = writers.0.borrow();
        most = (most.0.max(seen.regions.len()), most.1.max(seen.configurations.len()));
    }
    most
}

#[test]
fn regions_stay_as_they_are_unless_they_are_let_move() {
    assert_eq!(seen(false), (2, 1));
    let (regions, configurations) = seen(true);
    assert!(regions > 2 && configurations > 1, "{regions} regions, {configurations} configurations");
}
