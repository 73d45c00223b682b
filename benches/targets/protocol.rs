//! R8: writes over the network protocol against etcd.
//!
//! Both sides are three server processes on this machine, started afresh for each turn on the same disk, and reached over
//! as many connections by as many clients on the same two threads; ours has its coordinator beside them. Values, keys and
//! what is promised are the same: a write is acknowledged when a majority has it on disk. Etcd's clients are spread over
//! all members, which its own documentation recommends for writes.

use super::turns::{directory, figures};
use crate::harness::clients;
use crate::harness::load::Load;
use crate::harness::options::Options;
use crate::harness::report::{Goal, Report};
use crate::harness::rounds::{Contender, Spread, take_turns};
use crate::harness::sample::Sample;
use crate::sides::etcd::{self, Etcd};
use crate::sides::service::Service;

const REGIONS: usize = 16;
const VALUE_BYTES: usize = 256;
/// Connections to each store or member.
const CONNECTIONS: usize = 4;
/// How many clients there are, and the least writes per second and the longest p99 in milliseconds that are asked for on a
/// quiet machine of four cores.
const LOADS: [(usize, f64, f64); 2] = [(64, 25_000.0, 7.0), (256, 50_000.0, 14.0)];

/// Measures our stores, and etcd where it is installed.
pub fn measure(options: &Options, report: &mut Report) -> Result<(), String> {
    let etcd = etcd::version();
    match &etcd {
        Some(version) => println!(" against {version}"),
        None => println!(" etcd is not installed (Debian's etcd-server): no comparison"),
    }
    let wanted = |clients: usize| options.wants_part(&format!("R8-{clients}"));
    for (clients, least, longest) in LOADS.into_iter().filter(|(clients, ..)| wanted(*clients)) {
        let load = Load { writers: clients, regions: REGIONS, value_bytes: VALUE_BYTES, rate: None };
        println!(" {clients} clients, {VALUE_BYTES} B values, {CONNECTIONS} connections to each store");
        let mut contenders = vec![Contender::new("raftyard", || service(load, options))];
        if etcd.is_some() {
            contenders.push(Contender::new("etcd", || members(load, options)));
        }
        let samples = take_turns(options, &mut contenders)?;
        let ours = &samples[0];
        match samples.get(1) {
            Some(theirs) => {
                let ratio = Spread::of_ratio(ours, theirs, Sample::rate);
                report.add("R8", format!("writes/s ÷ etcd, {clients} clients"), ratio, Goal::AtLeast(5.0));
                let rate = Spread::of(figures(theirs, Sample::rate));
                report.add("", format!("etcd's writes/s, {clients} clients"), rate, Goal::None);
            }
            None => report.skipped("R8", format!("writes/s ÷ etcd, {clients} clients"), "etcd is not installed"),
        }
        let rate = Spread::of(figures(ours, Sample::rate));
        report.add("", format!("our writes/s, {clients} clients"), rate, Goal::AtLeast(least));
        let tail = Spread::of(figures(ours, |sample| sample.latency_ms(99.0)));
        report.add("", format!("our p99 in ms, {clients} clients"), tail, Goal::AtMost(longest));
    }
    Ok(())
}

fn service(load: Load, options: &Options) -> Result<Sample, String> {
    let (directory, runtime) = (directory(options)?, clients::runtime()?);
    let service = Service::start(directory.path(), load.regions, &runtime)?;
    let client = service.connect(CONNECTIONS, &runtime)?;
    clients::run(&runtime, &[client], service.processes(), load, options)
}

fn members(load: Load, options: &Options) -> Result<Sample, String> {
    let (directory, runtime) = (directory(options)?, clients::runtime()?);
    let etcd = Etcd::start(directory.path(), &runtime)?;
    let clients = etcd.connect(CONNECTIONS, &runtime)?;
    clients::run(&runtime, &clients, etcd.processes(), load, options)
}
