//! The service as gRPC sees it.

use std::convert::identity;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use observe::ServerMetrics;
use proto::kvrpcpb::*;
use proto::tikvpb::tikv_server::{Tikv, TikvServer};
use proto::tikvpb::{BatchCommandsRequest, BatchCommandsResponse};
use slog::Logger;
use store::StoreHandle;
use tokio::sync::oneshot;
use tonic::codegen::{BoxStream, InterceptedService};
use tonic::{Request, Response, Status, Streaming};

use super::batch::BatchStream;
use super::evaluate::{Answer, Evaluator};
use super::header::WrongCluster;
use super::plan::RawRequest;
use super::unsupported::UNSUPPORTED;
use super::{KvConfig, deadline, split};
use crate::moves::Splits;

/// `tikvpb.Tikv`, ready to be added to a gRPC server.
pub type TikvGrpc = InterceptedService<TikvServer<TikvService>, fn(Request<()>) -> Result<Request<()>, Status>>;

/// Serves `tikvpb.Tikv` for one store.
pub struct TikvService {
    evaluator: Arc<Evaluator>,
    splits: Splits,
    health: HealthFeedbacks,
}

impl TikvService {
    /// The service of a store, whose regions are split by `splits`.
    pub fn new(
        store: StoreHandle,
        splits: Splits,
        config: KvConfig,
        metrics: Arc<ServerMetrics>,
        logger: Logger,
    ) -> Self {
        let evaluator = Arc::new(Evaluator::new(store, config, metrics, logger));
        let health = HealthFeedbacks { evaluator: Arc::clone(&evaluator), last: Arc::default() };
        Self { evaluator, splits, health }
    }

    /// The service as a gRPC server takes it. Messages up to [`KvConfig::max_message_bytes`] are taken; the requests in
    /// them are checked against smaller bounds.
    pub fn into_server(self) -> TikvGrpc {
        let limit = self.evaluator.config.max_message_bytes;
        let server = TikvServer::new(self).max_decoding_message_size(limit);
        InterceptedService::new(server, deadline::note)
    }

    /// A stream of answers to the requests of `inbound`.
    pub(super) fn open_stream<S>(&self, inbound: S) -> BatchStream<S> {
        BatchStream::new(Arc::clone(&self.evaluator), self.health.clone(), inbound)
    }

    async fn serve<C: RawRequest>(&self, request: Request<C>) -> Result<Response<C::Response>, Status> {
        deadline::check(request.extensions())?;
        let (sender, receiver) = oneshot::channel();
        self.evaluator.evaluate(request.into_inner(), identity, move |answer| {
            // The call may have been cancelled: nobody waits for the answer then.
            let _ = sender.send(answer);
        })?;
        let answer = receiver.await.expect("the store answers every request, with `undetermined` if need be");
        Ok(Response::new(match answer {
            Answer::Ready(response) => response,
            Answer::Quick(rest) => rest(),
            Answer::Long(rest) => self.evaluator.run_long(rest).await,
        }))
    }
}

