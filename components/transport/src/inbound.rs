//! The receiving half: the gRPC service that other stores open their streams to.

use std::sync::Arc;

use futures::{StreamExt, stream};
use proto::transport::store_transport_server::StoreTransport;
use proto::transport::{Batch, Frame, Welcome, frame};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};
use types::StoreId;

use crate::handshake::{Handshakes, Refused};
use crate::metrics::Open;
use crate::session::{Session, Sessions};
use crate::shared::Shared;
use crate::wire;

/// The service; cheap to clone.
#[derive(Clone)]
pub struct Inbound {
    shared: Arc<Shared>,
    sessions: Arc<Sessions>,
    handshakes: Handshakes,
}

impl Inbound {
    pub(crate) fn new(shared: Arc<Shared>, handshakes: Handshakes) -> Self {
        Self { shared, sessions: Arc::default(), handshakes }
    }
}

#[tonic::async_trait]
impl StoreTransport for Inbound {
    async fn exchange(&self, request: Request<Streaming<Frame>>) -> Result<Response<BoxStream<Welcome>>, Status> {
        let remote = request.remote_addr().map_or_else(|| "an unknown address".to_owned(), |addr| addr.to_string());
        let mut incoming = request.into_inner();
        let first = async {
            match incoming.message().await? {
                Some(Frame { kind: Some(frame::Kind::Hello(hello)) }) => Ok(Some(hello)),
                _ => Ok(None),
            }
        };
        let from = self.handshakes.begin(&remote, first).await?;
        slog::info!(self.shared.logger, "store connected"; "from_store" => from.0, "remote" => &remote);
        let welcome = self.handshakes.welcome();
        let session = self.sessions.begin(from).ok_or_else(|| self.handshakes.refuse(&remote, Refused::Crowded))?;
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
