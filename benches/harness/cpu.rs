//! CPU time of this process and of its threads, by what they are for.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Sub;
use std::path::Path;
use std::time::Duration;

/// CPU time since the process started.
#[derive(Clone, Debug, Default)]
pub struct CpuTime {
    /// The whole process, ended threads included.
    pub total: Duration,
    /// Its living threads, by the part of their name before the first digit: `raft`, `apply`, `rocksdb:low` …
    pub groups: BTreeMap<String, Duration>,
}

impl CpuTime {
    /// What this process used up to now.
    pub fn now() -> Self {
        Self { total: process_time(), groups: thread_times(Path::new("/proc/self/task")) }
    }

    /// What other processes, named for what they are, and this one used up to now. Of the others, threads that have
    /// ended are not counted.
    pub fn with_others<'a>(others: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let mut sum = Self::now();
        for (name, id) in others {
            for (group, time) in thread_times(&Path::new("/proc").join(id.to_string()).join("task")) {
                sum.total += time;
                *sum.groups.entry(format!("{name}/{group}")).or_default() += time;
            }
        }
        sum
    }
}

impl Sub for CpuTime {
    type Output = Self;

    /// What was used in between. A thread that ended in between counts for the total alone.
    fn sub(self, earlier: Self) -> Self {
        let since =
            |group: &str, now: Duration| now.saturating_sub(earlier.groups.get(group).copied().unwrap_or_default());
        let groups = self.groups.into_iter().map(|(group, now)| (group.clone(), since(&group, now))).collect();
        Self { total: self.total.saturating_sub(earlier.total), groups }
    }
}

fn process_time() -> Duration {
    // SAFETY: an all-zero `rusage` is a valid value, and the call writes nothing but the struct it is given.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_usec.unsigned_abs() as u32 * 1000)
}

fn thread_times(tasks: &Path) -> BTreeMap<String, Duration> {
    let mut groups = BTreeMap::new();
    let Ok(tasks) = fs::read_dir(tasks) else { return groups };
    for task in tasks.flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name));
        // A thread may end while it is looked at.
        let (Ok(name), Ok(scheduled)) = (read("comm"), read("schedstat")) else { continue };
        let nanos = scheduled.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
        *groups.entry(group_of(&name)).or_default() += Duration::from_nanos(nanos);
    }
    groups
}

fn group_of(name: &str) -> String {
    let end = name.find(|letter: char| letter.is_ascii_digit()).unwrap_or(name.len());
    name[..end].trim().trim_end_matches('-').to_owned()
}
