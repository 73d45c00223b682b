//! Which member of the placement driver answers, and how it is found again.

use std::time::Duration;

use parking_lot::RwLock;
use proto::pdpb::pd_client::PdClient as Stub;
use proto::pdpb::{GetMembersRequest, GetMembersResponse, Member};
use slog::Logger;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use types::backoff::Backoff;
use types::causes::with_causes;

use crate::channel::{endpoint, url};
use crate::pd::answer::checked;
use crate::pd::config::PdConfig;
use crate::pd::error::PdError;

/// Most addresses of members that are remembered beside the configured endpoints.
const MAX_LEARNED: usize = 32;

/// Finds the leader, and calls it until it answers or the deadline passes.
pub(crate) struct LeaderCaller {
    config: PdConfig,
    logger: Logger,
    cluster_id: u64,
    current: RwLock<Current>,
    /// Held while the leader is looked for, so that one caller of many does it.
    search: tokio::sync::Mutex<()>,
}

struct Current {
    channel: Channel,
    /// Grows with each new leader.
    generation: u64,
    /// Addresses that members named.
    learned: Vec<String>,
}

/// What an endpoint told.
struct Found {
    channel: Channel,
    cluster_id: u64,
    addresses: Vec<String>,
}

impl LeaderCaller {
    /// Looks for the leader until the request timeout passes.
    pub(crate) async fn connect(config: PdConfig, logger: Logger) -> Result<Self, PdError> {
        let deadline = Instant::now() + config.request_timeout;
        let mut backoff = backoff(&config);
        loop {
            match find(&config, &config.endpoints).await {
                Ok(found) => {
                    let current = Current { channel: found.channel, generation: 0, learned: found.addresses };
                    let (current, search) = (RwLock::new(current), tokio::sync::Mutex::default());
                    return Ok(Self { config, logger, cluster_id: found.cluster_id, current, search });
                }
                Err(error) if error.is_retryable() && Instant::now() < deadline => {
                    pause(&mut backoff, deadline).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    pub(crate) fn config(&self) -> &PdConfig {
        &self.config
    }

    pub(crate) fn logger(&self) -> &Logger {
        &self.logger
    }

    /// The connection to the leader, and its generation.
    pub(crate) fn current(&self) -> (Channel, u64) {
        let current = self.current.read();
        (current.channel.clone(), current.generation)
    }

    /// Calls the leader. What may pass is tried again, with a search for the leader between two attempts.
    pub(crate) async fn call<R, F, Fut>(&self, call: &'static str, send: F) -> Result<R, PdError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let deadline = Instant::now() + self.config.request_timeout;
        let mut backoff = backoff(&self.config);
        loop {
            let (channel, generation) = self.current();
            let limit = (Instant::now() + self.config.attempt_timeout).min(deadline);
            let cause = match timeout_at(limit, send(channel)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if !may_pass(&status) => {
                    return Err(PdError::Status { call, code: status.code(), message: status.message().to_owned() });
                }
                Ok(Err(status)) => format!("{:?}: {}", status.code(), status.message()),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() >= deadline {
                return Err(PdError::Unreachable { call, cause, endpoints: self.config.endpoints.clone() });
            }
            slog::debug!(self.logger, "placement driver did not answer"; "call" => call, "cause" => cause);
            self.search(generation).await?;
            pause(&mut backoff, deadline).await;
        }
    }

    /// Looks for the leader, unless another caller found one since `generation`. False when there is none just now: then
    /// the old one stays.
    pub(crate) async fn search(&self, generation: u64) -> Result<bool, PdError> {
        let _searching = self.search.lock().await;
        if self.current.read().generation != generation {
            return Ok(true);
        }
        let mut endpoints = self.config.endpoints.clone();
        endpoints.extend(self.current.read().learned.iter().cloned());
        match find(&self.config, &endpoints).await {
            Ok(found) if found.cluster_id != self.cluster_id => {
                Err(PdError::OtherCluster { expected: self.cluster_id, found: found.cluster_id })
            }
            Ok(found) => {
                let mut current = self.current.write();
                *current = Current { channel: found.channel, generation: generation + 1, learned: found.addresses };
                Ok(true)
            }
            Err(error) => {
                slog::debug!(self.logger, "placement driver's leader was not found"; "cause" => %error);
                Ok(false)
            }
        }
    }
}

/// Back-off between attempts. Its chance need not be reproducible, only different between callers.
pub(crate) fn backoff(config: &PdConfig) -> Backoff {
    use std::hash::{BuildHasher, RandomState};
    Backoff::new(config.backoff_min, config.backoff_max, RandomState::new().hash_one(0))
}

async fn pause(backoff: &mut Backoff, deadline: Instant) {
    tokio::time::sleep_until((Instant::now() + backoff.pause()).min(deadline)).await;
}

/// Whether the call may succeed when it is repeated, perhaps at another member.
fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Aborted
            | Code::Internal
            | Code::ResourceExhausted
    )
}

/// Asks the endpoints one after the other who leads, and connects to the leader.
async fn find(config: &PdConfig, endpoints: &[String]) -> Result<Found, PdError> {
    let mut last = None;
    for address in endpoints {
        match ask(config, address).await {
            Ok(found) => return Ok(found),
            Err(error @ PdError::BadEndpoint(_)) => return Err(error),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(PdError::NoEndpoints))
}

async fn ask(config: &PdConfig, address: &str) -> Result<Found, PdError> {
    const CALL: &str = "GetMembers";
    let channel = connect(config, address).await?;
    let members = get_members(channel.clone(), config.attempt_timeout).await;
    let members = checked(CALL, members.map_err(|cause| unreachable(CALL, cause, address))?);
    // A member that is about to begin or to end refuses even this.
    let members = members.map_err(|error| unreachable(CALL, error.to_string(), address))?;
    let cluster_id = members.header.map_or(0, |header| header.cluster_id);
    let addresses = addresses(&members.members);
    let leader = members.leader.unwrap_or_default();
    let own = url(address);
    if leader.client_urls.contains(&own) {
        return Ok(Found { channel, cluster_id, addresses });
    }
    for url in &leader.client_urls {
        if let Ok(channel) = connect(config, url).await {
            return Ok(Found { channel, cluster_id, addresses });
        }
    }
    Err(unreachable(CALL, "its leader cannot be reached, or there is none".to_owned(), address))
}

async fn get_members(channel: Channel, limit: Duration) -> Result<GetMembersResponse, String> {
    let mut stub = Stub::new(channel);
    match timeout(limit, stub.get_members(GetMembersRequest::default())).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(format!("{:?}: {}", status.code(), status.message())),
        Err(_) => Err("no answer".to_owned()),
    }
}

async fn connect(config: &PdConfig, address: &str) -> Result<Channel, PdError> {
    let endpoint = endpoint(address, config.connect_timeout).ok_or_else(|| PdError::BadEndpoint(address.to_owned()))?;
    endpoint.connect().await.map_err(|error| unreachable("GetMembers", with_causes(&error), address))
}

fn unreachable(call: &'static str, cause: String, address: &str) -> PdError {
    PdError::Unreachable { call, cause, endpoints: vec![address.to_owned()] }
}

fn addresses(members: &[Member]) -> Vec<String> {
    members.iter().flat_map(|member| &member.client_urls).take(MAX_LEARNED).cloned().collect()
}
