//! The sending half, as a machine.

use std::sync::Arc;

use types::ErrorCode;

use crate::answer::{Answer, Refusal, RefusalKind};
use crate::build::BuiltSnapshot;
use crate::chunk::{Chunk, MAX_CHUNK_BYTES};
use crate::files::FilesError;
use crate::transfers::CancelReason;

/// Bounds of a [`Sender`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendConfig {
    /// Bytes of a file in one chunk; [`MAX_CHUNK_BYTES`] at the most.
    pub chunk_bytes: usize,
    /// Most bytes that are under way without the receiver having said that they are verified. A slow receiver thereby
    /// slows its sender, and nothing piles up between them. One chunk may always be under way.
    pub window_bytes: u64,
    /// How often the receiver may ask for something again before the snapshot is given up.
    pub max_repeats: u32,
}

impl Default for SendConfig {
    fn default() -> Self {
        Self { chunk_bytes: MAX_CHUNK_BYTES, window_bytes: 4 << 20, max_repeats: 16 }
    }
}

/// A snapshot could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Its own files could not be read.
    #[error("sending a snapshot: {0}")]
    Files(#[from] FilesError),
    /// A file is shorter than it was built.
    #[error("sending a snapshot: file {place} ends at {offset}; build another one and check the store's disk")]
    Shrunk {
        /// The file's place in the manifest.
        place: usize,
        /// Where it ends.
        offset: u64,
    },
    /// The receiver does not take it.
    #[error("snapshot refused: {0}")]
    Refused(Refusal),
    /// The receiver asked for something again too often.
    #[error("sending a snapshot: {repeats} requests to send something again; check the network and both disks")]
    TooManyRepeats {
        /// How many.
        repeats: u32,
    },
    /// It is not wanted any more.
    #[error("sending a snapshot: given up, {}", .reason.text())]
    Cancelled {
        /// Why.
        reason: CancelReason,
    },
    /// The receiver said something that cannot be at this point.
    #[error(
        "sending a snapshot: the receiver answered {answer:?} where that makes no sense; use stores of one release"
    )]
    Violation {
        /// What it said.
        answer: Answer,
    },
}

impl SendError {
    /// The error's stable code.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Files(error) => error.code(),
            Self::Shrunk { .. } => ErrorCode("RY-SNAPSHOT-041"),
            Self::Refused(_) => ErrorCode("RY-SNAPSHOT-042"),
            Self::TooManyRepeats { .. } => ErrorCode("RY-SNAPSHOT-043"),
            Self::Violation { .. } => ErrorCode("RY-SNAPSHOT-044"),
            Self::Cancelled { .. } => ErrorCode("RY-SNAPSHOT-045"),
        }
    }

    /// Whether the same snapshot may be offered again, on another stream and after a pause.
    pub const fn may_retry(&self) -> bool {
        matches!(self, Self::Refused(Refusal { kind: RefusalKind::Later, .. }))
    }
}

/// What the driver of a [`Sender`] does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendStep {
    /// Send this.
    Chunk(Chunk),
    /// Nothing before the next answer.
    Wait,
    /// The receiver has all of it.
    Delivered,
}

/// Sends one snapshot to one receiver, over as many streams as it takes.
///
/// On each new stream the driver offers the manifest, calls [`connected`](Self::connected), and then alternates
/// [`step`](Self::step) and [`answer`](Self::answer). What the receiver has verified is not sent again.
pub struct Sender {
    snapshot: Arc<BuiltSnapshot>,
    config: SendConfig,
    files: Vec<Progress>,
    /// Requests for something again, on all streams.
    repeats: u32,
    /// Those on this stream.
    attempt: u32,
    stage: Stage,
}

/// How far one file is, in bytes.
#[derive(Clone, Copy, Debug)]
struct Progress {
    size: u64,
    sent: u64,
    verified: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The manifest was or will be offered; what the receiver has is not known.
    Offering,
    Sending,
    Delivered,
}

impl Sender {
    /// A sender that has sent nothing.
    pub fn new(snapshot: Arc<BuiltSnapshot>, config: SendConfig) -> Self {
        let files = snapshot.manifest().files().iter();
        let files = files.map(|file| Progress { size: file.bytes, sent: 0, verified: 0 }).collect();
        Self { snapshot, config, files, repeats: 0, attempt: 0, stage: Stage::Offering }
    }

