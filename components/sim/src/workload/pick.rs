//! Choosing what to do next.

use types::seed::Rng;

use super::desk::Desk;
use super::task::{Chore, Task};
use super::verdict;
use crate::check::linearizability::Verdict;
use crate::history::{RegisterId, RegisterKind};

/// How often a client draws before it makes do with a timestamp.
const MAX_DRAWS: u32 = 16;

impl Desk {
    /// Something to do.
    pub fn pick(&mut self, rng: &mut Rng) -> Task {
        for _ in 0..MAX_DRAWS {
            if let Some(task) = self.draw(rng) {
                return task;
            }
        }
        Task::Timestamps { count: 1 }
    }

    fn draw(&mut self, rng: &mut Rng) -> Option<Task> {
        let chore = Chore::draw(rng);
        match chore {
            Chore::Scan => {
                let (family, range) = self.layout.pick_range(rng);
                return Some(Task::Scan { family, range, limit: 1 + rng.below(64) as usize });
            }
            Chore::Timestamps => return Some(Task::Timestamps { count: 1 + rng.below(9) as u32 }),
            Chore::Ids => return Some(Task::Ids { count: 1 + rng.below(9) as u32 }),
            Chore::Put | Chore::Delete | Chore::Get | Chore::Swap | Chore::Count => {}
        }
        let (place, register) = self.layout.pick(rng, |kind| chore.suits(kind))?;
        let register = self.usable(place, register)?;
        Some(match chore {
            Chore::Put => Task::Put { register, value: self.values.unique() },
            Chore::Delete => Task::Delete { register, as_range: rng.one_in(2) },
            Chore::Swap | Chore::Count => Task::Swap { register, swap: None },
            _ => {
                let keys = self.history.register(register).keys.len() as u64;
                Task::Get { register, key: rng.below(keys) as usize }
            }
        })
    }

    /// The register, or a fresh one when it is full; `None` while it is too busy.
    fn usable(&mut self, place: usize, id: RegisterId) -> Option<RegisterId> {
        let register = self.history.register(id);
        let deletes = matches!(register.kind, RegisterKind::Deletable | RegisterKind::Group);
        if deletes && register.users >= self.config.users_per_deletable {
            return None;
        }
        if register.operations.len() < self.config.operations_per_register {
            return Some(id);
        }
        if register.users > 0 {
            return None;
        }
        let result = verdict::check_register(register);
        let result = result.map(|verdict| self.tally.undecided_registers += u64::from(verdict == Verdict::Undecided));
        self.note(result);
        self.tally.retired_registers += 1;
        self.history.retire(id);
        Some(self.layout.renew(place, &mut self.history))
    }

    /// What a swap puts in the place of what was found.
    pub fn successor(&mut self, kind: RegisterKind, found: Option<u64>, rng: &mut Rng) -> Option<u64> {
        match kind {
            RegisterKind::Counter => Some(found.unwrap_or(0) + 1),
            RegisterKind::Deletable if found.is_some() && rng.one_in(4) => None,
            RegisterKind::Plain | RegisterKind::Deletable | RegisterKind::Group => Some(self.values.unique()),
        }
    }
}
