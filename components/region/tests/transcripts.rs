//! Golden transcripts: a script in, everything that happens out, both in one file under `tests/transcripts/`.
//!
//! Lines that begin with `>` are the script, lines that begin with `#` tell what to look at; everything else is output.
//! `UPDATE_TRANSCRIPTS=1 cargo test -p region --test transcripts` writes the files anew; review the difference.
//!
//! The script language, where M and N are members:
//! - `voters 1 2 3`, `learners 4`, `config KEY VALUE`: before all else.
//! - `elect M`: an election that M wins, and a heartbeat, without showing them.
//! - `tick M [TIMES]`: ticks of M's clock, a round each.
//! - `propose M KEY… [as peer=P term=T version=V]`: writes of one round; each client is named by its key. `KEY*N` is a
//!   key of N bytes.
//! - `read M NAME… [as …]`: linearizable reads of one round.
//! - `split M KEY=REGION…`: asks M to split its region at keys; the new regions' members are numbered 21, 22 and so on for
//!   region 2.
//! - `members M CHANGE…`: asks M for other members: `+4` votes, `~4` learns, `-4` leaves. A newcomer lives on the store of
//!   its number, `+7@3` on store 3.
//! - `compare M`: asks M to have the replicas compared.
//! - `transfer M N`: asks M to hand its leadership to N.
//! - `pass M TIMES`: ticks of M's clock, each with the delivery of all that it causes; only the answers to clients are shown.
//! - `deliver`: what is on its way now; `deliver M->N`: only what goes from M to N; `deliver until quiet`: all, with
//!   everything that it causes.
//! - `keep M->N` and `deliver kept`: copies what is on its way from M to N now, and delivers the copies later.
//! - `unreachable M N`: M's transport says that it cannot reach N.
//! - `drop M->N`: loses what is on its way from M to N now. `cut M` and `heal M`: M can neither send nor receive.
//! - `hold persist M`, `persist M [TIMES]`, `release persist M`: M's disk works on demand only. The same with `apply`,
//!   and with `build` for snapshots.
//! - `damage M` and `mend M`: M's process dies between the two writes that bracket a snapshot's data, and its files are damaged.
//! - `crash M`, `restart M`, `lose state M`: M's process dies; starts again; its state engine is back at its birth.
//! - `status M`.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use region::{Input, RegionConfig, RegionMessage};
use support::cluster::Cluster;
use types::{MemberChange, PeerId, RegionDescriptor, RequestHeader, StoreId, Term};

/// What a script has set up so far.
struct Script {
    config: RegionConfig,
    voters: Vec<u64>,
    learners: Vec<u64>,
    cluster: Option<Cluster>,
    kept: Vec<RegionMessage>,
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("not a number: {word}"))
}

fn link(word: &str) -> (u64, u64) {
    let (from, to) = word.split_once("->").unwrap_or_else(|| panic!("not a link: {word}"));
    (number(from), number(to))
}

fn direction(message: &RegionMessage) -> (u64, u64) {
    (message.from.id.0, message.to.id.0)
}

fn key(word: &str) -> String {
    match word.split_once('*') {
        Some((key, bytes)) => format!("{key:x<width$}", width = number(bytes) as usize),
        None => word.to_owned(),
    }
}

impl Script {
    fn new() -> Self {
        let config = RegionConfig { election_ticks: 10, heartbeat_ticks: 2, ..RegionConfig::default() };
        Self { config, voters: Vec::new(), learners: Vec::new(), cluster: None, kept: Vec::new() }
    }