    /// What is sent.
    pub fn snapshot(&self) -> &Arc<BuiltSnapshot> {
        &self.snapshot
    }

    /// A stream was opened and the manifest offered on it. What was under way on an older stream is lost.
    pub fn connected(&mut self) {
        if self.stage != Stage::Delivered {
            self.stage = Stage::Offering;
        }
    }

    /// What to do next.
    pub fn step(&mut self) -> Result<SendStep, SendError> {
        match self.stage {
            Stage::Offering => Ok(SendStep::Wait),
            Stage::Delivered => Ok(SendStep::Delivered),
            Stage::Sending => Ok(self.next_chunk()?.map_or(SendStep::Wait, SendStep::Chunk)),
        }
    }

    /// Whether the next step gives a chunk.
    pub fn may_send(&self) -> bool {
        self.stage == Stage::Sending && self.next_piece().is_some()
    }

    /// The file of the next chunk and its length; `None` when all is sent or the window is full.
    fn next_piece(&self) -> Option<(usize, u64)> {
        let place = self.files.iter().position(|file| file.sent < file.size)?;
        let Progress { size, sent, .. } = self.files[place];
        let length = (size - sent).min(self.config.chunk_bytes.clamp(1, MAX_CHUNK_BYTES) as u64);
        let under_way: u64 = self.files.iter().map(|file| file.sent - file.verified).sum();
        (under_way == 0 || under_way + length <= self.config.window_bytes).then_some((place, length))
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, SendError> {
        let Some((place, length)) = self.next_piece() else { return Ok(None) };
        let sent = self.files[place].sent;
        let data = self.snapshot.read(place, sent, length as usize)?;
        if data.len() as u64 != length {
            return Err(SendError::Shrunk { place, offset: sent + data.len() as u64 });
        }
        self.files[place].sent += length;
        let family = self.snapshot.manifest().files()[place].family;
        Ok(Some(Chunk::new(place as u32, family, sent, self.attempt, data)))
    }

    /// The receiver said something.
    pub fn answer(&mut self, answer: Answer) -> Result<(), SendError> {
        let makes_sense = match &answer {
            Answer::Refused(refusal) => return Err(SendError::Refused(refusal.clone())),
            Answer::Wanted { verified } => self.go_on_behind(verified),
            Answer::Verified { place, offset } => self.confirm(*place, *offset),
            Answer::Again { place, offset } => self.rewind(*place, *offset)?,
            Answer::Received => self.finish(),
        };
        if makes_sense { Ok(()) } else { Err(SendError::Violation { answer }) }
    }

    fn go_on_behind(&mut self, verified: &[u64]) -> bool {
        let fits = verified.len() == self.files.len()
            && self.files.iter().zip(verified).all(|(file, verified)| *verified <= file.size);
        if self.stage != Stage::Offering || !fits {
            return false;
        }
        for (file, verified) in self.files.iter_mut().zip(verified) {
            (file.sent, file.verified) = (*verified, *verified);
        }
        self.attempt = 0;
        self.stage = Stage::Sending;
        true
    }

    fn confirm(&mut self, place: u32, offset: u64) -> bool {
        let sending = self.stage == Stage::Sending;
        match self.files.get_mut(place as usize) {
            Some(file) if sending && (file.verified..=file.sent).contains(&offset) => {
                file.verified = offset;
                true
            }
            _ => false,
        }
    }

    /// Goes back to an offset. The receiver drops what is under way behind it, in later files too.
    fn rewind(&mut self, place: u32, offset: u64) -> Result<bool, SendError> {
        let place = place as usize;
        let possible = self.files.get(place).is_some_and(|file| offset <= file.sent);
        if self.stage != Stage::Sending || !possible {
            return Ok(false);
        }
        self.repeats += 1;
        if self.repeats > self.config.max_repeats {
            return Err(SendError::TooManyRepeats { repeats: self.repeats });
        }
        self.attempt += 1;
        self.files[place].verified = offset;
        for file in &mut self.files[place..] {
            file.sent = file.verified;
        }
        Ok(true)
    }

    fn finish(&mut self) -> bool {
        let all_verified = self.files.iter().all(|file| file.verified == file.size);
        if self.stage != Stage::Sending || !all_verified {
            return false;
        }
        self.stage = Stage::Delivered;
        true
    }

    /// Bytes of files that the receiver has verified.
    pub fn verified_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.verified).sum()
    }
}
