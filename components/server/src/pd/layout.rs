//! How our stores are born (D14).

use coordinator::{Change, LayoutAnswer};
use observe::metrics::coordinator::CoordinatorRequest;
use proto::coordinator::coordinator_server::Coordinator;
use proto::coordinator::{ConfirmBootstrapRequest, ConfirmBootstrapResponse, GetLayoutRequest, GetLayoutResponse};
use proto::metapb;
use slog::info;
use tonic::{Request, Response, Status};
use types::{InstanceId, StoreId};

use super::bridge::Bridge;
use super::call::check_cluster_id;
use super::refusal::status;

/// The service that hands the first regions out.
pub(super) struct LayoutService(pub(super) Bridge);

impl LayoutService {
    async fn check_cluster(&self, asked: u64) -> Result<(), Status> {
        let cluster = self.0.cluster().await.map_err(|error| status(&error))?;
        check_cluster_id(asked, cluster)
    }

    async fn layout(&self, request: GetLayoutRequest) -> Result<GetLayoutResponse, Status> {
        self.check_cluster(request.cluster_id).await?;
        let (store, instance) = (StoreId(request.store_id), InstanceId(request.instance));
        let layout = self.0.ask(|reply| Change::GetLayout { store, instance, reply }).await;
        match layout.map_err(|error| status(&error))? {
            LayoutAnswer::Waiting { .. } => Ok(GetLayoutResponse::default()),
            LayoutAnswer::Ready { regions } => {
                Ok(GetLayoutResponse { ready: true, regions: regions.iter().map(metapb::Region::from).collect() })
            }
        }
    }

    async fn confirm(&self, request: ConfirmBootstrapRequest) -> Result<ConfirmBootstrapResponse, Status> {
        self.check_cluster(request.cluster_id).await?;
        let (store, instance) = (StoreId(request.store_id), InstanceId(request.instance));
        let confirmed = self.0.ask(|reply| Change::ConfirmBootstrap { store, instance, reply }).await;
        confirmed.map_err(|error| status(&error))?;
        info!(self.0.logger(), "store bootstrapped"; "store" => store.0, "instance" => instance.0);
        Ok(ConfirmBootstrapResponse {})
    }
}

#[tonic::async_trait]
impl Coordinator for LayoutService {
    async fn get_layout(&self, request: Request<GetLayoutRequest>) -> Result<Response<GetLayoutResponse>, Status> {
        let measure = self.0.measure(CoordinatorRequest::Bootstrap);
        self.layout(request.into_inner()).await.inspect_err(|_| measure.failed()).map(Response::new)
    }

    async fn confirm_bootstrap(
        &self,
        request: Request<ConfirmBootstrapRequest>,
    ) -> Result<Response<ConfirmBootstrapResponse>, Status> {
        let measure = self.0.measure(CoordinatorRequest::Bootstrap);
        self.confirm(request.into_inner()).await.inspect_err(|_| measure.failed()).map(Response::new)
    }
}
