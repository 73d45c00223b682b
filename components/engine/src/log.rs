//! The log engine: raft entries, hard states and lifecycle records of all regions, one fsynced batch per round.

use raft_proto::eraftpb::Entry;
use types::codec::{DecodeError, Reader, Writer};
use types::limits::{INITIAL_LOG_INDEX, INITIAL_LOG_TERM};
use types::{ClusterId, InstanceId, LogIndex, PeerId, RegionId, StoreId, Term};

use crate::error::Result;
use crate::marker::SnapshotMarker;

/// The version of the records in this module.
pub const LOG_FORMAT_VERSION: u8 = 1;

/// The newest version of the lifecycle record.
pub const LIFECYCLE_VERSION: u8 = 2;

/// Raft's hard state: what a peer must never forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The newest term that the peer has seen.
    pub term: Term,
    /// Whom it voted for in that term; zero for nobody.
    pub vote: PeerId,
    /// The newest index that it knew to be committed when this was written; a lower bound.
    pub commit: LogIndex,
}

impl HardState {
    /// That of a peer that was born with its region, by bootstrap or by a split.
    pub const BORN: Self = Self { term: Term(INITIAL_LOG_TERM), vote: PeerId(0), commit: LogIndex(INITIAL_LOG_INDEX) };
}

/// A region's hard state and whose it is (D7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionLogState {
    /// The peer that the log belongs to.
    pub peer: PeerId,
    /// Its hard state.
    pub hard_state: HardState,
}

impl RegionLogState {
    /// The record's bytes: version, peer, term, vote, commit, checksum.
    pub fn encode(&self) -> Vec<u8> {
        let hard_state = &self.hard_state;
        Writer::record(LOG_FORMAT_VERSION)
            .u64(self.peer.0)
            .u64(hard_state.term.0)
            .u64(hard_state.vote.0)
            .u64(hard_state.commit.0)
            .seal(crc32fast::hash)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let (_, mut reader) = Reader::open("region log state", LOG_FORMAT_VERSION, bytes, crc32fast::hash)?;
        let peer = reader.u64()?.into();
        let hard_state =
            HardState { term: reader.u64()?.into(), vote: reader.u64()?.into(), commit: reader.u64()?.into() };
        reader.finish()?;
        Ok(Self { peer, hard_state })
    }
}

/// How a peer came to be (D7); decides what a restart may conclude from its absence in S (D8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// With the store's first start, or by a split that was durable in S before L heard of it: in either case S never forgets
    /// it.
    Bootstrap,
    /// By a raft message from another member, of which nothing was noted.
    Message,
    /// By a raft message from another member. Until a snapshot initialises the peer, this is all that it knows of its
    /// region, and whom it can ask whether it still is a member.
    Invited(Invitation),
    /// By applying its parent's split.
    Split {
        /// The region that was split.
        parent: RegionId,
        /// The parent's peer on this store.
        parent_peer: PeerId,
        /// The index of the split in the parent's log.
        index: LogIndex,
    },
}

/// Which message made a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Who sent it.
    pub by: PeerId,
    /// Where that peer lives.
    pub store: StoreId,
    /// The sender's conf_ver: the peer was a member then.
    pub conf_ver: u64,
}

/// What L remembers of a region's peers on this store, for as long as the store lives (D7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// The peer that lives here; `None` once it is destroyed.
    pub peer: Option<PeerId>,
    /// No peer with a smaller id may ever be created here again.
    pub next_peer: PeerId,
    /// How the peer came to be.
    pub birth: Birth,
}

