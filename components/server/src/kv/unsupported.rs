//! Answers to what this store does not serve: transactions.

use proto::kvrpcpb::{
    BatchGetResponse, BatchRollbackResponse, CheckSecondaryLocksResponse, CheckTxnStatusResponse, CleanupResponse,
    CommitResponse, DeleteRangeResponse, GcResponse, GetResponse, KeyError, PessimisticLockResponse,
    PessimisticRollbackResponse, PrewriteResponse, ResolveLockResponse, ScanLockResponse, ScanResponse,
    TxnHeartBeatResponse,
};
use proto::tikvpb::batch_commands_request::request::Cmd as Command;
use proto::tikvpb::batch_commands_response::response::Cmd as Reply;

/// What such a request is told.
pub(super) const UNSUPPORTED: &str = "this store serves raw requests only: use a raw client";

/// The answer to a request of a stream that is not served; `None` when it is one that is.
///
/// It is of the request's own kind, with the error where its clients look for it, and without a region error, which
/// they would repeat.
pub(super) fn refuse(command: &Command) -> Option<Reply> {
    let abort = || KeyError { abort: UNSUPPORTED.to_owned(), ..KeyError::default() };
    macro_rules! error {
        ($variant:ident, $response:ident) => {
            Reply::$variant($response { error: Some(Box::new(abort())), ..$response::default() })
        };
    }
    macro_rules! errors {
        ($variant:ident, $response:ident) => {
            Reply::$variant($response { errors: vec![abort()], ..$response::default() })
        };
    }
    Some(match command {
        Command::Get(_) => error!(Get, GetResponse),
        Command::Scan(_) => error!(Scan, ScanResponse),
        Command::Prewrite(_) => errors!(Prewrite, PrewriteResponse),
        Command::Commit(_) => error!(Commit, CommitResponse),
        Command::Cleanup(_) => error!(Cleanup, CleanupResponse),
        Command::BatchGet(_) => error!(BatchGet, BatchGetResponse),
        Command::BatchRollback(_) => error!(BatchRollback, BatchRollbackResponse),
        Command::ScanLock(_) => error!(ScanLock, ScanLockResponse),
        Command::ResolveLock(_) => error!(ResolveLock, ResolveLockResponse),
        Command::Gc(_) => error!(Gc, GcResponse),
        Command::PessimisticLock(_) => errors!(PessimisticLock, PessimisticLockResponse),
        Command::PessimisticRollback(_) => errors!(PessimisticRollback, PessimisticRollbackResponse),
        Command::CheckTxnStatus(_) => error!(CheckTxnStatus, CheckTxnStatusResponse),
        Command::TxnHeartBeat(_) => error!(TxnHeartBeat, TxnHeartBeatResponse),
        Command::CheckSecondaryLocks(_) => error!(CheckSecondaryLocks, CheckSecondaryLocksResponse),
        Command::DeleteRange(_) => {
            Reply::DeleteRange(DeleteRangeResponse { error: UNSUPPORTED.to_owned(), ..Default::default() })
        }
        Command::RawGet(_)
        | Command::RawBatchGet(_)
        | Command::RawPut(_)
        | Command::RawBatchPut(_)
        | Command::RawDelete(_)
        | Command::RawBatchDelete(_)
        | Command::RawScan(_)
        | Command::RawDeleteRange(_)
        | Command::RawBatchScan(_)
        | Command::RawCoprocessor(_)
        | Command::GetHealthFeedback(_)
        | Command::Empty(_) => return None,
    })
}
