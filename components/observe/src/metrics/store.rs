//! The metrics of a store.

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};
use types::StoreId;

use super::{Refusal, SystemMetrics};
use crate::label::{ByLabel, labels};
use crate::metrics::SnapshotMetrics;
use crate::registry::Registry;

labels! {
    /// What is asked of a region.
    ProposalKind: "type" {
        /// A command is to be replicated.
        Write = "write",
        /// A linearizable snapshot is to be given.
        Read = "read",
        /// Another member is to lead.
        TransferLeader = "transfer_leader",
        /// A region is to be cut into several.
        Split = "split",
        /// A region's members are to change.
        ChangeMembers = "change_members",
    }
}

labels! {
    /// What a message between stores says.
    MessageType: "type" {
        /// Entries for a follower.
        Append = "append",
        /// A follower's answer to entries.
        AppendResponse = "append_response",
        /// A leader's sign of life.
        Heartbeat = "heartbeat",
        /// A follower's answer to it.
        HeartbeatResponse = "heartbeat_response",
        /// A candidate asks for a vote.
        Vote = "vote",
        /// The answer to that.
        VoteResponse = "vote_response",
        /// A peer asks whether it could win.
        PreVote = "prevote",
        /// The answer to that.
        PreVoteResponse = "prevote_response",
        /// A snapshot for a follower.
        Snapshot = "snapshot",
        /// A leader tells its successor to campaign.
        TimeoutNow = "timeout_now",
        /// A follower asks for a read index, or is answered.
        ReadIndex = "read_index",
        /// A follower asks for a leader transfer.
        TransferLeader = "transfer_leader",
        /// A removed peer is told to destroy itself.
        Gc = "gc",
        /// Anything else, as what members ask and tell each other beside raft.
        Other = "other",
    }
}

labels! {
    /// What a region asked of its driver.
    ReadyKind: "type" {
        /// To write entries or a hard state to the log.
        Persist = "persist",
        /// To send a message.
        Message = "message",
        /// To apply committed entries.
        Apply = "apply",
        /// To serve a confirmed read.
        Read = "read",
        /// To tell of a new role, leader or term.
        RoleChange = "role_change",
    }
}

labels! {
    /// How an election of a peer of this store went on.
    ElectionOutcome: "outcome" {
        /// The peer began to campaign.
        Started = "started",
        /// It leads now.
        Won = "won",
        /// Another peer leads now, or nobody.
        Lost = "lost",
    }
}

labels! {
    /// A bounded queue in the store.
    Queue: "queue" {
        /// What waits for regions.
        RaftMailbox = "raft_mailbox",
        /// Committed entries that wait to be applied.
        ApplyMailbox = "apply_mailbox",
        /// Write batches that wait for the log writer.
        LogWriter = "log_writer",
        /// Log clean-ups that wait for the flush watermark (D5).
        CleanUp = "clean_up",
        /// Tasks of peers that come, go and begin anew.
        Lifecycle = "lifecycle",
        /// Reads that wait for their confirmation.
        Read = "read",
    }
}

labels! {
    /// What the store is doing.
    StoreStateLabel: "state" {
        /// It replays what it had committed before it stopped.
        Starting = "starting",
        /// It serves.
        Serving = "serving",
        /// It hands its leaders over.
        Stopping = "stopping",
        /// It met a fatal error.
        Failed = "failed",
        /// It is stopped.
        Stopped = "stopped",
    }
}

labels! {
    /// Why a store splits a region by itself.
    SplitCause: "cause" {
        /// It is too large, or has too many keys.
        Size = "size",
        /// It is asked for too much.
        Load = "load",
    }
}

labels! {
    /// A part of the store's disk.
    StoreSize: "type" {
        /// What the file system can hold.
        Capacity = "capacity",
        /// What is left of it.
        Available = "available",
        /// What the store uses.
        Used = "used",
    }
}

