//! A peer between two `RawNode`s: the old one is given up, a new one is built from what both engines hold (D11).
//!
//! The new one may begin only when L and S hold all that the old one asked of them: it would read a log to whose end the
//! log writer still appends, or hand entries to apply again. L is waited for by the completion of the last write; S is
//! looked at, because apply makes its work visible before it tells of it. So completions of the old one can still lie in the
//! mailbox when the new one begins, or come later. They carry the old generation, and are dropped for it.

use engine::{StateRead, meta};
use region::{Effect, Input, Region};
use types::{Generation, LogIndex, ReadyNumber, RegionId, RequestError, Responder};

use crate::error::StoreError;

/// Told the new `RawNode`'s generation; `None` when the region is not here, or the store stops before it begins.
pub type RebuildResponder = Responder<Option<Generation>>;

/// What runs in a region's mailbox.
pub(crate) enum Machine {
    /// A region.
    Runs(Box<Region>),
    /// Nothing, until the engines hold what the last region left.
    Rebuilds(Rebuild),
}

impl Machine {
    /// The number of the `RawNode` that runs, or was the last to run.
    pub(crate) fn generation(&self) -> Generation {
        match self {
            Self::Runs(region) => region.generation(),
            Self::Rebuilds(rebuild) => rebuild.generation,
        }
    }

    /// Gives up the region that runs, if one does. Its requests that were never proposed are refused, the others are
    /// *unknown* or wait for apply; what it had not sent is never sent.
    pub(crate) fn give_up(&mut self, responder: RebuildResponder, effects: &mut Vec<Effect>) {
        let rebuild = match self {
            Self::Rebuilds(rebuild) => return rebuild.waiting.push(responder),
            Self::Runs(region) => Rebuild::after(region, responder),
        };
        if let Self::Runs(region) = std::mem::replace(self, Self::Rebuilds(rebuild)) {
            region.shut_down(effects);
        }
    }

    /// Bytes of entries in memory.
    pub(crate) fn cached_bytes(&self) -> u64 {
        match self {
            Self::Runs(region) => region.cached_bytes(),
            Self::Rebuilds(_) => 0,
        }
    }
}

/// What must come before a new `RawNode` begins, and who is told of it.
pub(crate) struct Rebuild {
    /// The old one's.
    generation: Generation,
    /// The old one's newest write that is not known to be durable.
    persist: Option<ReadyNumber>,
    /// The newest entry that it handed to apply.
    handed_out: LogIndex,
    waiting: Vec<RebuildResponder>,
}

impl Rebuild {
    fn after(region: &Region, responder: RebuildResponder) -> Self {
        Self {
            generation: region.generation(),
            persist: region.unfinished_persist(),
            handed_out: region.handed_out(),
            waiting: vec![responder],
        }
    }

    /// Takes what happens meanwhile: requests are refused, and messages dropped as the network might have dropped them.
    pub(crate) fn take(&mut self, input: Input, effects: &mut Vec<Effect>) {
        let busy = || RequestError::ServerIsBusy { reason: "the region's peer is being rebuilt" };
        match input {
            Input::Propose(proposal) => effects.push(Effect::Refuse(proposal.responder, busy())),
            Input::Read(read) => effects.push(Effect::RefuseRead(read.responder, busy())),
            Input::TransferLeader { responder, .. } => effects.push(Effect::Transferred(responder, Err(busy()))),
            Input::Split(request) => effects.push(Effect::SplitEnded(request.responder, Err(busy()))),
            Input::ChangeMembers(request) => effects.push(Effect::MembersEnded(request.responder, Err(busy()))),
            Input::Persisted { generation, ready } => self.persisted(generation, ready),
            // Nobody can be told what the region looks like now: dropping the inspector says so.
            Input::Inspect(_)
            | Input::Message(_)
            | Input::Tick
            | Input::Applied { .. }
            | Input::Campaign
            | Input::Members { .. }
            | Input::CheckConsistency
            | Input::HashComputed { .. }
            | Input::SnapshotBuilt { .. }
            | Input::SnapshotSent { .. }
            | Input::Unreachable { .. } => {}
        }
    }

    fn persisted(&mut self, generation: Generation, ready: ReadyNumber) {
        if generation == self.generation && self.persist.is_some_and(|awaited| awaited <= ready) {
            self.persist = None;
        }
    }

    /// Whether L and S hold all that the old `RawNode` asked of them.
    pub(crate) fn is_settled(&self, region: RegionId, state: &dyn StateRead) -> Result<bool, StoreError> {
        let applied = meta::read_region(state, region)?.map(|region| region.apply_state.applied);
        Ok(self.persist.is_none() && applied.is_none_or(|applied| applied >= self.handed_out))
    }

    /// The new `RawNode`'s number.
    pub(crate) fn next_generation(&self) -> Generation {
        Generation(self.generation.0 + 1)
    }

    /// Tells everyone who waits.
    pub(crate) fn end(self) {
        let next = self.next_generation();
        self.waiting.into_iter().for_each(|responder| responder.respond(Some(next)));
    }
}
