//! Observations made by hand, on real engines in memory: three stores, two regions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::memory::{CrashPoint, MemDisk, MemLogEngine, MemStateEngine};
use engine::{
    ApplyState, Birth, Durability, Entry, EntryType, Family, HardState, IngestFile, Lifecycle, LogBatch, LogEngine,
    LogOp, StateBatch, StateEngine, StoreIdent, WriterId, meta,
};
use prost::Message as _;
use proto::log::{Admin, ChangeMembers, Command, CompactLog, EntryBatch, NewRegion, Split, admin};
use region::{MessageType, RegionMessage, Role};
use store::{RegionView, StoreConfig};
use types::{
    ClusterId, ColumnFamily, InstanceId, Instant, KeyRange, LogIndex, MemberChange, Peer, PeerId, RegionDescriptor,
    RegionEpoch, RegionId, Round, StoreId, Term,
};

use crate::check::{Checker, Config, Violation, Watch, all};
use crate::observation::{DiskContent, Event, Observation};

/// The regions: keys below `m`, and the others.
pub const LOW: RegionId = RegionId(100);
/// See [`LOW`].
pub const HIGH: RegionId = RegionId(200);

/// The keys of all users in these tests lie here.
pub const DATA: Family = Family::User(ColumnFamily::Default);

struct Engines {
    log: MemLogEngine,
    state: MemStateEngine,
}

/// Plays what stores do, and watches it.
pub struct Script {
    watch: Watch,
    now: Instant,
    disks: BTreeMap<u64, MemDisk>,
    open: BTreeMap<u64, Engines>,
    rounds: BTreeMap<u64, u64>,
    instances: u64,
}

/// What a step must have been: in order, or the violation that a checker named.
pub trait Verdict {
    /// It was in order.
    fn fine(self);
    /// It was not, and this checker says so in words that hold these.
    fn violates(self, checker: &str, words: &str);
}

impl Verdict for Result<(), Violation> {
    fn fine(self) {
        self.unwrap();
    }

    fn violates(self, checker: &str, words: &str) {
        let violation = self.expect_err("nothing was noticed");
        assert_eq!(violation.checker, checker, "{violation}");
        assert!(violation.what.contains(words), "{violation}");
    }
}

pub fn peer(region: RegionId, store: u64) -> Peer {
    Peer::voter(PeerId(region.0 + store), StoreId(store))
}

pub fn descriptor(region: RegionId) -> RegionDescriptor {
    let range = if region == LOW { KeyRange::new("", "m") } else { KeyRange::new("m", "") };
    RegionDescriptor {
        id: region,
        range,
        epoch: RegionEpoch::INITIAL,
        peers: (1..=3).map(|at| peer(region, at)).collect(),
    }
}

pub fn hard_state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term: Term(term), vote: PeerId(vote), commit: LogIndex(commit) }
}

pub fn apply_state(applied: u64, term: u64) -> ApplyState {
    ApplyState { applied: LogIndex(applied), applied_term: Term(term), truncated: LogIndex(5), truncated_term: Term(5) }
}

/// A new leader's entry.
pub fn empty(index: u64, term: u64) -> Entry {
    Entry { index, term, ..Entry::default() }
}

/// An entry with a command.
pub fn entry(index: u64, term: u64, command: Command) -> Entry {
    let batch = EntryBatch { version: 1, region_version: 1, commands: vec![command], admin: None };
    Entry { index, term, data: batch.encode_to_vec().into(), ..Entry::default() }
}

/// An entry that compacts the log.
pub fn compaction(index: u64, term: u64, to: u64) -> Entry {
    let kind = Some(admin::Kind::CompactLog(CompactLog { index: to, term }));
    let batch = EntryBatch {
        version: 1,
        region_version: 1,
        commands: Vec::new(),
        admin: Some(Admin { kind, ..Admin::default() }),
    };
    Entry { index, term, data: batch.encode_to_vec().into(), ..Entry::default() }
}

/// An entry that splits [`LOW`] at a key, the child being the part from there on.
pub fn split(index: u64, term: u64, key: &'static str, child: RegionId) -> Entry {
    let new = NewRegion { key: key.into(), region_id: child.0, peer_ids: (1..=3).map(|at| child.0 + at).collect() };
    let kind = Some(admin::Kind::Split(Split { regions: vec![new], right_derive: false }));
    let admin = Some(Admin { kind, conf_ver: 1 });
    let batch = EntryBatch { version: 2, region_version: 1, commands: Vec::new(), admin };
    let context = types::entry::BOUNDARY_CONTEXT.into();
    Entry { index, term, data: batch.encode_to_vec().into(), context, ..Entry::default() }
}

/// An entry that changes one member of [`LOW`].
pub fn members(index: u64, term: u64, conf_ver: u64, change: MemberChange) -> Entry {
    let context = ChangeMembers { version: 2, conf_ver, region_version: 1, changes: vec![change.into()] };
    let mut entry = Entry { index, term, context: context.encode_to_vec().into(), ..Entry::default() };
    entry.set_entry_type(EntryType::EntryConfChangeV2);
    entry
}

