//! A peer between two `RawNode`s: the old one has ended or is given up, a new one is built from what both engines hold
//! (D10, D11).
//!
//! The new one may begin only when L and S hold all that the old one asked of them, and every completion of it was heard:
//! it would read a log to whose end the log writer still appends, or hand entries to apply again; and a split that the old
//! one never heard of would leave children that nobody makes. So the old one's completions are waited for one by one.
//! Completions that come later all the same carry the old generation, and are dropped for it.

use engine::ChangeKind;
use region::{DeclineSnapshot, Effect, Input, MessageType, Region, Split};
use types::{Generation, LogIndex, PeerId, ReadyNumber, RegionId, Responder};

use crate::lifecycle::Task;
use crate::lifecycle::births::TakeOver;

/// Told the new `RawNode`'s generation; `None` when the region is not here, or the store stops before it begins.
pub type RebuildResponder = Responder<Option<Generation>>;

/// What runs in a region's mailbox.
pub(crate) enum Machine {
    /// A region.
    Runs(Box<Region>),
    /// Nothing, until the engines hold what the last region left and it is said what comes next.
    Rests(Rest),
}

impl Machine {
    /// The number of the `RawNode` that runs, or was the last to run.
    pub(crate) fn generation(&self) -> Generation {
        match self {
            Self::Runs(region) => region.generation(),
            Self::Rests(rest) => rest.generation,
        }
    }

    /// Gives up the region that runs, if one does. Its requests that were never proposed are refused, the others are
    /// *unknown* or wait for apply; what it had not sent is never sent.
    pub(crate) fn rest(&mut self, effects: &mut Vec<Effect>) -> &mut Rest {
        if let Self::Runs(region) = self {
            let rest = Rest::after(region);
            if let Self::Runs(region) = std::mem::replace(self, Self::Rests(rest)) {
                region.shut_down(effects);
            }
        }
        match self {
            Self::Rests(rest) => rest,
            Self::Runs(_) => unreachable!("it was just given up"),
        }
    }

    /// Bytes of entries in memory.
    pub(crate) fn cached_bytes(&self) -> u64 {
        match self {
            Self::Runs(region) => region.cached_bytes(),
            Self::Rests(_) => 0,
        }
    }
}

/// What comes once the engines hold all that the last `RawNode` left.
pub(crate) enum Next {
    /// Nothing by itself: the lifecycle has the peer, and says when.
    Wait,
    /// The next `RawNode`.
    Renew,
    /// The lifecycle takes the peer.
    Hand(Task),
}

/// A peer that rests.
pub(crate) struct Rest {
    region: RegionId,
    peer: PeerId,
    /// The old one's.
    generation: Generation,
    /// The old one's newest write that is not known to be durable.
    persist: Option<ReadyNumber>,
    /// The newest entry that it handed to apply, until it is heard that it is applied.
    applying: Option<LogIndex>,
    next: Next,
    /// A split that made this peer anew, to be noted before the next `RawNode` begins (D11).
    take_over: Option<TakeOver>,
    waiting: Vec<RebuildResponder>,
}

impl Rest {
    fn after(region: &Region) -> Self {
        Self {
            region: region.descriptor().id,
            peer: region.peer().id,
            generation: region.generation(),
            persist: region.unfinished_persist(),
            applying: region.unfinished_apply(),
            next: Next::Wait,
            take_over: None,
            waiting: Vec::new(),
        }
    }

    /// Nothing is left of it: what stands in the mailbox while the next `RawNode` is made.
    pub(crate) fn over(region: RegionId, generation: Generation) -> Self {
        Self {
            region,
            peer: PeerId(0),
            generation,
            persist: None,
            applying: None,
            next: Next::Wait,
            take_over: None,
            waiting: Vec::new(),
        }
    }

    /// The next `RawNode` begins as soon as it can; `responder` is told.
    pub(crate) fn renew(&mut self, responder: Option<RebuildResponder>) {
        self.next = Next::Renew;
        self.waiting.extend(responder);
    }