/// The metrics of a store; each carries the label `store`.
///
/// Histograms of durations take seconds, as the caller's clock measured them.
#[derive(Clone)]
pub struct StoreMetrics {
    /// Requests that regions took up.
    pub proposals: ByLabel<ProposalKind, IntCounter>,
    /// Requests that were refused, by whom soever in the store.
    pub refusals: ByLabel<Refusal, IntCounter>,
    /// From a request's arrival to its answer.
    pub request_duration: ByLabel<ProposalKind, Histogram>,

    /// Messages handed to the transport.
    pub messages_sent: ByLabel<MessageType, IntCounter>,
    /// Messages that came from other stores.
    pub messages_received: ByLabel<MessageType, IntCounter>,
    /// Messages that were dropped on their way out or in.
    pub messages_dropped: ByLabel<MessageType, IntCounter>,

    /// Effects of regions.
    pub ready: ByLabel<ReadyKind, IntCounter>,
    /// The raft pollers: regions per round, and those that wait for one.
    pub raft_system: SystemMetrics,
    /// The apply pollers, likewise.
    pub apply_system: SystemMetrics,
    /// A raft poller's round, from its first region to its end.
    pub raft_round_duration: Histogram,
    /// Regions whose entries share one write batch of the log engine.
    pub log_write_regions: Histogram,
    /// A round's write to the log engine, its fsync included.
    pub log_write_duration: Histogram,
    /// Bytes of entries written to the log engine.
    pub log_write_bytes: IntCounter,

    /// From commit to the begin of execution.
    pub apply_wait_duration: Histogram,
    /// An apply poller's round: execution and write.
    pub apply_duration: Histogram,
    /// Commands executed.
    pub apply_commands: IntCounter,

    /// How much waits in a queue.
    pub queue_length: ByLabel<Queue, IntGauge>,
    /// What a full queue refused.
    pub channel_full: ByLabel<Queue, IntCounter>,

    /// Peers that live here.
    pub regions: IntGauge,
    /// Comparisons of replicas that found a difference.
    pub inconsistent_regions: IntCounter,
    /// Snapshots on their way out and in.
    pub snapshots: SnapshotMetrics,
    /// Those of them that lead.
    pub leaders: IntGauge,
    /// Elections of peers of this store.
    pub elections: ByLabel<ElectionOutcome, IntCounter>,
    /// From a peer's first campaign to the next leader of the region.
    pub election_duration: Histogram,

    /// Bytes of entries that are cached.
    pub entry_cache_bytes: IntGauge,
    /// Apply rounds that are not known to be durable (D3).
    pub flush_lag_rounds: IntGauge,
    /// Bytes of log that are kept for them.
    pub flush_lag_bytes: IntGauge,
    /// Age of the oldest of them.
    pub flush_lag: Gauge,
    /// Flushes that a bound or a fence forced (D4, D5).
    pub forced_flushes: IntCounter,

    /// Reads that wait for their confirmation.
    pub read_index_pending: IntGauge,

    /// Log compactions.
    pub log_compactions: IntCounter,
    /// Splits that the store began by itself and that were applied.
    pub splits: ByLabel<SplitCause, IntCounter>,
    /// Entries that they removed.
    pub log_compacted_entries: IntCounter,

    /// One for the present state, zero for the others; see [`StoreMetrics::set_state`].
    pub state: ByLabel<StoreStateLabel, IntGauge>,
    /// The store's disk.
    pub size: ByLabel<StoreSize, IntGauge>,
    /// Errors that stop the store.
    pub critical_errors: IntCounter,
}