    fn run(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["voters", ref ids @ ..] => self.voters = ids.iter().map(|id| number(id)).collect(),
            ["learners", ref ids @ ..] => self.learners = ids.iter().map(|id| number(id)).collect(),
            ["config", key, value] => self.configure(key, number(value)),
            ["keep", path] => {
                let path = link(path);
                let copies =
                    self.cluster().network.iter().filter(|message| direction(message) == path).cloned().collect();
                self.kept = copies;
            }
            ["deliver", "kept"] => {
                for message in std::mem::take(&mut self.kept) {
                    self.cluster().deliver(message);
                }
            }
            _ => self.step(&words),
        }
        self.cluster.as_mut().map(|cluster| std::mem::take(&mut cluster.trace)).unwrap_or_default()
    }

    fn configure(&mut self, key: &str, value: u64) {
        match key {
            "election_ticks" => self.config.election_ticks = value as u32,
            "compact_entries" => self.config.compact_entries = value,
            "max_log_bytes" => self.config.max_log_bytes = value,
            "max_entry_bytes" => self.config.max_entry_bytes = value,
            "max_waiting_requests" => self.config.max_waiting_requests = value as usize,
            "stale_ticks" => self.config.stale_ticks = value as u32,
            "newcomer_ticks" => self.config.newcomer_ticks = value as u32,
            _ => panic!("unknown setting {key}"),
        }
    }

    fn cluster(&mut self) -> &mut Cluster {
        let Self { config, voters, learners, .. } = self;
        self.cluster.get_or_insert_with(|| Cluster::new(config.clone(), voters, learners))
    }

    fn step(&mut self, words: &[&str]) {
        let cluster = self.cluster();
        match words[..] {
            ["elect", id] => cluster.elect(number(id)),
            ["tick", id] => cluster.tick(number(id)),
            ["tick", id, times] => (0..number(times)).for_each(|_| cluster.tick(number(id))),
            ["pass", id, times] => cluster.pass(number(id), number(times)),
            ["propose", id, ref rest @ ..] => {
                let (header, keys) = request(cluster, number(id), rest);
                let inputs = keys.iter().map(|word| cluster.proposal(header, &key(word))).collect();
                cluster.round(number(id), inputs);
            }
            ["read", id, ref rest @ ..] => {
                let (header, names) = request(cluster, number(id), rest);
                let inputs = names.iter().map(|name| cluster.read(header, name)).collect();
                cluster.round(number(id), inputs);
            }
            ["transfer", id, to] => {
                let input = cluster.transfer(number(to), &format!("transfer to {to}"));
                cluster.round(number(id), vec![input]);
            }
            ["split", id, ref cuts @ ..] => {
                let cut = |word: &str| {
                    let (key, region) = word.split_once('=').unwrap();
                    (key.to_owned(), number(region))
                };
                let cuts: Vec<(String, u64)> = cuts.iter().map(|word| cut(word)).collect();
                let cuts: Vec<(&str, u64)> = cuts.iter().map(|(key, region)| (key.as_str(), *region)).collect();
                let region = cluster.region_of(number(id));
                let input = cluster.split(&region, &cuts, true, "split");
                cluster.round(number(id), vec![input]);
            }
            ["members", id, ref changes @ ..] => {
                let region = cluster.region_of(number(id));
                let changes = changes.iter().map(|word| change(&region, word)).collect();
                let input = cluster.change_members(&region, changes, "members");
                cluster.round(number(id), vec![input]);
            }
            ["compare", id] => cluster.round(number(id), vec![Input::CheckConsistency]),
            ["deliver", "until", "quiet"] => cluster.deliver_until_quiet(),
            ["deliver"] => {
                for message in std::mem::take(&mut cluster.network) {
                    cluster.deliver(message);
                }
            }
            ["deliver", path] => {
                let path = link(path);
                let (now, later): (VecDeque<RegionMessage>, _) =
                    cluster.network.drain(..).partition(|message| direction(message) == path);
                cluster.network = later;
                now.into_iter().for_each(|message| cluster.deliver(message));
            }
            ["drop", path] => {
                let (from, to) = link(path);
                cluster.network.retain(|message| direction(message) != (from, to));
            }
            ["cut", id] | ["heal", id] => {
                let id = number(id);
                let others: Vec<u64> = cluster.members.keys().copied().filter(|other| *other != id).collect();
                for path in others.into_iter().flat_map(|other| [(id, other), (other, id)]) {
                    if words[0] == "cut" {
                        cluster.cut.insert(path);
                        cluster.network.retain(|message| direction(message) != path);
                    } else {
                        cluster.cut.remove(&path);
                    }
                }
            }
            ["hold", "persist", id] => cluster.member(number(id)).holds_persist = true,
            ["hold", "build", id] => cluster.member(number(id)).holds_build = true,
            ["build", id] => cluster.build(number(id)),
            ["damage", id] => cluster.member(number(id)).loses_files = true,
            ["mend", id] => cluster.member(number(id)).loses_files = false,
            ["hold", "apply", id] => cluster.member(number(id)).holds_apply = true,
            ["release", "persist", id] => {
                cluster.member(number(id)).holds_persist = false;
                cluster.round(number(id), Vec::new());
            }
            ["release", "apply", id] => {
                cluster.member(number(id)).holds_apply = false;
                cluster.round(number(id), Vec::new());
            }
            ["persist", id] => cluster.persist(number(id)),
            ["persist", id, times] => (0..number(times)).for_each(|_| cluster.persist(number(id))),
            ["apply", id] => cluster.apply(number(id)),
            ["unreachable", id, other] => {
                cluster.round(number(id), vec![Input::Unreachable { peer: PeerId(number(other)) }]);
            }
            ["crash", id] => cluster.crash(number(id), 0),
            ["restart", id] => cluster.start(number(id), true),
            ["lose", "state", id] => cluster.member(number(id)).lose_state(),
            ["status", id] => {
                let status = cluster.member(number(id)).region.as_ref().unwrap().status();
                cluster.trace.push(format!(
                    "  {id}: {:?} term {} committed {} applied {} truncated {} last {} log bytes {}",
                    status.role,
                    status.term,
                    status.committed,
                    status.apply_state.applied,
                    status.apply_state.truncated,
                    status.last_index,
                    status.log_bytes
                ));
                for member in status.members {
                    let active = if member.active { "" } else { " (silent)" };
                    cluster.trace.push(format!("    member {} matched {}{active}", member.peer.id, member.matched));
                }
            }
            _ => panic!("unknown command: {}", words.join(" ")),
        }
    }
}

