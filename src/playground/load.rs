//! The load: writes keys through the public protocol, reads every one of them back, and compares.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use client::{ClientError, RawClient};
use slog::{Logger, error, info};
use tokio::task::JoinSet;
use types::seed::Seed;

use super::error::PlaygroundError;
use super::keys::{load_key, load_value};
use super::progress::Progress;
use super::words::Readable;

/// Most requests under way at a time.
const IN_FLIGHT: u64 = 512;

/// Most bytes of values under way at a time.
const BYTES_IN_FLIGHT: u64 = 64 << 20;

/// How often the progress is shown.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);

/// What to load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many keys.
    pub keys: u64,
    /// The size of each value in bytes.
    pub value_bytes: usize,
    /// Makes the values those of this run alone.
    pub run: Seed,
}

impl Load {
    /// Writes every key, reads every key back, and says how fast that was.
    ///
    /// # Errors
    /// When a request fails, or a key was not read back as it was written.
    pub async fn run(self, client: &RawClient, logger: &Logger) -> Result<(), PlaygroundError> {
        let began = Instant::now();
        self.for_each("writing", |number| {
            let (client, value) = (client.clone(), load_value(self.run, number, self.value_bytes));
            async move { client.put(load_key(number), value).await.map(|()| None) }
        })
        .await?;
        self.tell("wrote", began.elapsed(), logger)?;

        let began = Instant::now();
        let wrong = self.for_each("reading", |number| {
            let (client, expected) = (client.clone(), load_value(self.run, number, self.value_bytes));
            async move {
                let found = client.get(load_key(number)).await?;
                let is_missing = found.is_none();
                Ok((found != Some(expected)).then_some(WrongKey { number, is_missing }))
            }
        });
        let wrong = wrong.await?;
        self.tell("read back", began.elapsed(), logger)?;
        wrong.iter().for_each(|key| key.log(logger));
        lost(&wrong, self.keys)
    }

    /// Does `request` for each key, many at a time, and shows how far it is. Gives the keys that were found wrong, and ends
    /// at the first error.
    async fn for_each<F>(
        self,
        doing: &'static str,
        request: impl Fn(u64) -> F,
    ) -> Result<Vec<WrongKey>, PlaygroundError>
    where
        F: Future<Output = Result<Option<WrongKey>, ClientError>> + Send + 'static,
    {
        let mut progress = Progress::begin(doing, self.keys);
        let mut show = tokio::time::interval(SHOW_INTERVAL);
        let mut under_way = JoinSet::new();
        let mut wrong = Vec::new();
        let (mut begun, mut done) = (0, 0);
        while done < self.keys {
            while begun < self.keys && begun - done < self.in_flight() {
                under_way.spawn(request(begun));
                begun += 1;
            }
            tokio::select! {
                Some(ended) = under_way.join_next() => {
                    wrong.extend(ended.expect("a request does not panic and is not cancelled")?);
                    done += 1;
                }
                _ = show.tick() => progress.update(done)?,
            }
        }
        progress.update(done)?;
        progress.end();
        Ok(wrong)
    }

    fn in_flight(self) -> u64 {
        (BYTES_IN_FLIGHT / (self.value_bytes as u64).max(1)).clamp(1, IN_FLIGHT)
    }

    fn tell(self, did: &str, took: Duration, logger: &Logger) -> io::Result<()> {
        let seconds = took.as_secs_f64();
        let rate = self.keys as f64 / seconds.max(f64::EPSILON);
        info!(logger, "load"; "did" => did, "keys" => self.keys, "seconds" => seconds);
        writeln!(io::stdout(), "{did} {} keys in {seconds:.2} s: {rate:.0} keys/s", self.keys)
    }
}

/// A key that was not read back as it was written.
#[derive(Clone, Copy, Debug)]
struct WrongKey {
    number: u64,
    is_missing: bool,
}

impl WrongKey {
    fn log(&self, logger: &Logger) {
        let (key, problem) = (load_key(self.number), if self.is_missing { "is missing" } else { "has another value" });
        error!(logger, "a key was not read back as it was written"; "key" => %Readable(&key), "problem" => problem);
    }
}

fn lost(wrong: &[WrongKey], keys: u64) -> Result<(), PlaygroundError> {
    let Some(first) = wrong.first() else {
        return Ok(());
    };
    let example = Readable(&load_key(first.number)).to_string();
    Err(PlaygroundError::Lost { wrong: wrong.len() as u64, keys, example })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_keys_fail_the_load() {
        assert!(lost(&[], 5).is_ok());
        let wrong = [3, 4].map(|number| WrongKey { number, is_missing: true });
        let failed = lost(&wrong, 5);
        let Err(PlaygroundError::Lost { wrong: 2, keys: 5, example }) = failed else { panic!("{failed:?}") };
        assert_eq!(example.as_bytes(), &load_key(3)[..]);
    }

    #[test]
    fn large_values_keep_fewer_requests_under_way() {
        let load = |value_bytes| Load { keys: 1, value_bytes, run: Seed(0) };
        assert_eq!(load(0).in_flight(), IN_FLIGHT);
        assert_eq!(load(100).in_flight(), IN_FLIGHT);
        assert!(load(6 << 20).in_flight() < 16);
    }
}
