//! Reading what a raft entry holds.

use bytes::Bytes;
use engine::Entry;
use prost::Message as _;
use proto::log::{Admin, Command, CompactLog, EntryBatch, admin};
use raft_proto::eraftpb::EntryType;
use types::{LogIndex, RegionId};

use crate::applier::ApplyError;

/// The version of [`EntryBatch`] that this build writes and reads. What an older build would silently skip, such as a
/// new kind of command, must come with a new version: two replicas of different builds would apply it differently.
pub const ENTRY_VERSION: u32 = 1;

/// What a raft entry asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Content {
    /// A new leader's entry.
    Nothing,
    /// Commands of users, proposed under a version of the region.
    Commands { region_version: u64, commands: Vec<Command> },
    /// A log compaction. It holds for any epoch (raftstore-rules §4, table).
    CompactLog(CompactLog),
}

/// Reads an entry. Keys and values are slices of the entry's own buffer.
///
/// # Errors
/// When the entry was not written by a build of this version, or is damaged. Skipping it would make this replica
/// differ from the others.
pub(crate) fn read(region: RegionId, entry: Entry) -> Result<Content, ApplyError> {
    let index = LogIndex(entry.index);
    match entry.entry_type {
        EntryType::EntryNormal if entry.data.is_empty() => Ok(Content::Nothing),
        EntryType::EntryNormal => read_batch(entry.data).map_err(|cause| ApplyError::Entry { region, index, cause }),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            Err(ApplyError::UnsupportedEntry { region, index, kind: "change of membership" })
        }
    }
}

fn read_batch(data: Bytes) -> Result<Content, String> {
    let batch = EntryBatch::decode(data).map_err(|error| error.to_string())?;
    if batch.version != ENTRY_VERSION {
        return Err(format!("its version is {}, this build knows {ENTRY_VERSION}: use a newer build", batch.version));
    }
    match batch.admin {
        None => Ok(Content::Commands { region_version: batch.region_version, commands: batch.commands }),
        Some(_) if !batch.commands.is_empty() => Err("it holds commands of users beside one of the store".to_owned()),
        Some(Admin { kind: Some(admin::Kind::CompactLog(compact)) }) => Ok(Content::CompactLog(compact)),
        Some(Admin { kind: None }) => Err("it holds a store's command that this build does not know".to_owned()),
    }
}
