//! What all clients share: the history that they write, the calls that are open, and what is there to do.

use std::collections::VecDeque;

use types::KeyRange;

use super::WorkloadConfig;
use super::errand::Errand;
use super::layout::Layout;
use super::report::Tally;
use super::value::Values;
use crate::call::{Call, CallId, ClientId, Wires};
use crate::check::Violation;
use crate::check::answers::Answers;
use crate::check::timestamps::HandedOut;
use crate::history::{History, Moment, OperationId};

/// What the clients are to do when they have finished what they are at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Whatever they like.
    Work,
    /// Errands, until there are none left.
    Errands,
    /// Nothing.
    Rest,
}

/// What is remembered of an open call.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// Who made it.
    pub client: ClientId,
    /// When.
    pub begin: Moment,
    /// What for.
    pub purpose: Purpose,
}

/// What a call is for, as far as its answer matters to those who no longer wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To learn something.
    Read,
    /// To change something.
    Write(OperationId),
    /// Timestamps.
    Timestamps(u32),
    /// Ids.
    Ids(u32),
}

/// What all clients share.
#[derive(Debug)]
pub struct Desk {
    pub config: WorkloadConfig,
    pub history: History,
    pub layout: Layout,
    pub values: Values,
    pub mode: Mode,
    pub errands: VecDeque<Errand>,
    /// How many probes there were.
    pub probe_round: u64,
    /// The ranges of the newest, each with why it is silent if it is.
    pub probed: Vec<(KeyRange, Option<String>)>,
    pub tally: Tally,
    answers: Answers<Pending>,
    pub timestamps: HandedOut,
    pub ids: HandedOut,
    /// The first thing that was found wrong.
    found: Option<Violation>,
}

impl Desk {
    pub fn new(config: WorkloadConfig) -> Self {
        let mut history = History::default();
        let layout = Layout::new(&config, &mut history);
        let values = Values::new(config.large_values_one_in);
        Self {
            config,
            history,
            layout,
            values,
            mode: Mode::Work,
            errands: VecDeque::new(),
            probe_round: 0,
            probed: Vec::new(),
            tally: Tally::default(),
            answers: Answers::default(),
            timestamps: HandedOut::new("timestamps"),
            ids: HandedOut::new("ids"),
            found: None,
        }
    }

    /// The first thing that was found wrong.
    pub fn found(&self) -> Option<&Violation> {
        self.found.as_ref()
    }

    /// Remembers the first thing that was found wrong.
    pub fn note(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.found.get_or_insert(violation);
        }
    }

    /// Something was found wrong.
    pub fn wrong(&mut self, checker: &'static str, what: String) {
        self.note(Err(Violation { checker, what }));
    }

    /// Makes a call.
    pub fn call(&mut self, pending: Pending, call: Call, wires: &mut dyn Wires) -> CallId {
        let (id, forgotten) = self.answers.asked(pending);
        if let Some(forgotten) = forgotten {
            self.timestamps.forgotten(forgotten);
            self.ids.forgotten(forgotten);
        }
        match pending.purpose {
            Purpose::Timestamps(_) => self.timestamps.asked(id),
            Purpose::Ids(_) => self.ids.asked(id),
            Purpose::Read | Purpose::Write(_) => {}
        }
        wires.call(id, call);
        id
    }

    /// An answer came; what was remembered of its call.
    pub fn answered(&mut self, id: CallId) -> Option<Pending> {
        let answered = self.answers.answered(id);
        answered.unwrap_or_else(|violation| {
            self.note(Err(violation));
            None
        })
    }

    /// How many calls were made.
    pub fn calls(&self) -> u64 {
        self.answers.made()
    }
}
