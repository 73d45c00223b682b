//! A counter that many tasks raise by compare-and-swap.
//!
//! Its value is the list of its increments, each named by its task and a number: the count is the length of the list, and a
//! task whose request ended unknown, or was sent twice by the client, finds out from the list whether it was counted.
//! A request that is repeated cannot count twice: the list grows only, so of two requests that expect the same list one
//! alone can succeed, and one that expects a longer list is only sent when the increment is not in it.

use std::collections::BTreeSet;
use std::time::Duration;

use tikv_client::RawClient;
use tokio::task::JoinSet;

use crate::support::wait::PATIENCE;

/// A task whose request failed at once does not flood the stores with further ones.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// How the requests ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contention {
    pub swapped: u64,
    /// Somebody else was faster.
    pub refused: u64,
    /// Requests that said they did nothing, of increments that the list had nevertheless: the client had sent them twice,
    /// or an attempt before had ended unknown.
    pub own_seen: u64,
    pub unknown: u64,
}

impl std::ops::AddAssign for Contention {
    fn add_assign(&mut self, other: Self) {
        self.swapped += other.swapped;
        self.refused += other.refused;
        self.own_seen += other.own_seen;
        self.unknown += other.unknown;
    }
}

/// Has `tasks` tasks raise the counter `each` times, and checks that it adds up.
///
/// # Panics
/// When an increment is missing, counted twice, or was made by nobody.
pub async fn count(client: &RawClient, key: &str, tasks: u64, each: u64) -> Contention {
    let client = client.with_atomic_for_cas();
    let mut running = JoinSet::new();
    for task in 0..tasks {
        running.spawn(raise(client.clone(), key.to_owned(), task, each));
    }
    let mut contention = Contention::default();
    while let Some(done) = running.join_next().await {
        contention += done.expect("a task does not panic");
    }
    let list = read(&client, key).await;
    let counted: Vec<_> = list.split(',').collect();
    let names: BTreeSet<_> = counted.iter().copied().collect();
    let wanted: Vec<_> = (0..tasks).flat_map(|task| (0..each).map(move |number| name(task, number))).collect();
    let missing: Vec<_> = wanted.iter().filter(|name| !names.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "counter {key} lost the increments {missing:?}; {contention:?}\n{list}");
    assert_eq!(counted.len(), wanted.len(), "counter {key} counted some twice or from nowhere; {contention:?}\n{list}");
    contention
}

fn name(task: u64, number: u64) -> String {
    format!("{task}.{number}")
}

async fn raise(client: RawClient, key: String, task: u64, each: u64) -> Contention {
    let mut contention = Contention::default();
    let mut current: Option<Vec<u8>> = None;
    for number in 0..each {
        let name = name(task, number);
        loop {
            let list = current.as_deref().map(|list| String::from_utf8(list.to_vec()).unwrap());
            if list.as_deref().is_some_and(|list| list.split(',').any(|other| other == name)) {
                contention.own_seen += 1;
                break;
            }
            let raised = list.map_or_else(|| name.clone(), |list| format!("{list},{name}")).into_bytes();
            match client.compare_and_swap(key.clone(), current.clone(), raised.clone()).await {
                Ok((_, true)) => {
                    contention.swapped += 1;
                    current = Some(raised);
                    break;
                }
                Ok((previous, false)) => {
                    contention.refused += 1;
                    current = previous;
                }
                Err(_) => {
                    contention.unknown += 1;
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }
    contention
}

async fn read(client: &RawClient, key: &str) -> String {
    let read = async {
        loop {
            match client.get(key.to_owned()).await {
                Ok(value) => return String::from_utf8(value.unwrap_or_default()).unwrap(),
                Err(_) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("counter {key} cannot be read"))
}
