//! The receiving half: the gRPC service that other stores open their streams to.

use std::sync::Arc;

use futures::{StreamExt, stream};
use proto::transport::store_transport_server::StoreTransport;
use proto::transport::{Batch, Frame, Hello, Welcome, frame};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};
use types::StoreId;

use crate::collaborators::InstanceError;
use crate::metrics::Open;
use crate::session::{Session, Sessions};
use crate::shared::Shared;
use crate::wire;

/// Most streams whose Hello is being waited for or checked at a time: strangers cannot make this store keep more.
const MAX_HANDSHAKES: usize = 64;

/// The service; cheap to clone.
#[derive(Clone)]
pub struct Inbound {
    shared: Arc<Shared>,
    sessions: Arc<Sessions>,
    handshakes: Arc<Semaphore>,
}

impl Inbound {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, sessions: Arc::default(), handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)) }
    }

    /// Waits for the Hello and checks it. Gives the store that said it.
    async fn shake_hands(&self, incoming: &mut Streaming<Frame>) -> Result<StoreId, Refused> {
        let _permit = self.handshakes.try_acquire().map_err(|_| Refused::Crowded)?;
        let first = timeout(self.shared.config.connect_timeout, incoming.message()).await;
        let first = first.map_err(|_| Refused::Silent)?.map_err(Refused::Stream)?;
        let Some(Frame { kind: Some(frame::Kind::Hello(hello)) }) = first else {
            return Err(Refused::NoHello);
        };
        self.check(&hello)?;
        let from = StoreId(hello.from_store);
        self.shared.check_instance(from, hello.from_instance.into()).await?;
        Ok(from)
    }

    fn refuse(&self, remote: &str, refused: Refused) -> Status {
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

#[tonic::async_trait]
impl StoreTransport for Inbound {
    async fn exchange(&self, request: Request<Streaming<Frame>>) -> Result<Response<BoxStream<Welcome>>, Status> {
        let remote = request.remote_addr().map_or_else(|| "an unknown address".to_owned(), |addr| addr.to_string());
        let mut incoming = request.into_inner();
        let from = self.shake_hands(&mut incoming).await.map_err(|refused| self.refuse(&remote, refused))?;
        slog::info!(self.shared.logger, "store connected"; "from_store" => from.0, "remote" => &remote);
        let own = &self.shared.identity;
        let welcome = Welcome { store_id: own.store.0, instance: own.instance.0 };
        let session = self.sessions.begin(from).ok_or_else(|| self.refuse(&remote, Refused::Crowded))?;
        let rest = take_frames(Arc::clone(&self.shared), from, incoming, session);
        let answers =
            stream::iter([Ok(welcome)]).chain(stream::once(rest).filter_map(|end| async { end.err().map(Err) }));
        Ok(Response::new(Box::pin(answers)))
    }
}

/// Hands on what comes in until the stream ends. Runs inside the stream of answers: when the connection goes, so does
/// this.
async fn take_frames(
    shared: Arc<Shared>,
    from: StoreId,
    mut incoming: Streaming<Frame>,
    mut session: Session,
) -> Result<(), Status> {
    let _open = Open::count(&shared.metrics.incoming_streams);
    loop {
        let next = tokio::select! {
            next = incoming.message() => next,
            () = session.replaced() => return Err(Status::aborted("the store opened another stream")),
        };
        match next {
            Ok(Some(Frame { kind: Some(frame::Kind::Batch(batch)) })) => take_batch(&shared, from, batch),
            Ok(Some(_)) => {
                shared.metrics.count_refused("unexpected_frame");
                return Err(Status::invalid_argument("after the Hello come only batches"));
            }
            Ok(None) => return Ok(()),
            Err(status) => {
                shared.metrics.count_refused("stream_error");
                slog::warn!(shared.logger, "stream broke"; "from_store" => from.0, "cause" => %status);
                return Err(status);
            }
        }
    }
}

fn take_batch(shared: &Shared, from: StoreId, batch: Batch) {
    if shared.is_blocked(from) {
        shared.metrics.count_refused("blocked");
        return;
    }
    for message in batch.messages {
        match wire::decode(message, from, shared.identity.store) {
            Ok(message) => {
                shared.metrics.count_received(&message);
                shared.collaborators.receiver.receive(message);
            }
            Err(error) => {
                shared.metrics.count_refused(error.label());
                // Counted; whoever sends many of them must not fill the log.
                slog::debug!(shared.logger, "message dropped"; "from_store" => from.0, "cause" => %error);
            }
        }
    }
}

/// Why a stream was refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
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
