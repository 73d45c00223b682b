//! Asking the placement driver and the stores.

use std::time::Duration;

use bytes::Bytes;
use client::http::{HttpError, Method, request};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::sleep;
use types::range::HexKey;
use types::{RegionId, StoreId};

use super::answers::{Region, Store, Stores};
use super::error::{CtlError, Whom};

/// Where the placement driver has its paths for people.
const PD_PREFIX: &str = "/pd/api/v1";

/// How often a region's leader is looked for before an order to it is given up.
const ORDER_ATTEMPTS: usize = 10;

/// The pause between two looks.
const ORDER_PAUSE: Duration = Duration::from_millis(300);

/// What those say who do not know a path at all, unlike what it names.
const NO_PATH: &str = "no such path";

/// Longest text of a refusal that is shown.
const MAX_MESSAGE_BYTES: usize = 2048;

/// A running cluster, over HTTP; cheap to clone.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The placement driver's addresses; the first that answers is asked.
    pd: Vec<String>,
    patience: Duration,
}

impl Cluster {
    /// The cluster of the placement driver at one of these addresses. Answers are waited for as long as `patience` lasts.
    pub fn new(pd: Vec<String>, patience: Duration) -> Self {
        Self { pd, patience }
    }

    /// The same, waiting so long for answers.
    #[must_use]
    pub fn patient(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// Asks the placement driver for one of its paths for people.
    ///
    /// # Errors
    /// When nobody can be reached, or it refuses.
    pub async fn pd(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, CtlError> {
        let path = format!("{PD_PREFIX}{path}");
        let mut last = CtlError::Usage("no address of a placement driver is given: name one with --pd".to_owned());
        for address in &self.pd {
            match self.ask(Whom::Pd, address, method, &path, body.as_ref()).await {
                Err(error @ CtlError::Unreachable { .. }) => last = error,
                answer => return answer,
            }
        }
        Err(last)
    }

    /// Asks a store's status port.
    ///
    /// # Errors
    /// When it cannot be reached, or refuses.
    pub async fn at_store(
        &self,
        store: &Store,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CtlError> {
        let address = &store.store.status_address;
        if address.is_empty() {
            return Err(CtlError::NoStatusAddress(store.id()));
        }
        self.ask(Whom::Store(store.id()), address, method, path, body).await
    }

    async fn ask(
        &self,
        who: Whom,
        address: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CtlError> {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let asked = request(address, method, path, body, self.patience).await;
        let answer = asked.map_err(|error: HttpError| CtlError::http(who, error, method != Method::Get))?;
        let read = serde_json::from_slice(&answer.body);
        if (200..300).contains(&answer.status) {
            return read.map_err(|error| CtlError::Answer { who, problem: error.to_string() });
        }
        let message = message(read.ok(), &answer.body);
        if answer.status == 404 && message == NO_PATH {
            return Err(CtlError::Stranger { who, address: address.to_owned() });
        }
        Err(CtlError::Refused { who, status: answer.status, message })
    }

    /// The stores that belong to the cluster.
    ///
    /// # Errors
    /// See [`pd`](Self::pd).
    pub async fn stores(&self) -> Result<Vec<Store>, CtlError> {
        let stores: Stores = read(Whom::Pd, self.pd(Method::Get, "/stores", None).await?)?;
        Ok(stores.stores)
    }

    /// A store.
    ///
    /// # Errors
    /// See [`pd`](Self::pd); there may be none with this id.
    pub async fn store(&self, store: StoreId) -> Result<Store, CtlError> {
        read(Whom::Pd, self.pd(Method::Get, &format!("/store/{store}"), None).await?)
    }

    /// A region.
    ///
    /// # Errors
    /// See [`pd`](Self::pd); there may be none with this id.
    pub async fn region(&self, region: RegionId) -> Result<Region, CtlError> {
        let answer: Option<Region> = read(Whom::Pd, self.region_json(region).await?)?;
        answer.ok_or(CtlError::UnknownRegion(region))
    }

    /// A region as JSON, or null.
    ///
    /// # Errors
    /// See [`pd`](Self::pd).
    pub async fn region_json(&self, region: RegionId) -> Result<Value, CtlError> {
        self.pd(Method::Get, &format!("/region/id/{region}"), None).await
    }

    /// The region that holds a key as JSON, or null.
    ///
    /// # Errors
    /// See [`pd`](Self::pd).
    pub async fn region_at_json(&self, key: &[u8]) -> Result<Value, CtlError> {
        if key.is_empty() {
            // An empty part of a path is none: the first region is the first of the list.
            let answer = self.pd(Method::Get, "/regions?limit=1", None).await?;
            return Ok(answer["regions"][0].clone());
        }
        self.pd(Method::Get, &format!("/region/key/{}?format=hex", HexKey(key)), None).await
    }

    /// The region that holds a key.
    ///
    /// # Errors
    /// See [`pd`](Self::pd); there may be none just now.
    pub async fn region_at(&self, key: &[u8]) -> Result<Region, CtlError> {
        let answer: Option<Region> = read(Whom::Pd, self.region_at_json(key).await?)?;
        answer.ok_or_else(|| CtlError::NoRegion(HexKey(key).to_string()))
    }

    /// The first `limit` regions by key, from the one that holds `from` on, as JSON.
    ///
    /// # Errors
    /// See [`pd`](Self::pd).
    pub async fn regions_json(&self, from: &[u8], limit: usize) -> Result<Vec<Value>, CtlError> {
        let mut regions: Vec<Value> = Vec::new();
        let mut from = HexKey(from).to_string();
        while regions.len() < limit {
            let rest = limit - regions.len();
            let mut page = self.pd(Method::Get, &format!("/regions?key={from}&limit={rest}"), None).await?;
            let Some(page) = page["regions"].as_array_mut().filter(|page| !page.is_empty()) else { break };
            regions.append(page);
            let end = regions.last().and_then(|region| region["end_key"].as_str()).unwrap_or_default();
            // Behind the last there is nothing; and a list that does not go on would never end.
            if end.is_empty() || *end <= *from {
                break;
            }
            end.clone_into(&mut from);
        }
        Ok(regions)
    }

    /// Asks the placement driver for an operator.
    ///
    /// # Errors
    /// See [`pd`](Self::pd).
    pub async fn add_operator(&self, wish: Value) -> Result<Value, CtlError> {
        self.pd(Method::Post, "/operators", Some(wish)).await
    }

    /// Gives an order for a region to the store that leads it, and looks for its leader again when that is another by then.
    ///
    /// # Errors
    /// When it is not led, or its leader refuses.
    pub async fn order(&self, region: RegionId, order: &str, body: Option<Value>) -> Result<Value, CtlError> {
        let path = format!("/regions/{region}/{order}");
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.order_once(region, &path, body.as_ref()).await {
                Err(error) if error.may_pass() && attempt < ORDER_ATTEMPTS => sleep(ORDER_PAUSE).await,
                answer => return answer,
            }
        }
    }

    async fn order_once(&self, region: RegionId, path: &str, body: Option<&Value>) -> Result<Value, CtlError> {
        let leader = self.region(region).await?.leader_store().ok_or(CtlError::NoLeader(region))?;
        self.at_store(&self.store(leader).await?, Method::Post, path, body).await
    }

    /// Cuts regions at keys, wherever those lie. Gives the regions that there are then around them, as JSON.
    ///
    /// # Errors
    /// When a key's region is not led, or its leader refuses. Regions may have been cut at other keys by then.
    pub async fn split(&self, keys: &[Bytes]) -> Result<Vec<Value>, CtlError> {
        let mut rest: Vec<&Bytes> = keys.iter().collect();
        let (mut made, mut attempt): (Vec<Value>, usize) = (Vec::new(), 0);
        while let Some(key) = rest.first() {
            attempt += 1;
            match self.split_at(key, &rest).await {
                Ok((regions, region)) => {
                    let is_done = |key: &Bytes| holds(&region, key);
                    rest.retain(|key| !is_done(key));
                    made.extend(regions);
                    attempt = 0;
                }
                // What the placement driver knows of the region may be older than the region.
                Err(error) if attempt < ORDER_ATTEMPTS && is_about_the_moment(&error) => sleep(ORDER_PAUSE).await,
                Err(error) => return Err(error),
            }
        }
        Ok(made)
    }

    /// Cuts the region that holds `key` at all of the keys in it. Gives its parts and what it was.
    async fn split_at(&self, key: &Bytes, keys: &[&Bytes]) -> Result<(Vec<Value>, Region), CtlError> {
        let region = self.region_at(key).await?;
        let leader = region.leader_store().ok_or(CtlError::NoLeader(region.id()))?;
        let inside: Vec<String> =
            keys.iter().filter(|key| holds(&region, key)).map(|key| HexKey(key).to_string()).collect();
        let (store, path) = (self.store(leader).await?, format!("/regions/{}/split", region.id()));
        let mut answer = self.at_store(&store, Method::Post, &path, Some(&json!({ "keys": inside }))).await?;
        let who = Whom::Store(leader);
        let parts = answer["regions"].as_array_mut().map(std::mem::take);
        let parts = parts.ok_or_else(|| CtlError::Answer { who, problem: "it names no regions".to_owned() })?;
        Ok((parts, region))
    }
}

fn is_about_the_moment(error: &CtlError) -> bool {
    error.may_pass() || matches!(error, CtlError::Refused { status: 400, .. })
}

fn holds(region: &Region, key: &[u8]) -> bool {
    types::KeyRange::new(region.start_key.0.clone(), region.end_key.0.clone()).contains(key)
}

/// An answer as what it should be.
///
/// # Errors
/// When it is something else.
pub fn read<T: DeserializeOwned>(who: Whom, answer: Value) -> Result<T, CtlError> {
    serde_json::from_value(answer).map_err(|error| CtlError::Answer { who, problem: error.to_string() })
}

/// Why somebody refused: the placement driver says it as a text, a store as `{"error": …}`.
fn message(answer: Option<Value>, body: &[u8]) -> String {
    let said = match &answer {
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => other["error"].as_str().map(str::to_owned),
        None => None,
    };
    said.unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(MAX_MESSAGE_BYTES)]).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_the_words_of_who_refuses() {
        let told = |body: &str| message(serde_json::from_str(body).ok(), body.as_bytes());
        assert_eq!(told(r#""no store 9""#), "no store 9");
        assert_eq!(told(r#"{"error": "not the leader", "leader": {}}"#), "not the leader");
        assert_eq!(told("<html> "), "<html>");
        assert_eq!(told(r#"{"other": 1}"#), r#"{"other": 1}"#);
        assert_eq!(told(&"x".repeat(10_000)).len(), MAX_MESSAGE_BYTES);
    }

    #[test]
    fn an_answer_of_another_kind_is_said_to_be_one() {
        let error = read::<Stores>(Whom::Pd, json!([1])).map(drop);
        assert!(matches!(error, Err(CtlError::Answer { .. })), "{error:?}");
    }
}
