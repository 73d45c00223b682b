//! Connections to stores.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use proto::tikvpb::tikv_client::TikvClient;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use types::StoreId;

use crate::channel::{MAX_ANSWER_BYTES, lazy};
use crate::pd::PdClient;
use crate::raw::batch_stream::BatchStream;
use crate::raw::call::Call;
use crate::raw::config::ClientConfig;
use crate::raw::error::ClientError;
use crate::raw::retry::Failure;

/// Most stores that are remembered; one more and all are looked up anew.
const MAX_STORES: usize = 4096;

/// A request got no answer.
#[derive(Clone, Debug)]
pub(crate) enum SendError {
    /// It never left: no connection could be made.
    NotSent(Box<Status>),
    /// The store refused it before it looked at what it asks for.
    Refused(Box<Status>),
    /// The store may have taken it.
    Broken(Box<Status>),
}

impl SendError {
    /// The stream broke, or what came on it makes no sense.
    pub(crate) fn broken(problem: &str) -> Self {
        Self::Broken(Box::new(Status::unavailable(problem)))
    }

    /// The end of a stream that many requests shared, some of which the store may have taken, whatever the code is.
    pub(crate) fn of_stream(status: Status) -> Self {
        match Self::from(status) {
            Self::Refused(status) if status.code() != Code::Unimplemented => Self::Broken(status),
            other => other,
        }
    }
}

/// The end of a call with one request.
impl From<Status> for SendError {
    fn from(status: Status) -> Self {
        let refuses = matches!(
            status.code(),
            Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::Unimplemented
                | Code::OutOfRange
                | Code::PermissionDenied
                | Code::Unauthenticated
        );
        if is_connect_error(&status) {
            Self::NotSent(Box::new(status))
        } else if refuses {
            Self::Refused(Box::new(status))
        } else {
            Self::Broken(Box::new(status))
        }
    }
}

fn is_connect_error(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// All stores that this client has talked to.
pub(crate) struct Stores {
    pd: PdClient,
    config: Arc<ClientConfig>,
    connected: RwLock<BTreeMap<StoreId, Arc<Store>>>,
    /// Held while an address is looked up, so that one caller of many does it.
    lookup: tokio::sync::Mutex<()>,
}

impl Stores {
    pub(crate) fn new(pd: PdClient, config: Arc<ClientConfig>) -> Self {
        Self { pd, config, connected: RwLock::default(), lookup: tokio::sync::Mutex::default() }
    }

    /// Connections to a store.
    pub(crate) async fn get(&self, id: StoreId) -> Result<Arc<Store>, Failure> {
        if let Some(store) = self.connected.read().get(&id) {
            return Ok(Arc::clone(store));
        }
        let _looking_up = self.lookup.lock().await;
        if let Some(store) = self.connected.read().get(&id) {
            return Ok(Arc::clone(store));
        }
        // A store that is not known is a region's that moved on: not served, so that the region is looked up again.
        let address = self.pd.get_store(id).await.map_err(|error| Failure::NotServed(error.to_string()))?.address;
        let store = Store::connect(id, &address, &self.config).ok_or_else(|| {
            let problem = format!("its address {address:?} is not of the form host:port");
            Failure::Fatal(ClientError::Answer { store: id.0, problem })
        })?;
        let store = Arc::new(store);
        let mut connected = self.connected.write();
        if connected.len() >= MAX_STORES {
            connected.clear();
        }
        connected.insert(id, Arc::clone(&store));
        Ok(store)
    }

    /// Forgets a store, so that its address is looked up again.
    pub(crate) fn forget(&self, store: &Arc<Store>) {
        let mut connected = self.connected.write();
        if connected.get(&store.id).is_some_and(|current| Arc::ptr_eq(current, store)) {
            connected.remove(&store.id);
        }
    }
}

/// Connections to one store.
pub(crate) struct Store {
    id: StoreId,
    connections: Vec<Connection>,
    next: AtomicUsize,
}

struct Connection {
    stub: TikvClient<Channel>,
    batch: Option<BatchStream>,
}

impl Store {
    /// `None` when the address is none.
    fn connect(id: StoreId, address: &str, config: &ClientConfig) -> Option<Self> {
        let connect = || {
            let channel = lazy(address, config.connect_timeout)?;
            let batch = config.batch_commands.then(|| BatchStream::open(channel.clone(), config));
            let stub = TikvClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
            Some(Connection { stub, batch })
        };
        let connections = (0..config.connections_per_store.max(1)).map(|_| connect()).collect::<Option<_>>()?;
        Some(Self { id, connections, next: AtomicUsize::new(0) })
    }

    /// Sends a request on one of the connections and waits for its answer until the limit.
    pub(crate) async fn send<C: Call>(&self, call: C, limit: Instant) -> Result<C::Answer, SendError> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let connection = &self.connections[next];
        let answering = async {
            if let (Some(batch), Some(into_command)) = (&connection.batch, C::INTO_COMMAND) {
                let reply = batch.call(into_command(call)).await?;
                return C::from_reply(reply).ok_or_else(|| SendError::broken("the reply is another command's"));
            }
            let mut request = Request::new(call);
            // Told to the store too, which may then drop the request instead of doing it too late.
            request.set_timeout(limit.saturating_duration_since(Instant::now()));
            Ok(C::send(request, connection.stub.clone()).await?.into_inner())
        };
        let no_answer = |_| Err(SendError::Broken(Box::new(Status::deadline_exceeded("no answer in time"))));
        timeout_at(limit, answering).await.unwrap_or_else(no_answer)
    }
}
