//! Things that clients are sent for: to probe regions, and to read everything back.

use types::{ColumnFamily, KeyRange};

use super::desk::{Desk, Mode};
use super::layout;
use super::report::ProbeReport;
use super::task::Task;
use crate::history::RegisterKind;

/// Something that must be done, sooner or later.
#[derive(Clone, Debug)]
pub struct Errand {
    /// What.
    pub task: Task,
    /// What it probes, if it does.
    pub probe: Option<Probed>,
}

/// A range that is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// Probes are counted: those who come back from an older one say nothing about this one.
    pub round: u64,
    /// The range's place in the list.
    pub place: usize,
}

impl Desk {
    pub fn begin_probe(&mut self, regions: &[KeyRange]) {
        self.mode = Mode::Errands;
        self.probe_round += 1;
        self.errands.retain(|errand| errand.probe.is_none());
        self.probed.clear();
        for (place, range) in regions.iter().enumerate() {
            let key = layout::key_in(range, "probe");
            let family = ColumnFamily::Default;
            let register = match self.history.owner(family, &key).flatten() {
                Some(register) => register,
                None => self.history.add(RegisterKind::Plain, family, vec![key]),
            };
            self.probed.push((range.clone(), Some("nobody came to it".to_owned())));
            let task = Task::Put { register, value: self.values.unique() };
            self.errands.push_back(Errand { task, probe: Some(Probed { round: self.probe_round, place }) });
        }
    }

    /// An errand succeeded, or has to be done again.
    pub fn errand_ended(&mut self, errand: Errand, done: Result<(), &str>) {
        let Errand { mut task, probe } = errand;
        match (done, &mut task) {
            (Ok(()), Task::Put { register, .. }) if probe.is_some() => {
                let task = Task::Get { register: *register, key: 0 };
                self.errands.push_front(Errand { task, probe });
            }
            (Ok(()), _) => self.probed(probe, None),
            (Err(why), task) => {
                self.probed(probe, Some(why));
                // What became of the old value is not known.
                if let Task::Put { value, .. } = task {
                    *value = self.values.unique();
                }
                if self.mode == Mode::Errands {
                    self.errands.push_back(Errand { task: task.clone(), probe });
                }
            }
        }
    }

    fn probed(&mut self, probe: Option<Probed>, silence: Option<&str>) {
        let of_this_round = probe.filter(|probe| probe.round == self.probe_round);
        if let Some((_, told)) = of_this_round.and_then(|probe| self.probed.get_mut(probe.place)) {
            *told = silence.map(str::to_owned);
        }
    }

    pub fn probe_report(&self) -> ProbeReport {
        let mut report = ProbeReport::default();
        for (range, silence) in &self.probed {
            match silence {
                None => report.served.push(range.clone()),
                Some(why) => report.silent.push((range.clone(), why.clone())),
            }
        }
        report
    }
}