pub fn put(key: &'static str, value: &'static str) -> Command {
    apply::build::batch(vec![apply::build::put(ColumnFamily::Default, key, value)])
}

pub fn append(region: RegionId, store: u64, entries: Vec<Entry>, hard_state: HardState) -> LogOp {
    LogOp::Append { region, peer: peer(region, store).id, entries, hard_state }
}

pub fn delete_to(region: RegionId, store: u64, end: u64) -> LogOp {
    LogOp::DeleteTo { region, peer: peer(region, store).id, end: LogIndex(end) }
}

/// A message from one store's peer to another's.
pub fn message(kind: MessageType, from: u64, to: u64, term: u64) -> RegionMessage {
    let mut message = RegionMessage {
        region: LOW,
        from: peer(LOW, from),
        to: peer(LOW, to),
        epoch: RegionEpoch::INITIAL,
        raft: Default::default(),
        note: None,
        range: None,
    };
    message.raft.set_msg_type(kind);
    (message.raft.from, message.raft.to, message.raft.term) = (message.from.id.0, message.to.id.0, term);
    message
}

impl Script {
    /// Three bootstrapped and opened stores under all checkers.
    pub fn new() -> Self {
        Self::with(all(&Config { store: StoreConfig::default() }))
    }

    /// The same under these.
    pub fn with(checkers: Vec<Box<dyn Checker>>) -> Self {
        Self::of(3, checkers)
    }

    /// So many of the three stores, the others being still to come.
    pub fn of(stores: u64, checkers: Vec<Box<dyn Checker>>) -> Self {
        let watch = Watch::new(checkers);
        let mut script = Self {
            watch,
            now: Instant::ORIGIN,
            disks: BTreeMap::new(),
            open: BTreeMap::new(),
            rounds: BTreeMap::new(),
            instances: 0,
        };
        for store in 1..=stores {
            script.bootstrap(store);
        }
        script
    }

    pub fn watch(&mut self) -> &mut Watch {
        &mut self.watch
    }

    /// Time passes.
    pub fn pass(&mut self, by: Duration) {
        self.now = self.now + by;
    }

    /// The engines of a store are observed, whatever it does next.
    pub fn see(&mut self, store: u64, event: Event) -> Result<(), Violation> {
        self.watch.observe(&Observation { at: self.now, store: StoreId(store), event })
    }

    pub fn bootstrap(&mut self, store: u64) {
        self.disks.insert(store, MemDisk::default());
        self.open(store).fine();
        let mut batch = StateBatch::default();
        for region in [LOW, HIGH] {
            let state = meta::RegionState { descriptor: descriptor(region), apply_state: apply_state(5, 5) };
            meta::put_region(&mut batch, &state);
        }
        self.write_state(store, batch).fine();
        self.flush(store).fine();
        self.instances += 1;
        let instance = InstanceId(self.instances);
        let ident = StoreIdent { cluster: ClusterId(1), store: StoreId(store), instance };
        let mut ops = vec![LogOp::PutIdent(ident)];
        for region in [LOW, HIGH] {
            let peer = peer(region, store).id;
            let lifecycle = Lifecycle { peer: Some(peer), next_peer: PeerId(peer.0 + 1), birth: Birth::Bootstrap };
            ops.push(LogOp::PutLifecycle { region, lifecycle });
            ops.push(append(region, store, Vec::new(), hard_state(5, 0, 5)));
        }
        self.write_log(store, ops, Durability::Synced).fine();
        self.see(store, Event::Bootstrapped { ident }).fine();
    }

    /// Writes to a store's log.
    pub fn write_log(&mut self, store: u64, ops: Vec<LogOp>, durability: Durability) -> Result<(), Violation> {
        let batch = LogBatch { ops };
        self.open[&store].log.write(batch.clone(), durability).unwrap();
        self.see(store, Event::LogWritten { batch: Arc::new(batch), durability })
    }

    /// Writes entries and a hard state of [`LOW`] to a store's log, durably.
    pub fn append(&mut self, store: u64, entries: Vec<Entry>, state: HardState) -> Result<(), Violation> {
        self.write_log(store, vec![append(LOW, store, entries, state)], Durability::Synced)
    }

    /// Writes to a store's state engine.
    pub fn write_state(&mut self, store: u64, mut batch: StateBatch) -> Result<(), Violation> {
        let round = self.rounds.entry(store).or_default();
        *round += 1;
        batch.set_round(WriterId::Apply(0), Round(*round));
        self.open[&store].state.write(&batch).unwrap();
        self.see(store, Event::StateWritten { batch: Arc::new(batch) })
    }

    /// Applies entries of [`LOW`] up to an index, with what they put.
    pub fn apply(
        &mut self,
        store: u64,
        state: ApplyState,
        pairs: &[(&'static str, &'static str)],
    ) -> Result<(), Violation> {
        let mut batch = StateBatch::default();
        pairs.iter().for_each(|(key, value)| batch.put(DATA, *key, *value));
        batch.put(Family::Meta, meta::apply_state_key(LOW), state.encode());
        self.write_state(store, batch)
    }