impl Lifecycle {
    /// The record's bytes: version, peer (0 for none), next peer, birth (1 Bootstrap, 2 Message, 3 Split with parent,
    /// parent's peer and index; since version 2 also 4 Invited with the sender, its store and conf_ver), checksum. A birth
    /// that version 1 knows is written as version 1.
    pub fn encode(&self) -> Vec<u8> {
        let version = if matches!(self.birth, Birth::Invited(_)) { LIFECYCLE_VERSION } else { LOG_FORMAT_VERSION };
        let record = Writer::record(version).u64(self.peer.map_or(0, PeerId::get)).u64(self.next_peer.0);
        match self.birth {
            Birth::Bootstrap => record.u8(1),
            Birth::Message => record.u8(2),
            Birth::Split { parent, parent_peer, index } => record.u8(3).u64(parent.0).u64(parent_peer.0).u64(index.0),
            Birth::Invited(Invitation { by, store, conf_ver }) => record.u8(4).u64(by.0).u64(store.0).u64(conf_ver),
        }
        .seal(crc32fast::hash)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let (version, mut reader) = Reader::open("lifecycle", LIFECYCLE_VERSION, bytes, crc32fast::hash)?;
        let peer = reader.u64()?;
        let peer = (peer != 0).then_some(PeerId(peer));
        let next_peer = reader.u64()?.into();
        let birth = match reader.u8()? {
            1 => Birth::Bootstrap,
            2 => Birth::Message,
            3 => Birth::Split {
                parent: reader.u64()?.into(),
                parent_peer: reader.u64()?.into(),
                index: reader.u64()?.into(),
            },
            4 if version >= 2 => Birth::Invited(Invitation {
                by: reader.u64()?.into(),
                store: reader.u64()?.into(),
                conf_ver: reader.u64()?,
            }),
            other => return Err(reader.impossible("birth", other.into())),
        };
        reader.finish()?;
        Ok(Self { peer, next_peer, birth })
    }
}

/// Who a store is; written once, at the end of its bootstrap (D14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreIdent {
    /// The cluster that the store belongs to.
    pub cluster: ClusterId,
    /// The store.
    pub store: StoreId,
    /// This life of its disk.
    pub instance: InstanceId,
}

impl StoreIdent {
    /// The record's bytes: version, cluster, store, instance, checksum.
    pub fn encode(&self) -> Vec<u8> {
        Writer::record(LOG_FORMAT_VERSION)
            .u64(self.cluster.0)
            .u64(self.store.0)
            .u64(self.instance.0)
            .seal(crc32fast::hash)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, DecodeError> {
        let (_, mut reader) = Reader::open("store ident", LOG_FORMAT_VERSION, bytes, crc32fast::hash)?;
        let ident = Self { cluster: reader.u64()?.into(), store: reader.u64()?.into(), instance: reader.u64()?.into() };
        reader.finish()?;
        Ok(ident)
    }
}

/// One change of the log engine.
#[derive(Clone, Debug, PartialEq)]
pub enum LogOp {
    /// Replaces the log from the first entry's index on by the entries, and the hard state with them. A region's
    /// records are in ready order, its entries without a gap (D1).
    Append {
        /// The region.
        region: RegionId,
        /// The peer that the log belongs to.
        peer: PeerId,
        /// The entries; may be empty, then only the hard state is written.
        entries: Vec<Entry>,
        /// The newest hard state, not that of some ready (D1).
        hard_state: HardState,
    },
    /// Deletes the entries below an index (D5). No change when the log is another peer's by now: clean-up comes late.
    DeleteTo {
        /// The region.
        region: RegionId,
        /// The peer that the log belongs to.
        peer: PeerId,
        /// The first index that stays.
        end: LogIndex,
    },
    /// Writes the lifecycle record.
    PutLifecycle {
        /// The region.
        region: RegionId,
        /// The record.
        lifecycle: Lifecycle,
    },
    /// Raises the commit floor: a lower bound of the commit index that is kept apart from the hard state, so that
    /// raising it cannot undo a newer vote (D7). Never lowers it.
    RaiseCommitFloor {
        /// The region.
        region: RegionId,
        /// The new floor.
        floor: LogIndex,
    },
    /// Deletes hard state, commit floor and all entries; the lifecycle record stays, with no peer and this next peer
    /// id (D9).
    Remove {
        /// The region.
        region: RegionId,
        /// No peer with a smaller id may be created again.
        next_peer: PeerId,
    },
    /// Notes that a snapshot is being applied to a region, in place of an older note of that region (D10). The log is reset
    /// beside it by `Remove`, `PutLifecycle` and an `Append` of no entries.
    PutMarker(Box<SnapshotMarker>),
    /// Forgets the note: all that the snapshot brought is durable (D10).
    DropMarker {
        /// The region.
        region: RegionId,
    },
    /// Writes who this store is (D14).
    PutIdent(StoreIdent),
    /// Remembers another store's instance id (D14).
    PutInstance {
        /// The other store.
        store: StoreId,
        /// Its instance at first contact.
        instance: InstanceId,
    },
}

/// Changes of many regions that become visible and durable together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogBatch {
    /// The changes, in order.
    pub ops: Vec<LogOp>,
}