    /// The lifecycle is done with the peer: the next `RawNode` begins, unless the peer was to be handed over anew since.
    pub(crate) fn resume(&mut self) {
        if matches!(self.next, Next::Wait) {
            self.next = Next::Renew;
        }
    }

    /// The lifecycle takes the peer as soon as it can.
    pub(crate) fn hand(&mut self, task: Task) {
        self.next = Next::Hand(task);
    }

    /// Whoever wants the peer anew is told when it is; what it waits for stays the same.
    pub(crate) fn wait(&mut self, responder: RebuildResponder) {
        self.waiting.push(responder);
    }

    /// A split makes the peer anew. Returns what it was to be handed over for before, which is not wanted any more.
    pub(crate) fn take_over(&mut self, take_over: TakeOver) -> Option<Task> {
        self.take_over = Some(take_over);
        match std::mem::replace(&mut self.next, Next::Renew) {
            Next::Hand(task) => Some(task),
            Next::Wait | Next::Renew => None,
        }
    }

    /// A planted bug: goes on at once, whatever is still to be heard.
    pub(crate) fn hurry(&mut self) {
        (self.persist, self.applying) = (None, None);
    }

    /// What comes next, if its time has come.
    pub(crate) fn settle(&mut self) -> Option<Next> {
        if self.persist.is_some() || self.applying.is_some() || matches!(self.next, Next::Wait) {
            return None;
        }
        Some(std::mem::replace(&mut self.next, Next::Wait))
    }

    /// The split that made it, and everyone who waits for the next `RawNode`.
    pub(crate) fn end(self) -> (Option<TakeOver>, Vec<RebuildResponder>) {
        (self.take_over, self.waiting)
    }

    /// Takes what happens meanwhile: requests are sent away, and messages dropped as the network might have dropped them.
    pub(crate) fn take(&mut self, input: Input, effects: &mut Vec<Effect>) {
        let Some(input) = input.send_away(self.region, effects) else { return };
        match input {
            Input::Persisted { generation, ready } if generation == self.generation => {
                if self.persist.is_some_and(|awaited| awaited <= ready) {
                    self.persist = None;
                }
            }
            Input::Applied { generation, apply_state, changes } if generation == self.generation => {
                if self.applying.is_some_and(|awaited| awaited <= apply_state.applied) {
                    self.applying = None;
                }
                changes.into_iter().for_each(|change| self.adopt(change, effects));
            }
            // The data that came with it is no use to anybody either.
            Input::Message(message) if message.raft.get_msg_type() == MessageType::MsgSnapshot => {
                let index = message.raft.get_snapshot().get_metadata().index.into();
                let (region, from) = (message.region, message.from);
                effects.push(Effect::DeclineSnapshot(DeclineSnapshot { region, from, index }));
            }
            // Requests were sent away. Nobody can be told what the region looks like now: dropping the inspector says so.
            Input::Inspect(_)
            | Input::Propose(_)
            | Input::Read(_)
            | Input::TransferLeader { .. }
            | Input::Split(_)
            | Input::ChangeMembers(_)
            | Input::Message(_)
            | Input::Tick
            | Input::Persisted { .. }
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

    /// Takes what apply changed about the region on behalf of the `RawNode` that has ended.
    fn adopt(&mut self, change: engine::Change, effects: &mut Vec<Effect>) {
        match change.kind {
            ChangeKind::Split { derived, children } => {
                let (region, peer, index) = (self.region, self.peer, change.index);
                effects.push(Effect::Split(Split { region, peer, index, derived, children, campaign: false }));
            }
            ChangeKind::Members { descriptor, .. } => {
                if descriptor.peer(self.peer).is_none() {
                    // Apply executes nothing behind the peer's own end.
                    self.applying = None;
                }
                effects.push(Effect::MembersChanged(descriptor));
            }
            ChangeKind::HashAsked(_) | ChangeKind::HashStated { .. } | ChangeKind::Refused(_) => {}
        }
    }
}