    /// Applies an entry of [`LOW`] that changes its members, as the last of these changes.
    pub fn adopt(&mut self, store: u64, index: u64, changes: &[MemberChange]) -> Result<(), Violation> {
        let mut region = descriptor(LOW);
        for change in changes {
            region = region.change_members(&[*change]).unwrap();
        }
        let mut batch = StateBatch::default();
        let state = meta::RegionState { descriptor: region, apply_state: apply_state(index, 6) };
        meta::put_region(&mut batch, &state);
        self.write_state(store, batch)
    }

    /// Takes the records of [`LOW`] out of a store's state engine.
    pub fn forget(&mut self, store: u64) -> Result<(), Violation> {
        let mut batch = StateBatch::default();
        batch.delete(Family::Meta, meta::descriptor_key(LOW));
        batch.delete(Family::Meta, meta::apply_state_key(LOW));
        self.write_state(store, batch)
    }

    pub fn flush(&mut self, store: u64) -> Result<(), Violation> {
        self.open[&store].state.flush().unwrap();
        self.see(store, Event::StateFlushed)
    }

    /// Ingests a file into a store's state engine.
    pub fn ingest(&mut self, store: u64, pairs: &[(&'static str, &'static str)]) -> Result<(), Violation> {
        let (state, path) = (&self.open[&store].state, Path::new("file"));
        let mut writer = state.sst_writer(DATA, path).unwrap();
        pairs.iter().for_each(|(key, value)| writer.put(key.as_bytes(), value.as_bytes()).unwrap());
        writer.finish().unwrap();
        state.ingest(&[IngestFile { family: DATA, path: path.into() }]).unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (DATA, (*key).into(), (*value).into())).collect();
        self.see(store, Event::StateIngested { pairs: pairs.into() })
    }

    /// Deletes the files of a range of a store's state engine.
    pub fn delete_files(&mut self, store: u64, range: KeyRange) -> Result<(), Violation> {
        self.open[&store].state.delete_files_in_range(&range).unwrap();
        let left = self.disks[&store].peek_state().into_iter();
        let left: Vec<_> = left.filter(|(family, key, _)| *family != Family::Meta && range.contains(key)).collect();
        self.see(store, Event::FilesDeleted { range, left: left.into() })
    }

    pub fn crash(&mut self, store: u64, point: CrashPoint) {
        self.disks[&store].crash_at(point);
        self.open.remove(&store);
        self.see(store, Event::Crashed { disk: Some(point) }).fine();
    }

    pub fn open(&mut self, store: u64) -> Result<(), Violation> {
        let disk = &self.disks[&store];
        let engines = Engines { log: disk.open_log().unwrap(), state: disk.open_state().unwrap() };
        let content = Arc::new(DiskContent::of(disk));
        self.open.insert(store, engines);
        self.see(store, Event::Opened { content })
    }

    /// Opens a store on something else than its disk.
    pub fn open_on(&mut self, store: u64, change: impl FnOnce(&mut DiskContent)) -> Result<(), Violation> {
        let mut content = DiskContent::of(&self.disks[&store]);
        change(&mut content);
        self.see(store, Event::Opened { content: Arc::new(content) })
    }

    /// Empties a store's disk, and bootstraps it again as another life.
    pub fn wipe(&mut self, store: u64) {
        self.open.remove(&store);
        self.see(store, Event::Wiped).fine();
        self.bootstrap(store);
    }

    pub fn sent(&mut self, message: RegionMessage) -> Result<(), Violation> {
        self.see(message.from.store_id.0, Event::Sent { message: Arc::new(message) })
    }

    /// A store's peer of a region takes a role.
    pub fn role(&mut self, region: RegionId, store: u64, role: Role, term: u64) -> Result<(), Violation> {
        let (descriptor, peer) = (Arc::new(descriptor(region)), peer(region, store));
        self.see(
            store,
            Event::RegionChanged { view: RegionView { descriptor, peer, role, term: Term(term), leader: None } },
        )
    }

    /// Store 1 leads [`LOW`] in term 6, and entry 6 is on the disks of stores 1 and 2 and applied on store 1.
    pub fn led(mut self) -> Self {
        self.append(1, vec![], hard_state(6, 101, 5)).fine();
        self.append(2, vec![], hard_state(6, 101, 5)).fine();
        self.role(LOW, 1, Role::Leader, 6).fine();
        for store in [1, 2] {
            self.append(store, vec![empty(6, 6)], hard_state(6, 101, 5)).fine();
        }
        self.apply(1, apply_state(6, 6), &[]).fine();
        self
    }

    /// A command was asked of a store.
    pub fn asked(&mut self, store: u64, number: u64, command: Option<Command>) -> Result<(), Violation> {
        self.see(store, Event::Asked { number, region: LOW, command: command.map(Arc::new) })
    }

    pub fn answered(&mut self, store: u64, number: u64, applied: bool) -> Result<(), Violation> {
        self.see(store, Event::Answered { number, applied })
    }
}
