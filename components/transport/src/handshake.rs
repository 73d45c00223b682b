//! Who may open a stream to this store.

use std::sync::Arc;

use proto::transport::{Hello, Welcome};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::Status;
use types::StoreId;

use crate::collaborators::InstanceError;
use crate::shared::Shared;
use crate::wire;

/// Most streams whose Hello is being waited for or checked at a time: strangers cannot make this store keep more.
const MAX_HANDSHAKES: usize = 64;

/// Checks how streams begin, those of messages and those of snapshots. Clones share one bound.
#[derive(Clone)]
pub(crate) struct Handshakes {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

impl Handshakes {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, permits: Arc::new(Semaphore::new(MAX_HANDSHAKES)) }
    }

    /// Waits for a stream's first frame, which is a Hello or `None`, and checks it. Gives the store that said it.
    pub(crate) async fn begin(
        &self,
        remote: &str,
        first: impl Future<Output = Result<Option<Hello>, Status>>,
    ) -> Result<StoreId, Status> {
        self.shake_hands(first).await.map_err(|refused| self.refuse(remote, refused))
    }

    async fn shake_hands(
        &self,
        first: impl Future<Output = Result<Option<Hello>, Status>>,
    ) -> Result<StoreId, Refused> {
        let _permit = self.permits.try_acquire().map_err(|_| Refused::Crowded)?;
        let first = timeout(self.shared.config.connect_timeout, first).await;
        let hello = first.map_err(|_| Refused::Silent)?.map_err(Refused::Stream)?.ok_or(Refused::NoHello)?;
        self.check(&hello)?;
        let from = StoreId(hello.from_store);
        self.shared.check_instance(from, hello.from_instance.into()).await?;
        Ok(from)
    }

    /// The answer to a good Hello.
    pub(crate) fn welcome(&self) -> Welcome {
        let own = &self.shared.identity;
        Welcome { store_id: own.store.0, instance: own.instance.0 }
    }

    /// Counts and logs a refusal, and gives it the form in which it is told.
    pub(crate) fn refuse(&self, remote: &str, refused: Refused) -> Status {
        self.shared.metrics.count_refused(refused.label());
        slog::warn!(self.shared.logger, "stream refused"; "remote" => remote, "cause" => %refused);
        Status::from(refused)
    }

    fn check(&self, hello: &Hello) -> Result<(), Refused> {
        let own = &self.shared.identity;
        if hello.version != wire::VERSION {
            return Err(Refused::Version(hello.version));
        }
        if hello.cluster_id != own.cluster.0 {
            return Err(Refused::Cluster { came: hello.cluster_id, own: own.cluster.0 });
        }
        if hello.to_store != own.store.0 {
            return Err(Refused::Store { came: hello.to_store, own: own.store.0 });
        }
        if hello.from_store == own.store.0 || hello.from_store == 0 {
            return Err(Refused::Sender(hello.from_store));
        }
        Ok(())
    }
}

/// Why a stream was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("too many streams are being opened: try again later")]
    Crowded,
    #[error("no Hello came in time")]
    Silent,
    #[error("the stream broke before its Hello: {}", .0.message())]
    Stream(Status),
    #[error("a stream begins with a Hello")]
    NoHello,
    #[error("protocol version {0} is not known here (this store speaks {own}): use stores of the same release", own = wire::VERSION)]
    Version(u32),
    #[error("this store is of cluster {own}, not of {came}: check the addresses and data directories")]
    Cluster { came: u64, own: u64 },
    #[error("this is store {own}, not {came}: look its address up again")]
    Store { came: u64, own: u64 },
    #[error("a stream to this store cannot come from store {0}")]
    Sender(u64),
    #[error(transparent)]
    Instance(#[from] InstanceError),
}

impl Refused {
    /// The reason as a metric's label.
    const fn label(&self) -> &'static str {
        match self {
            Self::Crowded => "crowded",
            Self::Silent | Self::NoHello => "no_hello",
            Self::Stream(_) => "stream_error",
            Self::Version(_) => "wrong_version",
            Self::Cluster { .. } => "wrong_cluster",
            Self::Store { .. } | Self::Sender(_) => "wrong_store",
            Self::Instance(_) => "wrong_instance",
        }
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let text = refused.to_string();
        match refused {
            Refused::Crowded => Self::resource_exhausted(text),
            Refused::Silent => Self::deadline_exceeded(text),
            Refused::Stream(status) => status,
            Refused::NoHello | Refused::Sender(_) => Self::invalid_argument(text),
            Refused::Version(_) | Refused::Cluster { .. } | Refused::Store { .. } => Self::failed_precondition(text),
            Refused::Instance(InstanceError::Changed { .. }) => Self::permission_denied(text),
            Refused::Instance(InstanceError::Unavailable { .. }) => Self::unavailable(text),
        }
    }
}
