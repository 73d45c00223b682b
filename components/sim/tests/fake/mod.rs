//! A cluster that is only pretended: one copy of the data behind a network that delays, loses and refuses, and mistakes
//! that it can be told to make.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use coordinator::Timestamp;
use proto::log::{Command, command, operation};
use sim::call::{Call, CallId, ClientId, Pair, RegionCall, RegionReply, Reply, Route, Wires};
use sim::check::Violation;
use sim::workload::{Report, Workload};
use types::seed::Rng;
use types::{
    ColumnFamily, CommandOutput, Instant, KeyRange, Peer, PeerId, RegionDescriptor, RegionEpoch, RegionId,
    RequestError, RequestHeader, StoreId,
};

/// A mistake that a store could make. Each is made now and then, not always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A put is acknowledged and forgotten.
    LostWrite,
    /// A delete is acknowledged and forgotten.
    LostDelete,
    /// A read shows the data of some time ago.
    StaleRead,
    /// A put takes effect once more, later.
    DoubleApply,
    /// A batch is cut in two, and its second half is forgotten.
    TornBatch,
    /// A delete-range ends one key early.
    ShortDeleteRange,
    /// A swap is compared with the data of some time ago.
    ReorderedSwap,
    /// A swap takes effect, and its client is told that it did not.
    DeniedSwap,
    /// A put takes effect, and its client is told that it never will.
    AppliedThoughRefused,
    /// A scan reads its first half early and its second half late.
    TornScan,
    /// A scan leaves out a key.
    ShortScan,
    /// A value comes back with a byte changed.
    DamagedValue,
    /// A value comes back that was put to another key.
    ForeignValue,
    /// Keys come back that were never written.
    PhantomKey,
    /// A call is answered twice.
    SecondAnswer,
    /// Timestamps go back.
    OlderTimestamps,
    /// Two who ask at the same time get the same timestamps.
    SharedTimestamps,
    /// Ids are handed out again.
    RepeatedIds,
}

impl Bug {
    /// All of them, each with the checks of which one finds it.
    pub const ALL: [(Self, &[&str]); 18] = [
        (Self::LostWrite, &["linearizability"]),
        (Self::LostDelete, &["linearizability"]),
        (Self::StaleRead, &["linearizability", "counters"]),
        (Self::DoubleApply, &["linearizability"]),
        (Self::TornBatch, &["scans", "linearizability"]),
        (Self::ShortDeleteRange, &["scans", "linearizability"]),
        (Self::ReorderedSwap, &["counters", "linearizability"]),
        (Self::DeniedSwap, &["counters", "linearizability"]),
        (Self::AppliedThoughRefused, &["linearizability"]),
        (Self::TornScan, &["scans"]),
        (Self::ShortScan, &["scans", "linearizability", "counters"]),
        (Self::DamagedValue, &["values"]),
        (Self::ForeignValue, &["values", "linearizability"]),
        (Self::PhantomKey, &["scans"]),
        (Self::SecondAnswer, &["answers"]),
        (Self::OlderTimestamps, &["timestamps"]),
        (Self::SharedTimestamps, &["timestamps"]),
        (Self::RepeatedIds, &["timestamps"]),
    ];
}

/// How often a bug shows, where it can.
const BUG_ONE_IN: u64 = 40;

/// How far back "some time ago" is.
const SOME_TIME: Duration = Duration::from_millis(400);

/// How long the clients work.
pub const WORK: Duration = Duration::from_secs(20);

type Data = BTreeMap<(ColumnFamily, Bytes), Bytes>;

enum Event {
    Arrive(CallId, Call),
    Reply(CallId, Reply),
    Wake(ClientId),
    /// Puts these once more.
    Again(Command),
    /// Copies the data, for those who look back.
    Remember,
    /// Reads the second half of a scan, of which the first is there.
    SecondHalf(CallId, ColumnFamily, KeyRange, Vec<Pair>),
}

/// The pretended cluster, its network, and its clock.
pub struct Fake {
    pub now: Instant,
    /// Stores that answer nothing.
    pub silent: Vec<RegionId>,
    /// A hash of all calls, in order.
    pub trace: u64,
    rng: Rng,
    bug: Option<Bug>,
    /// Whether the network and the stores disturb.
    disturbed: bool,
    events: BTreeMap<(Instant, u64), Event>,
    scheduled: u64,
    data: Data,
    /// The data of some time ago.
    past: Data,
    regions: Vec<(RegionDescriptor, usize)>,
    timestamp: u64,
    ids: u64,
}

