//! Runs clusters beside each other, one on each thread.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use runtime::clock::{Clock, MonotonicClock};
use runtime::spawn::{Joinable, Spawner, ThreadSpawner};
use sim::{Failure, Report, run};

use crate::arguments::Arguments;
use crate::failure;
use crate::seeds::Seeds;
use crate::summary::Summary;

/// How often a long run says how it goes.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(15);

/// Who runs what, and for how long.
pub(crate) struct Crew {
    seeds: Arc<Seeds>,
    jobs: u64,
    limit: Option<Duration>,
    until_failure: bool,
    traces: Option<PathBuf>,
}

type Outcome = Result<Report, Box<Failure>>;

impl Crew {
    pub(crate) fn new(arguments: &Arguments) -> Self {
        Self {
            seeds: Arc::new(Seeds::new(arguments)),
            jobs: arguments.jobs,
            limit: arguments.minutes.map(|minutes| Duration::from_secs(60 * minutes)),
            until_failure: arguments.until_failure,
            traces: arguments.traces.clone(),
        }
    }
}

/// Runs everything, prints a line for each failure, and gives the sums.
///
/// # Errors
/// The operating system's, when there is no room for a thread.
pub(crate) fn run_all(crew: &Crew) -> io::Result<Summary> {
    let clock = MonotonicClock::new();
    let began = clock.now();
    let is_over = Arc::new(AtomicBool::new(false));
    let (outcomes, ended) = bounded(crew.jobs as usize);
    let mut threads = Vec::new();
    for number in 0..crew.jobs {
        let (seeds, is_over, outcomes) = (Arc::clone(&crew.seeds), Arc::clone(&is_over), outcomes.clone());
        let work = move || work(&seeds, &is_over, &outcomes);
        threads.push(ThreadSpawner.spawn(&format!("cluster-{number}"), Box::new(work))?);
    }
    drop(outcomes);
    let (mut summary, mut told) = (Summary::default(), began);
    loop {
        match ended.recv_timeout(PROGRESS_INTERVAL) {
            Ok(Ok(report)) => summary.add(&report),
            Ok(Err(failed)) => {
                summary.failures += 1;
                println!("{}", failure::report(&failed, crew.traces.as_deref()));
                is_over.fetch_or(crew.until_failure, Ordering::Relaxed);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let now = clock.now();
        summary.real = now.since(began);
        is_over.fetch_or(crew.limit.is_some_and(|limit| summary.real >= limit), Ordering::Relaxed);
        if now.since(told) >= PROGRESS_INTERVAL {
            told = now;
            eprintln!("{summary}");
        }
    }
    summary.real = clock.now().since(began);
    threads.into_iter().map(Joinable::join).for_each(drop);
    Ok(summary)
}

/// One thread's work: run after run, until there are no more or nobody listens.
fn work(seeds: &Seeds, is_over: &AtomicBool, outcomes: &Sender<Outcome>) {
    while !is_over.load(Ordering::Relaxed) {
        let Some(settings) = seeds.next() else { return };
        if outcomes.send(run(&settings)).is_err() {
            return;
        }
    }
}
