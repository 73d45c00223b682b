//! Keys that are written once and never changed: each that was acknowledged must be there at the end, byte by byte, and
//! nothing that nobody wrote. They have a column family to themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tikv_client::{ColumnFamily, RawClient};
use tokio::task::JoinSet;

/// Keys begin with one of these, so that they lie in all regions of the default shape.
const REGIONS: [&str; 6] = ["b", "f", "j", "o", "t", "y"];
/// Keys that are read by one request.
const KEYS_PER_READ: usize = 1000;
/// Values of up to this many bytes, so that logs grow and are compacted.
const VALUE_BYTES: u64 = 2048;
/// A writer whose request failed at once does not flood the stores with further ones.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// Writers at work. End them by [`finish`](Self::finish).
pub struct Ledger {
    writers: JoinSet<Page>,
    is_over: Arc<AtomicBool>,
}

/// What was written, and which of it was acknowledged.
#[derive(Default)]
pub struct Page {
    acknowledged: BTreeMap<String, String>,
    unknown: BTreeMap<String, String>,
}

impl Ledger {
    pub fn start(client: &RawClient, writers: u64) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut set = JoinSet::new();
        for writer in 0..writers {
            set.spawn(write(client.with_cf(ColumnFamily::Write), writer, Arc::clone(&is_over)));
        }
        Self { writers: set, is_over }
    }

    /// Ends the writers.
    pub async fn finish(mut self) -> Page {
        self.is_over.store(true, Ordering::Relaxed);
        let mut page = Page::default();
        while let Some(written) = self.writers.join_next().await {
            let written = written.expect("a writer does not panic");
            page.acknowledged.extend(written.acknowledged);
            page.unknown.extend(written.unknown);
        }
        page
    }
}

async fn write(client: RawClient, writer: u64, is_over: Arc<AtomicBool>) -> Page {
    let mut page = Page::default();
    for number in 0_u64.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let region = REGIONS[(number % REGIONS.len() as u64) as usize];
        let (key, value) = (format!("{region}/{writer}/{number}"), value(writer, number));
        match client.put(key.clone(), value.clone()).await {
            Ok(()) => drop(page.acknowledged.insert(key, value)),
            Err(_) => {
                page.unknown.insert(key, value);
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
    page
}

/// A value that no other key has, of a length that varies.
fn value(writer: u64, number: u64) -> String {
    let name = format!("{writer}.{number},");
    let bytes = number.wrapping_mul(797) % VALUE_BYTES;
    name.repeat(1 + bytes as usize / name.len())
}

impl Page {
    /// How many writes were acknowledged, and how many ended unknown.
    pub fn counts(&self) -> [usize; 2] {
        [self.acknowledged.len(), self.unknown.len()]
    }

    /// Reads every key as a client does.
    pub async fn read(&self, client: &client::RawClient) -> BTreeMap<Bytes, Bytes> {
        let client = client.with_column_family(types::ColumnFamily::Write);
        let keys: Vec<_> = self.acknowledged.keys().chain(self.unknown.keys()).cloned().collect();
        let mut found = BTreeMap::new();
        for keys in keys.chunks(KEYS_PER_READ) {
            found.extend(client.batch_get(keys.to_vec()).await.expect("the cluster serves at the end"));
        }
        found
    }

    /// # Errors
    /// When something acknowledged is not in `found`, or something is that was not written.
    pub fn check(&self, found: &BTreeMap<Bytes, Bytes>) -> Result<(), String> {
        let holds = |(key, value): &(&String, &String)| {
            found.get(key.as_bytes()).is_some_and(|found| found[..] == *value.as_bytes())
        };
        let lost: Vec<_> = self.acknowledged.iter().filter(|pair| !holds(pair)).map(|(key, _)| key).collect();
        if !lost.is_empty() {
            return Err(format!("{} of {} acknowledged writes are lost: {lost:?}", lost.len(), self.counts()[0]));
        }
        let written = self.acknowledged.iter().chain(&self.unknown).filter(holds).count();
        let phantoms = found.len() - written;
        if phantoms > 0 { Err(format!("{phantoms} keys have values that nobody wrote")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_or_written_by_nobody_is_found() {
        let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let page = Page { acknowledged: [text("a", "1")].into(), unknown: [text("b", "2")].into() };
        let found = |pairs: &[(&'static str, &'static str)]| -> BTreeMap<Bytes, Bytes> {
            pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
        };
        page.check(&found(&[("a", "1")])).unwrap();
        page.check(&found(&[("a", "1"), ("b", "2")])).unwrap();
        for lost in [&[][..], &[("b", "2")], &[("a", "2")]] {
            assert!(page.check(&found(lost)).unwrap_err().contains("lost"), "{lost:?}");
        }
        for phantom in [&[("a", "1"), ("b", "1")][..], &[("a", "1"), ("c", "3")]] {
            assert!(page.check(&found(phantom)).unwrap_err().contains("nobody wrote"), "{phantom:?}");
        }
    }
}