impl Fake {
    pub fn new(split_keys: &[Bytes], bug: Option<Bug>, seed: u64) -> Self {
        let starts = std::iter::once(Bytes::new()).chain(split_keys.iter().cloned());
        let ends = split_keys.iter().cloned().chain([Bytes::new()]);
        let region = |(number, (start, end)): (usize, (Bytes, Bytes))| {
            let id = number as u64 + 1;
            let peers = (1..=3).map(|store| Peer::voter(PeerId(10 * id + store), StoreId(store))).collect();
            let range = KeyRange { start, end };
            (RegionDescriptor { id: RegionId(id), range, epoch: RegionEpoch::INITIAL, peers }, number % 3)
        };
        let mut fake = Self {
            now: Instant::ORIGIN,
            silent: Vec::new(),
            trace: 0,
            rng: Rng::new(seed),
            bug,
            disturbed: true,
            events: BTreeMap::new(),
            scheduled: 0,
            data: Data::new(),
            past: Data::new(),
            regions: starts.zip(ends).enumerate().map(region).collect(),
            timestamp: 1 << 30,
            ids: 0,
        };
        fake.schedule(SOME_TIME, Event::Remember);
        fake
    }

    /// A whole run: work, end, probe, read everything back, judge.
    pub fn run(&mut self, workload: &mut Workload) -> Result<Report, Violation> {
        workload.start(self.now, self);
        self.pass(WORK, workload);
        workload.stop();
        self.disturbed = false;
        self.until_idle(workload);
        let regions: Vec<_> = self.regions.iter().map(|(region, _)| region.range.clone()).collect();
        workload.probe(self.now, &regions, self);
        self.until_idle(workload);
        let report = workload.probe_report();
        assert!(report.silent.is_empty() && report.served == regions, "{report:?}");
        workload.read_back(self.now, self);
        self.until_idle(workload);
        workload.check()
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration, workload: &mut Workload) {
        let end = self.now + time;
        while self.step(end, workload) {}
        self.now = end;
    }

    pub fn until_idle(&mut self, workload: &mut Workload) {
        let end = self.now + Duration::from_secs(3600);
        while !workload.is_idle() {
            assert!(self.step(end, workload), "the clients are not done after an hour");
        }
    }

    pub fn heal(&mut self) {
        self.disturbed = false;
    }

