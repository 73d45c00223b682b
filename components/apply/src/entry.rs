//! Reading what a raft entry holds.

use bytes::Bytes;
use engine::Entry;
use prost::Message as _;
use proto::convert::ConvertError;
use proto::log::{Admin, ChangeMembers, Command, CompactLog, EntryBatch, VerifyHash, admin};
use raft_proto::eraftpb::EntryType;
use types::entry::{BOUNDARY_CONTEXT, ENTRY_VERSION, OLDEST_ENTRY_VERSION};
use types::{CommandKind, LogIndex, MemberChange, RegionEpoch, RegionId, SplitPlan};

use crate::applier::ApplyError;

/// What a raft entry asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Content {
    /// A new leader's entry.
    Nothing,
    /// Commands of users, proposed under a version of the region.
    Commands { region_version: u64, commands: Vec<Command> },
    /// A command of the store itself.
    Admin(AdminCommand),
}

/// A command of the store itself, and the epoch under which it was proposed.
#[derive(Debug, PartialEq)]
pub(crate) struct AdminCommand {
    pub epoch: RegionEpoch,
    pub kind: AdminKind,
}

/// The commands of the store itself.
#[derive(Debug, PartialEq)]
pub(crate) enum AdminKind {
    CompactLog(CompactLog),
    Split(SplitPlan),
    ChangeMembers(Vec<MemberChange>),
    ComputeHash,
    VerifyHash(VerifyHash),
}

impl AdminKind {
    /// Its line in the table of epochs.
    pub fn command(&self) -> CommandKind {
        match self {
            Self::CompactLog(_) => CommandKind::CompactLog,
            Self::Split(_) => CommandKind::Split,
            Self::ChangeMembers(_) => CommandKind::Members,
            Self::ComputeHash | Self::VerifyHash(_) => CommandKind::Hash,
        }
    }
}

/// Reads an entry. Keys and values are slices of the entry's own buffer.
///
/// # Errors
/// When the entry was not written by a build of a known version, or is damaged. Skipping it would make this replica
/// differ from the others.
pub(crate) fn read(region: RegionId, entry: Entry) -> Result<Content, ApplyError> {
    let index = LogIndex(entry.index);
    let content = match entry.entry_type {
        EntryType::EntryNormal if entry.data.is_empty() => Ok(Content::Nothing),
        EntryType::EntryNormal => read_batch(entry.data, &entry.context),
        EntryType::EntryConfChangeV2 => read_members(entry.context),
        EntryType::EntryConfChange => {
            return Err(ApplyError::UnsupportedEntry { region, index, kind: "change of membership of version 1" });
        }
    };
    content.map_err(|cause| ApplyError::Entry { region, index, cause })
}

fn check_version(version: u32) -> Result<(), String> {
    if (OLDEST_ENTRY_VERSION..=ENTRY_VERSION).contains(&version) {
        return Ok(());
    }
    Err(format!("its version is {version}, this build knows up to {ENTRY_VERSION}: use a newer build"))
}

fn read_batch(data: Bytes, context: &[u8]) -> Result<Content, String> {
    let batch = EntryBatch::decode(data).map_err(|error| error.to_string())?;
    check_version(batch.version)?;
    let Some(admin) = batch.admin else {
        check_boundary(context, false)?;
        return Ok(Content::Commands { region_version: batch.region_version, commands: batch.commands });
    };
    if !batch.commands.is_empty() {
        return Err("it holds commands of users beside one of the store".to_owned());
    }
    let epoch = RegionEpoch { conf_ver: admin.conf_ver, version: batch.region_version };
    let kind = read_admin(admin)?;
    if batch.version < 2 && !matches!(kind, AdminKind::CompactLog(_)) {
        return Err(format!("it holds {kind:?}, which version {} does not have", batch.version));
    }
    check_boundary(context, matches!(kind, AdminKind::Split(_)))?;
    Ok(Content::Admin(AdminCommand { epoch, kind }))
}

/// A mark that is missing would let the entry's commit go unrecorded (D1): damage, as much as one too many.
fn check_boundary(context: &[u8], is_boundary: bool) -> Result<(), String> {
    let expected = if is_boundary { BOUNDARY_CONTEXT } else { &[] };
    if context == expected {
        return Ok(());
    }
    Err(format!("its context is {context:02x?} where {expected:02x?} belongs"))
}

fn read_admin(admin: Admin) -> Result<AdminKind, String> {
    match admin.kind {
        Some(admin::Kind::CompactLog(compact)) => Ok(AdminKind::CompactLog(compact)),
        Some(admin::Kind::Split(split)) => Ok(AdminKind::Split(split.into())),
        Some(admin::Kind::ComputeHash(_)) => Ok(AdminKind::ComputeHash),
        Some(admin::Kind::VerifyHash(verify)) => Ok(AdminKind::VerifyHash(verify)),
        None => Err("it holds a store's command that this build does not know".to_owned()),
    }
}

/// A change of members is told by the entry's context. Its data is the same for raft alone, and the peer's machine
/// checks that raft made the same of it.
fn read_members(context: Bytes) -> Result<Content, String> {
    let change = ChangeMembers::decode(context).map_err(|error| error.to_string())?;
    check_version(change.version)?;
    let epoch = RegionEpoch { conf_ver: change.conf_ver, version: change.region_version };
    let changes: Result<Vec<_>, ConvertError> = change.changes.into_iter().map(MemberChange::try_from).collect();
    let kind = AdminKind::ChangeMembers(changes.map_err(|error| error.to_string())?);
    Ok(Content::Admin(AdminCommand { epoch, kind }))
}
