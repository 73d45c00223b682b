//! Calls with many keys: grouped by region, served by all regions at once.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, stream};
use proto::kvrpcpb;

use crate::raw::call::Call;
use crate::raw::client::RawClient;
use crate::raw::error::ClientError;
use crate::raw::region_cache::{Route, Seek};
use crate::raw::retry::{Failure, Retry};

/// Something with a key, and its size in bytes.
pub(crate) trait Keyed: Clone + Send {
    fn key(&self) -> &Bytes;
    fn size(&self) -> usize;
}

impl Keyed for Bytes {
    fn key(&self) -> &Bytes {
        self
    }

    fn size(&self) -> usize {
        self.len()
    }
}

impl Keyed for (Bytes, Bytes) {
    fn key(&self) -> &Bytes {
        &self.0
    }

    fn size(&self) -> usize {
        self.0.len() + self.1.len()
    }
}

impl RawClient {
    /// The values of those keys that exist, in the order of the keys.
    pub async fn batch_get(
        &self,
        keys: impl IntoIterator<Item = impl Into<Bytes>>,
    ) -> Result<Vec<(Bytes, Bytes)>, ClientError> {
        let keys = keys.into_iter().map(Into::into).collect();
        let request = |keys| kvrpcpb::RawBatchGetRequest { context: None, keys, cf: self.cf() };
        let answers = self.on_keys(keys, request).await?;
        let pairs = answers.into_iter().flat_map(|answer| answer.pairs);
        let mut pairs: Vec<_> = pairs.map(|pair| (pair.key, pair.value)).collect();
        pairs.sort();
        Ok(pairs)
    }

    /// Sets many keys. Keys of one region's request are set together; the whole is not atomic.
    pub async fn batch_put(
        &self,
        pairs: impl IntoIterator<Item = (impl Into<Bytes>, impl Into<Bytes>)>,
    ) -> Result<(), ClientError> {
        let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        let request = |pairs: Vec<(Bytes, Bytes)>| {
            let pairs = pairs.into_iter().map(|(key, value)| kvrpcpb::KvPair { key, value, ..Default::default() });
            kvrpcpb::RawBatchPutRequest { pairs: pairs.collect(), cf: self.cf(), ..Default::default() }
        };
        self.on_keys(pairs, request).await?;
        Ok(())
    }

    /// Removes many keys; like [`batch_put`](Self::batch_put).
    pub async fn batch_delete(&self, keys: impl IntoIterator<Item = impl Into<Bytes>>) -> Result<(), ClientError> {
        let keys = keys.into_iter().map(Into::into).collect();
        let request = |keys| kvrpcpb::RawBatchDeleteRequest { keys, cf: self.cf(), ..Default::default() };
        self.on_keys(keys, request).await?;
        Ok(())
    }

    /// Has requests for all items served; what fails is grouped anew, since regions may have changed.
    async fn on_keys<T: Keyed, C: Call>(
        &self,
        mut items: Vec<T>,
        request: impl Fn(Vec<T>) -> C,
    ) -> Result<Vec<C::Answer>, ClientError> {
        let mut retry = Retry::new(C::KIND, &self.config);
        let mut answers = Vec::new();
        while !items.is_empty() {
            let mut first_failure = None;
            let groups = match self.group(&mut items, &retry).await {
                Ok(groups) => groups,
                Err(failure) => {
                    retry.after(failure).await?;
                    continue;
                }
            };
            let attempts = groups.into_iter().map(|(route, items)| {
                let call = request(items.clone());
                let deadline = retry.deadline();
                async move { (items, self.router.attempt(&route, call, deadline).await) }
            });
            let mut attempts = stream::iter(attempts).buffer_unordered(self.config.concurrency.max(1));
            while let Some((group, outcome)) = attempts.next().await {
                match outcome {
                    Ok(answer) => answers.push(answer),
                    Err(failure) => {
                        items.extend(group);
                        first_failure = Some(worse(first_failure, failure));
                    }
                }
            }
            drop(attempts);
            if let Some(failure) = first_failure {
                retry.after(failure).await?;
            }
        }
        Ok(answers)
    }

    /// Takes the items and groups them into requests, each for one region and within the bounds. Leaves them where they
    /// are when a region cannot be found.
    async fn group<T: Keyed>(&self, items: &mut Vec<T>, retry: &Retry) -> Result<Vec<(Route, Vec<T>)>, Failure> {
        let mut by_region = BTreeMap::new();
        let mut last: Option<Route> = None;
        items.sort_by(|a, b| a.key().cmp(b.key()));
        for item in items.iter() {
            let route = match last.take().filter(|route| route.region.range.contains(item.key())) {
                Some(route) => route,
                None => self.router.route(&Seek::At(item.key().clone()), retry.deadline()).await?,
            };
            let (_, group) = by_region.entry(route.region.id).or_insert_with(|| (route.clone(), Vec::new()));
            group.push(item.clone());
            last = Some(route);
        }
        items.clear();
        let groups = by_region.into_values();
        Ok(groups.flat_map(|(route, items)| self.chunk(items).into_iter().map(move |c| (route.clone(), c))).collect())
    }

    fn chunk<T: Keyed>(&self, items: Vec<T>) -> Vec<Vec<T>> {
        let mut chunks: Vec<Vec<T>> = Vec::new();
        let mut bytes = 0;
        for item in items {
            bytes += item.size();
            match chunks.last_mut() {
                Some(chunk) if chunk.len() < self.config.request_keys && bytes <= self.config.request_bytes => {
                    chunk.push(item);
                }
                _ => {
                    bytes = item.size();
                    chunks.push(vec![item]);
                }
            }
        }
        chunks
    }
}

/// Of two failures the one that says more about how the call may end.
fn worse(first: Option<Failure>, second: Failure) -> Failure {
    let rank = |failure: &Failure| match failure {
        Failure::Redirected(_) => 0,
        Failure::NotServed(_) => 1,
        Failure::Fatal(_) => 2,
        Failure::Unknown(_) => 3,
    };
    match first {
        Some(first) if rank(&first) >= rank(&second) => first,
        _ => second,
    }
}