    /// The next event before a moment.
    fn step(&mut self, end: Instant, workload: &mut Workload) -> bool {
        let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 < end) else { return false };
        let ((at, _), event) = entry.remove_entry();
        self.now = at;
        match event {
            Event::Wake(client) => workload.on_wake(at, client, self),
            Event::Reply(id, reply) => workload.on_reply(at, id, reply, self),
            Event::Arrive(id, call) => self.arrive(id, call),
            Event::Again(command) => _ = self.apply(&command),
            Event::Remember => {
                self.past = self.data.clone();
                self.schedule(SOME_TIME, Event::Remember);
            }
            Event::SecondHalf(id, family, range, mut pairs) => {
                let region = self.find(&range.start).0.range.clone();
                let middle = pairs[pairs.len() / 2].0.clone();
                pairs.retain(|(key, _)| *key < middle);
                pairs.extend(pairs_of(&self.data, family, &KeyRange { start: middle, ..range.intersect(&region) }));
                self.reply(id, Reply::Region(Ok(RegionReply::Pairs(pairs, region))));
            }
        }
        true
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now + after, self.scheduled), event);
    }

    fn delay(&mut self) -> Duration {
        let slow = if self.disturbed && self.rng.one_in(60) { 4000 } else { 4 };
        Duration::from_micros(100 + self.rng.below(slow * 1000))
    }

    /// Whether a disturbance happens that comes once in so many times.
    fn happens(&mut self, one_in: u64) -> bool {
        self.disturbed && self.rng.one_in(one_in)
    }

    /// Whether the bug is this one and shows now. It does when nothing else disturbs, too.
    fn errs(&mut self, bug: Bug) -> bool {
        self.bug == Some(bug) && self.rng.one_in(BUG_ONE_IN)
    }

    fn reply(&mut self, id: CallId, reply: Reply) {
        if self.happens(100) {
            return;
        }
        let delay = self.delay();
        if self.errs(Bug::SecondAnswer) {
            self.schedule(delay, Event::Reply(id, reply.clone()));
        }
        self.schedule(delay, Event::Reply(id, reply));
    }

    fn arrive(&mut self, id: CallId, call: Call) {
        let reply = match call {
            Call::Route { key } => self.route(&key),
            Call::Timestamps { count } => {
                self.timestamp += u64::from(count) + self.rng.below(3);
                let mut largest = self.timestamp;
                if self.errs(Bug::OlderTimestamps) {
                    largest -= 1000;
                } else if self.errs(Bug::SharedTimestamps) {
                    self.timestamp -= 1;
                }
                largest = largest.max(1);
                Reply::Timestamps(Timestamp { physical_ms: largest >> 18, logical: (largest & ((1 << 18) - 1)) as u32 })
            }
            Call::Ids { count } => {
                self.ids += u64::from(count);
                let largest = self.ids;
                if self.errs(Bug::RepeatedIds) {
                    self.ids -= 1;
                }
                Reply::Ids(largest)
            }
            Call::Region { to, header, call } => {
                if self.silent.contains(&header.region_id) {
                    return;
                }
                let reply = self.region(to, header, &call);
                if let (RegionCall::Scan { family, range, limit }, Ok(RegionReply::Pairs(pairs, _))) = (call, &reply)
                    && (2..limit).contains(&pairs.len())
                    && self.errs(Bug::TornScan)
                {
                    let late = Duration::from_millis(self.rng.below(500));
                    return self.schedule(late, Event::SecondHalf(id, family, range, pairs.clone()));
                }
                Reply::Region(reply)
            }
        };
        self.reply(id, reply);
    }

    fn route(&mut self, key: &[u8]) -> Reply {
        if self.happens(20) {
            return if self.rng.one_in(2) { Reply::Route(None) } else { Reply::Refused("not the leader".to_owned()) };
        }
        let (region, leader) = self.find(key);
        let leader = region.peers[*leader];
        let region = region.clone();
        Reply::Route(Some(Route { region, leader: (!self.happens(10)).then_some(leader) }))
    }

    fn find(&self, key: &[u8]) -> &(RegionDescriptor, usize) {
        self.regions.iter().find(|(region, _)| region.range.contains(key)).expect("regions cover all keys")
    }

    fn region(&mut self, to: StoreId, header: RequestHeader, call: &RegionCall) -> Result<RegionReply, RequestError> {
        let place = self.regions.iter().position(|(region, _)| region.id == header.region_id);
        let place = place.expect("regions stay");
        if self.happens(300) {
            self.regions[place].1 = self.rng.below(3) as usize;
        }
        if self.happens(400) {
            // As after a change that moved nothing that matters here.
            self.regions[place].0.epoch.version += 1;
        }
        let (region, leader) = self.regions[place].clone();
        let leader = region.peers[leader];
        if leader.store_id != to {
            let leader = (!self.happens(2)).then_some(leader);
            return Err(RequestError::NotLeader { region: region.id, leader });
        }
        if header.epoch != region.epoch {
            return Err(RequestError::EpochNotMatch { region: region.id, current: vec![region] });
        }
        if self.happens(100) {
            return Err(RequestError::ServerIsBusy { reason: "pretended" });
        }
        let reply = match call {
            RegionCall::Write(command) => self.write(command)?,
            RegionCall::Get { family, key } => self.get(*family, key),
            RegionCall::Scan { family, range, limit } => self.scan(*family, range, &region.range, *limit),
        };
        if self.happens(80) {
            return Err(RequestError::Undetermined { reason: "pretended" });
        }
        Ok(reply)
    }

    fn write(&mut self, command: &Command) -> Result<RegionReply, RequestError> {
        let put = matches!(&command.kind, Some(command::Kind::Write(write))
            if matches!(write.operations[0].kind, Some(operation::Kind::Put(_))));
        let batch = matches!(&command.kind, Some(command::Kind::Write(write)) if write.operations.len() > 1);
        let swap = matches!(&command.kind, Some(command::Kind::CompareAndSwap(_)));
        let written = RegionReply::Written(CommandOutput::Written);
        if (put && self.errs(Bug::LostWrite)) || (!put && !swap && self.errs(Bug::LostDelete)) {
            return Ok(written);
        }
        if put && self.errs(Bug::DoubleApply) {
            let later = Duration::from_millis(self.rng.below(300));
            self.schedule(later, Event::Again(command.clone()));
        }
        if batch && self.errs(Bug::TornBatch) {
            let mut half = command.clone();
            let Some(command::Kind::Write(write)) = &mut half.kind else { unreachable!("it is a batch") };
            write.operations.truncate(2);
            self.apply(&half);
            return Ok(written);
        }
        let output = self.apply(command);
        if put && self.errs(Bug::AppliedThoughRefused) {
            return Err(RequestError::ServerIsBusy { reason: "pretended" });
        }
        Ok(RegionReply::Written(output))
    }

    fn apply(&mut self, command: &Command) -> CommandOutput {
        let family = |number: u32| ColumnFamily::from_number(number).expect("families exist");
        match command.kind.as_ref().expect("a command has a kind") {
            command::Kind::Write(write) => {
                for operation in &write.operations {
                    match operation.kind.as_ref().expect("an operation has a kind") {
                        operation::Kind::Put(put) => {
                            self.data.insert((family(put.column_family), put.key.clone()), put.value.clone());
                        }
                        operation::Kind::Delete(delete) => {
                            self.data.remove(&(family(delete.column_family), delete.key.clone()));
                        }
                        operation::Kind::DeleteRange(range) => {
                            let family = family(range.column_family);
                            let is_short = self.errs(Bug::ShortDeleteRange);
                            let keys = self.data.range((family, range.start.clone())..(family, range.end.clone()));
                            let keys: Vec<_> = keys.map(|(key, _)| key.clone()).collect();
                            keys.iter().skip(usize::from(is_short)).for_each(|key| _ = self.data.remove(key));
                        }
                    }
                }
                CommandOutput::Written
            }
            command::Kind::CompareAndSwap(swap) => {
                let key = (family(swap.column_family), swap.key.clone());
                let is_old = self.errs(Bug::ReorderedSwap);
                let previous = if is_old { self.past.get(&key) } else { self.data.get(&key) }.cloned();
                let swapped = previous == swap.expected;
                if swapped {
                    match &swap.value {
                        Some(value) => _ = self.data.insert(key, value.clone()),
                        None => _ = self.data.remove(&key),
                    }
                }
                if swapped && self.errs(Bug::DeniedSwap) {
                    let previous = Some(swap.value.clone()).flatten();
                    return CommandOutput::Compared { swapped: previous == swap.expected, previous };
                }
                CommandOutput::Compared { swapped, previous }
            }
        }
    }

    fn get(&mut self, family: ColumnFamily, key: &Bytes) -> RegionReply {
        let is_stale = self.errs(Bug::StaleRead);
        let data = if is_stale { &self.past } else { &self.data };
        let mut value = data.get(&(family, key.clone())).cloned();
        if self.errs(Bug::DamagedValue) {
            value = value.map(|value| value.iter().rev().copied().collect());
        }
        if self.errs(Bug::ForeignValue) {
            value = self.data.range((family, key.clone())..).nth(1).map(|(_, value)| value.clone());
        }
        RegionReply::Value(value)
    }

    fn scan(&mut self, family: ColumnFamily, range: &KeyRange, region: &KeyRange, limit: usize) -> RegionReply {
        let cut = range.intersect(region);
        let mut pairs = pairs_of(&self.data, family, &cut);
        pairs.truncate(limit);
        if !pairs.is_empty() && self.errs(Bug::ShortScan) {
            let missing = self.rng.below(pairs.len() as u64) as usize;
            pairs.remove(missing);
        }
        if self.errs(Bug::PhantomKey) && pairs.len() < limit {
            pairs.insert(0, (cut.start.clone(), Bytes::from_static(b"boo")));
        }
        RegionReply::Pairs(pairs, region.clone())
    }
}

fn pairs_of(data: &Data, family: ColumnFamily, range: &KeyRange) -> Vec<Pair> {
    let from = data.range((family, range.start.clone())..);
    let inside = from.take_while(|((other, key), _)| *other == family && range.is_below_end(key));
    inside.map(|((_, key), value)| (key.clone(), value.clone())).collect()
}

impl Wires for Fake {
    fn call(&mut self, id: CallId, call: Call) {
        self.trace = types::seed::Seed(self.trace).hash(&[self.now.0, id.0, format!("{call:?}").len() as u64]);
        if self.happens(150) {
            return;
        }
        let delay = self.delay();
        self.schedule(delay, Event::Arrive(id, call));
    }

    fn wake_at(&mut self, client: ClientId, at: Instant) {
        self.schedule(at.since(self.now), Event::Wake(client));
    }
}