impl LogBatch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// Whether a write waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Durable when the call returns.
    Synced,
    /// Ordered behind earlier writes, durable with the next synced write. For clean-up only.
    Buffered,
}

/// What L holds of one region; read at recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionLog {
    /// The region.
    pub region: RegionId,
    /// Its lifecycle record.
    pub lifecycle: Option<Lifecycle>,
    /// Its hard state and whose it is.
    pub state: Option<RegionLogState>,
    /// The commit floor; zero when none was raised.
    pub commit_floor: LogIndex,
    /// First and last index of its entries; `None` when it has no entry.
    pub bounds: Option<(LogIndex, LogIndex)>,
}

/// Counts since the engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStatistics {
    /// Bytes appended to the write-ahead log, before compaction.
    pub bytes_written: u64,
    /// Calls that waited for the disk.
    pub syncs: u64,
    /// How long they waited, in microseconds, all together.
    pub sync_micros: u64,
    /// Bytes that the engine holds on disk, about.
    pub disk_bytes: u64,
}

/// Raft logs of all regions of a store.
///
/// One writer at a time for each region, clean-up apart: a batch of [`LogOp::DeleteTo`] alone may be written while
/// another thread appends to the same regions. Writers of different regions and all readers may run beside each other.
///
/// Whatever an engine holds when it is opened is durable, also what no sync covered before: a restarted store promises
/// by what it finds, and another crash must not take that away (D1).
pub trait LogEngine: Send + Sync + 'static {
    /// Writes a batch, whole or not at all.
    ///
    /// # Errors
    /// After a failed sync the engine is poisoned: this and every later write fails (D15). `PeerMismatch` when an
    /// `Append` names another peer than the region's state does; nothing is written then.
    fn write(&self, batch: LogBatch, durability: Durability) -> Result<()>;

    /// Who this store is; `None` before its bootstrap was complete.
    fn ident(&self) -> Result<Option<StoreIdent>>;

    /// Every other store's instance that was remembered.
    fn instances(&self) -> Result<Vec<(StoreId, InstanceId)>>;

    /// The snapshots that were being applied, ordered by region (D8, D10).
    fn markers(&self) -> Result<Vec<SnapshotMarker>>;

    /// What L holds of every region that it has a record of, ordered by region.
    fn regions(&self) -> Result<Vec<RegionLog>>;

    /// What L holds of one region; `None` when it has no record of it.
    fn region(&self, region: RegionId) -> Result<Option<RegionLog>>;

    /// The entries from `low` (included) to `high` (excluded), without a gap, cut off behind the first entry with
    /// which their data reaches `max_bytes` (one entry comes at least). Shorter when the log is.
    fn entries(
        &self,
        region: RegionId,
        peer: PeerId,
        low: LogIndex,
        high: LogIndex,
        max_bytes: u64,
    ) -> Result<Vec<Entry>>;

    /// The term of the entry at an index; `None` when it is not there.
    fn term(&self, region: RegionId, peer: PeerId, index: LogIndex) -> Result<Option<Term>>;

    /// About how many bytes the entries from `low` to `high` (excluded) take.
    fn approximate_bytes(&self, region: RegionId, low: LogIndex, high: LogIndex) -> Result<u64>;

    /// Counts for metrics and benchmarks.
    fn statistics(&self) -> LogStatistics;
}