impl StoreMetrics {
    /// Registers the metrics of a store, and replaces those of an earlier incarnation of it.
    pub fn new(registry: &Registry, store: StoreId) -> Self {
        let scope = registry.scope("store", &labels(store));
        let channel_full = scope.counters("channel_full_total", "Messages and tasks that a full queue refused.");
        let rounds = scope.sizes_by("round_regions", "Regions per round of a poller.");
        let waiting = scope.gauges("run_queue_regions", "Regions that wait for a poller.");
        let system = |system: SystemLabel, full: Queue| SystemMetrics {
            queued_actors: waiting[system].clone(),
            full: channel_full[full].clone(),
            round_actors: rounds[system].clone(),
        };
        Self {
            raft_system: system(SystemLabel::Raft, Queue::RaftMailbox),
            apply_system: system(SystemLabel::Apply, Queue::ApplyMailbox),
            channel_full: channel_full.clone(),
            proposals: scope.counters("proposal_total", "Requests that regions took up."),
            refusals: scope.counters("invalid_proposal_total", "Requests that were refused."),
            request_duration: scope.durations_by("request_duration_seconds", "From a request's arrival to its answer."),
            messages_sent: scope.counters("raft_sent_message_total", "Messages handed to the transport."),
            messages_received: scope.counters("raft_received_message_total", "Messages that came from other stores."),
            messages_dropped: scope.counters("raft_dropped_message_total", "Messages dropped on their way out or in."),
            ready: scope.counters("raft_ready_handled_total", "Effects of regions that were carried out."),
            raft_round_duration: scope.durations("raft_process_duration_seconds", "A raft poller's round."),
            log_write_regions: scope.sizes("append_log_regions", "Regions per write batch of the log engine."),
            log_write_duration: scope
                .durations("append_log_duration_seconds", "Writes to the log engine, their fsync included."),
            log_write_bytes: scope.counter("append_log_bytes_total", "Bytes of entries written to the log engine."),
            apply_wait_duration: scope
                .durations("apply_wait_duration_seconds", "From an entry's commit to the begin of its execution."),
            apply_duration: scope.durations("apply_log_duration_seconds", "An apply poller's round."),
            apply_commands: scope.counter("apply_command_total", "Commands that were executed."),
            queue_length: scope.gauges("queue_length", "How much waits in a queue."),
            regions: scope.gauge("regions", "Peers that live on the store."),
            inconsistent_regions: scope
                .counter("inconsistent_regions_total", "Comparisons of replicas that found a difference."),
            snapshots: SnapshotMetrics::new(registry, store),
            leaders: scope.gauge("leaders", "Peers of the store that lead."),
            elections: scope.counters("election_total", "Elections of peers of the store."),
            election_duration: scope
                .durations("election_duration_seconds", "From a peer's first campaign to the region's next leader."),
            entry_cache_bytes: scope.gauge("entry_cache_bytes", "Bytes of raft entries that are cached."),
            flush_lag_rounds: scope.gauge("flush_lag_rounds", "Apply rounds that are not known to be durable."),
            flush_lag_bytes: scope.gauge("flush_lag_bytes", "Bytes of log kept until the state engine is flushed."),
            flush_lag: scope
                .seconds_gauge("flush_lag_seconds", "Age of the oldest apply round not known to be durable."),
            forced_flushes: scope.counter("forced_flush_total", "Flushes of the state engine that a bound forced."),
            read_index_pending: scope.gauge("read_index_pending", "Reads that wait for their confirmation."),
            splits: scope.counters("check_split_total", "Splits that the store began by itself."),
            log_compactions: scope.counter("raft_log_gc_total", "Raft log compactions."),
            log_compacted_entries: scope.counter("raft_log_gc_entries_total", "Raft entries that compactions removed."),
            state: scope.gauges("store_state", "One for the state that the store is in, zero for the others."),
            size: scope.gauges("store_size_bytes", "Size of the store's disk."),
            critical_errors: scope.counter("critical_error_total", "Errors that stop the store."),
        }
    }

    /// Shows the state that the store is in.
    pub fn set_state(&self, state: StoreStateLabel) {
        for label in <StoreStateLabel as crate::label::Label>::ALL {
            self.state[*label].set(i64::from(*label == state));
        }
    }

    /// Takes a store's metrics out of the registry: it was stopped and shall not look alive.
    pub fn forget(registry: &Registry, store: StoreId) {
        registry.forget("store", &labels(store));
    }
}

labels! {
    /// A set of pollers.
    SystemLabel: "system" {
        /// Those that step regions.
        Raft = "raft",
        /// Those that apply committed entries.
        Apply = "apply",
    }
}

/// The labels that every metric of a store carries.
pub(super) fn labels(store: StoreId) -> [(&'static str, String); 1] {
    [("store", store.to_string())]
}
