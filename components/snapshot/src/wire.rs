//! Chunks and answers as they travel between stores.

use proto::transport as message;
use proto::transport::snapshot_answer::Kind;
use types::{ColumnFamily, ErrorCode};

use crate::answer::{Answer, Refusal, RefusalKind};
use crate::chunk::Chunk;

/// Longest reason of a refusal that is kept, in bytes; the rest of what a stranger says is cut off.
const MAX_REASON_BYTES: usize = 1024;

/// What came makes no chunk or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A number that its field cannot have.
    #[error("snapshot stream: field {field} has the impossible value {value}; use stores of one release")]
    Impossible {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// An answer that says nothing, or not at this point.
    #[error("snapshot stream: an answer is missing or out of place; use stores of one release")]
    NoAnswer,
}

impl WireError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode(match self {
            Self::Impossible { .. } => "RY-SNAPSHOT-091",
            Self::NoAnswer => "RY-SNAPSHOT-092",
        })
    }
}

impl From<Chunk> for message::SnapshotChunk {
    fn from(chunk: Chunk) -> Self {
        let Chunk { place, family, offset, attempt, data, checksum } = chunk;
        Self { place, family: family as u32, offset, attempt, data, checksum }
    }
}

impl TryFrom<message::SnapshotChunk> for Chunk {
    type Error = WireError;

    fn try_from(chunk: message::SnapshotChunk) -> Result<Self, WireError> {
        let message::SnapshotChunk { place, family, offset, attempt, data, checksum } = chunk;
        let unknown = WireError::Impossible { field: "family", value: family.into() };
        let family = ColumnFamily::from_number(family).ok_or(unknown)?;
        Ok(Self { place, family, offset, attempt, data, checksum })
    }
}

const KINDS: [(RefusalKind, u32); 3] = [(RefusalKind::Later, 1), (RefusalKind::Unwanted, 2), (RefusalKind::Damaged, 3)];

impl From<Refusal> for message::SnapshotRefused {
    fn from(refusal: Refusal) -> Self {
        let number = KINDS.iter().find(|(kind, _)| *kind == refusal.kind).map_or(0, |(_, number)| *number);
        Self { kind: number, reason: refusal.reason }
    }
}

impl From<Answer> for message::SnapshotAnswer {
    fn from(answer: Answer) -> Self {
        let kind = match answer {
            Answer::Wanted { verified } => Kind::Wanted(message::SnapshotWanted { verified }),
            Answer::Verified { place, offset } => Kind::Verified(message::SnapshotPosition { place, offset }),
            Answer::Again { place, offset } => Kind::Again(message::SnapshotPosition { place, offset }),
            Answer::Received => Kind::Received(message::SnapshotReceived {}),
            Answer::Refused(refusal) => Kind::Refused(refusal.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<message::SnapshotAnswer> for Answer {
    type Error = WireError;

    fn try_from(answer: message::SnapshotAnswer) -> Result<Self, WireError> {
        Ok(match answer.kind {
            None | Some(Kind::Welcome(_)) => return Err(WireError::NoAnswer),
            Some(Kind::Wanted(wanted)) => Self::Wanted { verified: wanted.verified },
            Some(Kind::Verified(at)) => Self::Verified { place: at.place, offset: at.offset },
            Some(Kind::Again(at)) => Self::Again { place: at.place, offset: at.offset },
            Some(Kind::Received(_)) => Self::Received,
            Some(Kind::Refused(refused)) => Self::Refused(refusal(refused)?),
        })
    }
}

fn refusal(refused: message::SnapshotRefused) -> Result<Refusal, WireError> {
    let unknown = WireError::Impossible { field: "kind", value: refused.kind.into() };
    let kind = KINDS.iter().find(|(_, number)| *number == refused.kind).ok_or(unknown)?.0;
    let mut reason = refused.reason;
    if let Some(end) = (0..=MAX_REASON_BYTES.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end)) {
        reason.truncate(end);
    }
    Ok(Refusal { kind, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_and_answers_survive_the_way() {
        let chunk = Chunk::new(3, ColumnFamily::Write, 1 << 40, 2, "data".into());
        assert_eq!(Chunk::try_from(message::SnapshotChunk::from(chunk.clone())), Ok(chunk));
        let refused = |kind| Answer::Refused(Refusal { kind, reason: "because".to_owned() });
        let answers = [
            Answer::Wanted { verified: vec![0, 7, u64::MAX] },
            Answer::Verified { place: 1, offset: 2 },
            Answer::Again { place: 3, offset: 4 },
            Answer::Received,
            refused(RefusalKind::Later),
            refused(RefusalKind::Unwanted),
            refused(RefusalKind::Damaged),
        ];
        for answer in answers {
            assert_eq!(Answer::try_from(message::SnapshotAnswer::from(answer.clone())), Ok(answer));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let chunk = message::SnapshotChunk { family: 3, ..Default::default() };
        assert_eq!(Chunk::try_from(chunk), Err(WireError::Impossible { field: "family", value: 3 }));
        assert_eq!(Answer::try_from(message::SnapshotAnswer { kind: None }), Err(WireError::NoAnswer));
        let refused = |kind, reason: String| Kind::Refused(message::SnapshotRefused { kind, reason });
        let unknown = message::SnapshotAnswer { kind: Some(refused(4, String::new())) };
        assert_eq!(Answer::try_from(unknown), Err(WireError::Impossible { field: "kind", value: 4 }));
        let long = message::SnapshotAnswer { kind: Some(refused(1, "ä".repeat(5000))) };
        let Ok(Answer::Refused(refusal)) = Answer::try_from(long) else { panic!("it is a refusal") };
        assert_eq!(refusal.reason.len(), MAX_REASON_BYTES);
    }
}
