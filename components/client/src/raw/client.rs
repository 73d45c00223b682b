//! The calls.

use std::sync::Arc;

use bytes::Bytes;
use proto::kvrpcpb;
use slog::Logger;
use types::ColumnFamily;

use crate::pd::{PdClient, PdConfig};
use crate::raw::call::Call;
use crate::raw::config::ClientConfig;
use crate::raw::error::ClientError;
use crate::raw::region_cache::{Route, Seek};
use crate::raw::retry::Retry;
use crate::raw::router::Router;

/// How a compare-and-swap ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swap {
    /// Whether the key had the expected value and has the new one now.
    pub swapped: bool,
    /// The value before; `None` when the key did not exist.
    pub previous: Option<Bytes>,
}

/// Reads and writes keys of one column family; cheap to clone.
///
/// Region errors, lost connections and moved leaders are handled inside: a call ends with its answer, or with an error
/// that says whether a write may have taken effect ([`ClientError::had_no_effect`]).
///
/// ```no_run
/// # async fn example() -> Result<(), client::ClientError> {
/// let client = client::RawClient::connect(["127.0.0.1:2379"]).await?;
/// client.put("key", "value").await?;
/// assert_eq!(client.get("key").await?.as_deref(), Some(&b"value"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RawClient {
    pub(crate) router: Arc<Router>,
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) column_family: ColumnFamily,
}

impl RawClient {
    /// Connects to a cluster by its placement driver, with all defaults.
    pub async fn connect(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, ClientError> {
        let logger = Logger::root(slog::Discard, slog::o!());
        let pd = PdClient::connect(PdConfig::new(endpoints), logger).await?;
        Ok(Self::new(pd, ClientConfig::default()))
    }

    /// A client that finds regions by this placement driver's client.
    pub fn new(pd: PdClient, config: ClientConfig) -> Self {
        let config = Arc::new(config);
        let router = Arc::new(Router::new(pd, Arc::clone(&config)));
        Self { router, config, column_family: ColumnFamily::Default }
    }

    /// The same client for another column family.
    #[must_use]
    pub fn with_column_family(&self, column_family: ColumnFamily) -> Self {
        Self { column_family, ..self.clone() }
    }

    /// The column family as requests name it: the default one by an empty name, which costs nothing.
    pub(crate) fn cf(&self) -> String {
        match self.column_family {
            ColumnFamily::Default => String::new(),
            other => other.name().to_owned(),
        }
    }

    /// The value of a key; `None` when it does not exist.
    pub async fn get(&self, key: impl Into<Bytes>) -> Result<Option<Bytes>, ClientError> {
        let request = kvrpcpb::RawGetRequest { context: None, key: key.into(), cf: self.cf() };
        let answer = self.on_key(request.key.clone(), request).await?;
        Ok((!answer.not_found).then_some(answer.value))
    }

    /// Sets a key.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<(), ClientError> {
        let (key, value) = (key.into(), value.into());
        let request = kvrpcpb::RawPutRequest { key, value, cf: self.cf(), ..Default::default() };
        self.on_key(request.key.clone(), request).await?;
        Ok(())
    }

    /// Removes a key; removing one that does not exist is no error.
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<(), ClientError> {
        let request = kvrpcpb::RawDeleteRequest { key: key.into(), cf: self.cf(), ..Default::default() };
        self.on_key(request.key.clone(), request).await?;
        Ok(())
    }

    /// Sets a key if it has the expected value (`None`: if it does not exist), atomically. Never sent again after an
    /// unknown outcome: that is told as [`ClientError::Undetermined`].
    pub async fn compare_and_swap(
        &self,
        key: impl Into<Bytes>,
        expected: Option<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<Swap, ClientError> {
        let request = kvrpcpb::RawCasRequest {
            key: key.into(),
            value: value.into(),
            previous_not_exist: expected.is_none(),
            previous_value: expected.unwrap_or_default(),
            cf: self.cf(),
            ..Default::default()
        };
        let answer = self.on_key(request.key.clone(), request).await?;
        let previous = (!answer.previous_not_exist).then_some(answer.previous_value);
        Ok(Swap { swapped: answer.succeed, previous })
    }

    /// Has a request served by the region that holds a key.
    async fn on_key<C: Call>(&self, key: Bytes, call: C) -> Result<C::Answer, ClientError> {
        let (_, answer) = self.on_region(Seek::At(key), |_| call.clone()).await?;
        Ok(answer)
    }

    /// Has a request that is made for a region served by it, and gives that region with the answer.
    pub(crate) async fn on_region<C: Call>(
        &self,
        seek: Seek,
        request: impl Fn(&Route) -> C,
    ) -> Result<(Route, C::Answer), ClientError> {
        let mut retry = Retry::new(C::KIND, &self.config);
        loop {
            let failure = match self.router.route(&seek, retry.deadline()).await {
                Ok(route) => match self.router.attempt(&route, request(&route), retry.deadline()).await {
                    Ok(answer) => return Ok((route, answer)),
                    Err(failure) => failure,
                },
                Err(failure) => failure,
            };
            retry.after(failure).await?;
        }
    }
}