impl From<WrongCluster> for Status {
    fn from(error: WrongCluster) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// Tells clients how well the store does, each time with a higher number, so that the newest is known.
#[derive(Clone)]
pub(super) struct HealthFeedbacks {
    evaluator: Arc<Evaluator>,
    last: Arc<AtomicU64>,
}

impl HealthFeedbacks {
    pub(super) fn next(&self) -> GetHealthFeedbackResponse {
        let feedback = HealthFeedback {
            store_id: self.evaluator.store_id().0,
            feedback_seq_no: self.last.fetch_add(1, Ordering::Relaxed) + 1,
            slow_score: self.evaluator.slow_score(),
        };
        GetHealthFeedbackResponse { health_feedback: Some(feedback), ..GetHealthFeedbackResponse::default() }
    }
}

macro_rules! tikv {
    (
        served { $($served:ident($request:ident) -> $response:ident;)* }
        unserved { $($unserved:ident($other:ident) -> $nothing:ident;)* }
    ) => {
        #[tonic::async_trait]
        impl Tikv for TikvService {
            $(
                async fn $served(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                    self.serve(request).await
                }
            )*

            $(
                async fn $unserved(&self, _: Request<$other>) -> Result<Response<$nothing>, Status> {
                    Err(Status::unimplemented(UNSUPPORTED))
                }
            )*

            async fn split_region(
                &self,
                request: Request<SplitRegionRequest>,
            ) -> Result<Response<SplitRegionResponse>, Status> {
                deadline::check(request.extensions())?;
                let request = request.into_inner();
                self.evaluator.check_cluster(request.context.as_ref())?;
                Ok(Response::new(split::split(&self.evaluator, &self.splits, request).await))
            }

            async fn get_health_feedback(
                &self,
                _: Request<GetHealthFeedbackRequest>,
            ) -> Result<Response<GetHealthFeedbackResponse>, Status> {
                Ok(Response::new(self.health.next()))
            }

            async fn batch_commands(
                &self,
                request: Request<Streaming<BatchCommandsRequest>>,
            ) -> Result<Response<BoxStream<BatchCommandsResponse>>, Status> {
                Ok(Response::new(Box::pin(self.open_stream(request.into_inner()))))
            }
        }
    };
}

tikv! {
    served {
        raw_get(RawGetRequest) -> RawGetResponse;
        raw_batch_get(RawBatchGetRequest) -> RawBatchGetResponse;
        raw_put(RawPutRequest) -> RawPutResponse;
        raw_batch_put(RawBatchPutRequest) -> RawBatchPutResponse;
        raw_delete(RawDeleteRequest) -> RawDeleteResponse;
        raw_batch_delete(RawBatchDeleteRequest) -> RawBatchDeleteResponse;
        raw_scan(RawScanRequest) -> RawScanResponse;
        raw_batch_scan(RawBatchScanRequest) -> RawBatchScanResponse;
        raw_delete_range(RawDeleteRangeRequest) -> RawDeleteRangeResponse;
        raw_get_key_ttl(RawGetKeyTtlRequest) -> RawGetKeyTtlResponse;
        raw_compare_and_swap(RawCasRequest) -> RawCasResponse;
        raw_checksum(RawChecksumRequest) -> RawChecksumResponse;
        raw_coprocessor(RawCoprocessorRequest) -> RawCoprocessorResponse;
    }
    unserved {
        kv_get(GetRequest) -> GetResponse;
        kv_scan(ScanRequest) -> ScanResponse;
        kv_prewrite(PrewriteRequest) -> PrewriteResponse;
        kv_pessimistic_lock(PessimisticLockRequest) -> PessimisticLockResponse;
        kv_pessimistic_rollback(PessimisticRollbackRequest) -> PessimisticRollbackResponse;
        kv_txn_heart_beat(TxnHeartBeatRequest) -> TxnHeartBeatResponse;
        kv_check_txn_status(CheckTxnStatusRequest) -> CheckTxnStatusResponse;
        kv_check_secondary_locks(CheckSecondaryLocksRequest) -> CheckSecondaryLocksResponse;
        kv_commit(CommitRequest) -> CommitResponse;
        kv_cleanup(CleanupRequest) -> CleanupResponse;
        kv_batch_get(BatchGetRequest) -> BatchGetResponse;
        kv_batch_rollback(BatchRollbackRequest) -> BatchRollbackResponse;
        kv_scan_lock(ScanLockRequest) -> ScanLockResponse;
        kv_resolve_lock(ResolveLockRequest) -> ResolveLockResponse;
        kv_gc(GcRequest) -> GcResponse;
        kv_delete_range(DeleteRangeRequest) -> DeleteRangeResponse;
        unsafe_destroy_range(UnsafeDestroyRangeRequest) -> UnsafeDestroyRangeResponse;
        get_store_safe_ts(StoreSafeTsRequest) -> StoreSafeTsResponse;
    }
}
