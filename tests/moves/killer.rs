//! Kills stores while something else goes on.

use std::pin::pin;
use std::time::Duration;

use types::seed::Rng;

use crate::placement::Placement;
use crate::support::http;
use crate::support::process::Process;
use crate::support::wait::until;

/// Before another victim is looked for.
const PAUSE: Duration = Duration::from_millis(20);

/// Kills one store after the other. The next one falls when the last one serves again, so that one is down at a time.
pub struct Killer {
    rng: Rng,
    placement: Placement,
    kills: u32,
}

impl Killer {
    pub fn new(seed: u64, placement: Placement) -> Self {
        Self { rng: Rng::new(seed), placement, kills: 0 }
    }

    /// How many stores were killed.
    pub fn kills(&self) -> u32 {
        self.kills
    }

    /// Kills until something is reached, and so many times at least. All serve when it returns, but those that have left.
    pub async fn until<T>(&mut self, stores: &mut [Process], at_least: u32, goal: impl Future<Output = T>) -> T {
        let (mut goal, enough) = (pin!(goal), self.kills + at_least);
        let mut reached = None;
        while reached.is_none() || self.kills < enough {
            tokio::select! {
                done = &mut goal, if reached.is_none() => reached = Some(done),
                () = self.strike(stores) => {}
            }
        }
        for store in stores.iter_mut() {
            self.serves_or_left(store).await;
        }
        reached.expect("the loop ends with it")
    }

    async fn strike(&mut self, stores: &mut [Process]) {
        let victim = &mut stores[self.rng.below(stores.len() as u64) as usize];
        self.serves_or_left(victim).await;
        // One that has left for good stays as it is, so that it can be seen that it holds nothing.
        if !victim.is_running() || self.placement.store(victim).await.is_ok_and(|(_, has_left)| has_left) {
            return tokio::time::sleep(PAUSE).await;
        }
        victim.kill();
        self.kills += 1;
        tokio::time::sleep(self.milliseconds(20, 1500)).await;
        self.serves_or_left(victim).await;
        tokio::time::sleep(self.milliseconds(100, 1500)).await;
    }

    /// Starts a store if it does not run, and waits until it serves. One that left while it was down ends by itself.
    async fn serves_or_left(&self, store: &mut Process) {
        let what = format!("{} serves", store.name);
        let (placement, name) = (&self.placement, store.name.clone());
        until(&what, async || {
            let has_left = placement.store(store).await?.1;
            if let Some(ended) = store.ended() {
                assert!(
                    has_left && !ended.status.success(),
                    "{name} ended by itself with {}, has_left={has_left}:\n{}",
                    ended.status,
                    ended.log
                );
            }
            if !store.is_running() {
                if has_left {
                    return Ok(());
                }
                store.start();
            }
            match http::get(&store.status_address, "/readyz").await {
                Ok((200, _)) => Ok(()),
                Ok((status, body)) => Err(format!("/readyz answers {status}: {body}")),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    fn milliseconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.rng.below(to - from))
    }
}
