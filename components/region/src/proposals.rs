//! From clients' commands to raft entries.

use prost::Message as _;
use proto::log::{Admin, Command, EntryBatch};
use types::entry::ENTRY_VERSION;
use types::{LogIndex, RequestError, Term, WriteResponder};

use crate::effect::Effect;
use crate::input::Proposal;
use crate::machine::{Region, RegionError};

/// Most bytes that an `EntryBatch` takes beside its commands: two tags and two numbers.
const BATCH_OVERHEAD_BYTES: u64 = 24;

/// Most bytes that a command takes in an `EntryBatch` beside itself: a tag and a length.
const COMMAND_OVERHEAD_BYTES: u64 = 6;

#[derive(Debug)]
struct GatheredCommand {
    command: Command,
    responder: WriteResponder,
    bytes: u64,
}

/// Commands that become entries at the end of the round.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    commands: Vec<GatheredCommand>,
    bytes: u64,
}

impl Gathered {
    /// How many commands were gathered.
    pub(crate) fn count(&self) -> usize {
        self.commands.len()
    }

    /// Their responders, in order.
    pub(crate) fn into_responders(self) -> impl Iterator<Item = WriteResponder> {
        self.commands.into_iter().map(|gathered| gathered.responder)
    }

    fn push(&mut self, command: Command, responder: WriteResponder, bytes: u64) {
        self.bytes += bytes;
        self.commands.push(GatheredCommand { command, responder, bytes });
    }

    /// Cuts the commands into groups that each fit into one entry, in order.
    fn into_groups(self, max_entry_bytes: u64) -> Vec<(Vec<Command>, Vec<WriteResponder>)> {
        let mut groups: Vec<(Vec<Command>, Vec<WriteResponder>)> = Vec::new();
        let mut bytes = 0;
        for gathered in self.commands {
            bytes += gathered.bytes;
            if groups.is_empty() || bytes + BATCH_OVERHEAD_BYTES > max_entry_bytes {
                bytes = gathered.bytes;
                groups.push((Vec::new(), Vec::new()));
            }
            if let Some((commands, responders)) = groups.last_mut() {
                commands.push(gathered.command);
                responders.push(gathered.responder);
            }
        }
        groups
    }
}

impl Region {
    /// Gathers a client's command, or refuses it.
    pub(crate) fn on_propose(&mut self, proposal: Proposal, effects: &mut Vec<Effect>) {
        let bytes = proposal.command.encoded_len() as u64 + COMMAND_OVERHEAD_BYTES;
        if let Err(error) = self.check_proposal(&proposal, bytes) {
            effects.push(Effect::Refuse(proposal.responder, error));
        } else if let Some(leader) = self.leader_mut() {
            leader.gathered.push(proposal.command, proposal.responder, bytes);
        }
    }

    fn check_proposal(&self, proposal: &Proposal, bytes: u64) -> Result<(), RequestError> {
        self.check_header(&proposal.header)?;
        self.check_keys(&proposal.keys)?;
        let size = bytes + BATCH_OVERHEAD_BYTES;
        let limit = self.config.max_entry_bytes;
        if size > limit {
            return Err(RequestError::EntryTooLarge { region: self.descriptor.id, size, limit });
        }
        if self.node.raft.lead_transferee.is_some() {
            // Raft would drop it. The next leader is not known for sure yet, so there is no hint.
            return Err(RequestError::NotLeader { region: self.descriptor.id, leader: None });
        }
        self.check_room()?;
        self.check_uncommitted(bytes)
    }

    fn check_uncommitted(&self, bytes: u64) -> Result<(), RequestError> {
        let gathered = self.leader().map_or(0, |leader| leader.gathered.bytes);
        let waiting = self.node.raft.uncommitted_size() as u64 + gathered;
        if waiting == 0 || waiting + bytes + BATCH_OVERHEAD_BYTES <= self.config.max_uncommitted_bytes {
            return Ok(());
        }
        Err(RequestError::ServerIsBusy { reason: "too many bytes of this region wait to be committed" })
    }

    /// Makes entries of the gathered commands: one, unless they are larger than an entry may be. While a split is on its
    /// way they wait for it instead.
    pub(crate) fn propose_gathered(&mut self, effects: &mut Vec<Effect>) -> Result<(), RegionError> {
        let max_entry_bytes = self.config.max_entry_bytes;
        let Some(leader) = self.leader() else { return Ok(()) };
        if leader.gathered.count() == 0 || self.parks_writes() {
            return Ok(());
        }
        let gathered = self.leader_mut().map(|leader| std::mem::take(&mut leader.gathered)).unwrap_or_default();
        for (commands, responders) in gathered.into_groups(max_entry_bytes) {
            match self.propose_batch(&[], commands, None)? {
                Some((term, index)) => self.waiting.push(term, index, responders),
                None => {
                    for responder in responders {
                        let error = RequestError::NotLeader { region: self.descriptor.id, leader: None };
                        effects.push(Effect::Refuse(responder, error));
                    }
                }
            }
        }
        Ok(())
    }

    /// Proposes a command of the store. Gives its index, or `None` when raft does not take it.
    pub(crate) fn propose_admin(&mut self, context: &[u8], admin: Admin) -> Result<Option<LogIndex>, RegionError> {
        Ok(self.propose_batch(context, Vec::new(), Some(admin))?.map(|(_, index)| index))
    }

    /// Proposes an empty entry, for the sake of what its commit will prove. Raft may not take it.
    pub(crate) fn propose_nothing(&mut self) -> Result<(), RegionError> {
        match self.node.propose(Vec::new(), Vec::new()) {
            Ok(()) | Err(raft::Error::ProposalDropped) => Ok(()),
            Err(error) => Err(self.raft_failed(&error)),
        }
    }

    /// Proposes one entry. Gives its position, or `None` when raft does not take it; then it will never be in the log.
    fn propose_batch(
        &mut self,
        context: &[u8],
        commands: Vec<Command>,
        admin: Option<Admin>,
    ) -> Result<Option<(Term, LogIndex)>, RegionError> {
        let region_version = self.descriptor.epoch.version;
        let batch = EntryBatch { version: ENTRY_VERSION, region_version, commands, admin };
        match self.node.propose(context.to_vec(), batch.encode_to_vec()) {
            Ok(()) => {
                let raft = &self.node.raft;
                Ok(Some((Term(raft.term), LogIndex(raft.raft_log.last_index()))))
            }
            Err(raft::Error::ProposalDropped) => Ok(None),
            Err(error) => Err(self.raft_failed(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use types::Responder;

    use super::*;

    fn sizes(bytes: &[u64], max_entry_bytes: u64) -> Vec<usize> {
        let mut gathered = Gathered::default();
        for bytes in bytes {
            gathered.push(Command::default(), Responder::new(|_| ()), *bytes);
        }
        gathered.into_groups(max_entry_bytes).iter().map(|(commands, _)| commands.len()).collect()
    }

    #[test]
    fn a_round_becomes_as_few_entries_as_fit() {
        assert_eq!(sizes(&[], 100), [0usize; 0]);
        assert_eq!(sizes(&[10, 10, 10], 100), [3]);
        assert_eq!(sizes(&[40, 36, 1], 100), [2, 1]);
        assert_eq!(sizes(&[76, 76], 100), [1, 1]);
    }
}