/// A change as scripts write it: `+4` votes, `~4` learns, `-4` leaves, `+7@3` votes on store 3.
fn change(region: &RegionDescriptor, word: &str) -> MemberChange {
    let (sign, id) = word.split_at(1);
    let (id, store) = id.split_once('@').unwrap_or((id, id));
    let peer = PeerId(number(id));
    let store = region.peer(peer).map_or(StoreId(number(store)), |peer| peer.store_id);
    match sign {
        "+" => MemberChange::vote(peer, store),
        "~" => MemberChange::learn(peer, store),
        "-" => MemberChange::remove(peer, store),
        _ => panic!("unknown change: {word}"),
    }
}

/// Splits a request into what its client says of the region, and names.
fn request<'a>(cluster: &Cluster, id: u64, words: &[&'a str]) -> (RequestHeader, Vec<&'a str>) {
    let mut header = cluster.header_of(id);
    let position = words.iter().position(|word| *word == "as").unwrap_or(words.len());
    for word in words.iter().skip(position + 1) {
        match word.split_once('=') {
            Some(("peer", id)) => header.peer_id = Some(PeerId(number(id))),
            Some(("term", term)) => header.term = Some(Term(number(term))),
            Some(("version", version)) => header.epoch.version = number(version),
            _ => panic!("unknown header field: {word}"),
        }
    }
    (header, words[..position].to_vec())
}

/// Runs the script of a transcript and gives the transcript as it is now.
fn replay(text: &str) -> String {
    let mut script = Script::new();
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            lines.push(line.to_owned());
            lines.extend(script.run(command));
        } else if line.is_empty() || line.starts_with('#') {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let end = old[same..].iter().rev().zip(new[same..].iter().rev()).take_while(|(old, new)| old == new).count();
    let mut lines = vec![format!("first difference at line {}", same + 1)];
    lines.extend(old[same.saturating_sub(5)..same].iter().map(|line| format!("  {line}")));
    lines.extend(old[same..old.len() - end].iter().map(|line| format!("- {line}")));
    lines.extend(new[same..new.len() - end].iter().map(|line| format!("+ {line}")));
    lines.join("\n")
}

#[expect(clippy::disallowed_methods, reason = "a developer asks for new files by the environment")]
fn check(path: &Path) -> Result<(), String> {
    let old = fs::read_to_string(path).unwrap();
    let new = replay(&old);
    if old == new {
        return Ok(());
    }
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        fs::write(path, new).unwrap();
        return Ok(());
    }
    Err(format!("{}: {}", path.display(), difference(&old, &new)))
}

#[test]
fn transcripts_are_as_reviewed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 12, "transcripts are missing");
    let failures: Vec<String> = paths.iter().filter_map(|path| check(path).err()).collect();
    assert!(failures.is_empty(), "{}\nif this is meant, run with UPDATE_TRANSCRIPTS=1", failures.join("\n\n"));
}

#[test]
fn a_difference_is_shown_in_its_surroundings() {
    let shown = difference("a\nb\nc\n", "a\nx\nc\n");
    assert_eq!(shown, "first difference at line 2\n  a\n- b\n+ x");
}
