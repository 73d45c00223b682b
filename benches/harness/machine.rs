//! Facts about the machine, for the head of the output.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What figures are worth depends on these.
#[derive(Debug)]
pub struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    memory_mib: u64,
    load: String,
    disk: String,
}

impl Machine {
    /// Looks at this machine, and at the file system of `directory`.
    pub fn look(directory: &Path) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field("/proc/cpuinfo", "model name"),
            kernel: read("/proc/sys/kernel/osrelease"),
            memory_mib: field("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0) / 1024,
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            disk: mount_of(directory),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} cores ({}), {} MiB, Linux {}", self.cores, self.processor, self.memory_mib, self.kernel)?;
        write!(f, "load before the start {}, data on {}", self.load, self.disk)
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The value of the first line `name : value`.
fn field(path: &str, name: &str) -> String {
    let text = read(path);
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().to_owned());
    values.next().unwrap_or_else(|| "unknown".to_owned())
}

/// Type, device and scheduler of the file system that holds a directory.
fn mount_of(directory: &Path) -> String {
    let directory = directory.canonicalize().unwrap_or_else(|_| PathBuf::from(directory));
    let mounts = read("/proc/self/mounts");
    let mut best = ("", "", 0);
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [device, place, kind, ..] = fields[..] else { continue };
        if directory.starts_with(place) && place.len() >= best.2 {
            best = (device, kind, place.len());
        }
    }
    let (device, kind, _) = best;
    let name = device.trim_start_matches("/dev/").trim_end_matches(|last: char| last.is_ascii_digit());
    let rotational = match read(&format!("/sys/block/{name}/queue/rotational")).as_str() {
        "0" => ", not rotational",
        "1" => ", rotational",
        _ => "",
    };
    let memory = if matches!(kind, "tmpfs" | "ramfs") { " (in memory: durability costs nothing here)" } else { "" };
    format!("{kind} on {device}{rotational}{memory}")
}
