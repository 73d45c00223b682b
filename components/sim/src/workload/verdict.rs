//! Judging what was seen.

use std::collections::BTreeMap;

use crate::check::linearizability::{self, Verdict};
use crate::check::scans::{self, Seen, Windows};
use crate::check::{Violation, counters};
use crate::history::{History, Register, RegisterId, RegisterKind};

/// Checks one register by what kind it is.
///
/// # Errors
/// What is wrong with it.
pub fn check_register(register: &Register) -> Result<Verdict, Violation> {
    let (checker, result) = match register.kind {
        RegisterKind::Counter => ("counters", counters::check(&register.operations).map(|()| Verdict::Legal)),
        RegisterKind::Plain | RegisterKind::Deletable | RegisterKind::Group => {
            ("linearizability", linearizability::check_register(&register.operations))
        }
    };
    result.map_err(|what| Violation { checker, what: format!("{register}: {what}") })
}

/// Checks that what was read together was there together. Registers that are found illegal are left out: they are
/// findings of their own.
///
/// # Errors
/// A scan that saw two moments at once.
pub fn check_snapshots(history: &History) -> Result<(), Violation> {
    let mut windows = BTreeMap::<RegisterId, Option<Windows<u64>>>::new();
    for snapshot in history.snapshots() {
        for (id, _) in &snapshot.seen {
            windows.entry(*id).or_insert_with(|| known_windows(history, *id));
        }
        let seen = snapshot.seen.iter().filter_map(|(id, value)| {
            let windows = windows.get(id)?.as_ref()?;
            Some(Seen { name: history.register(*id), windows, value })
        });
        scans::check_together(snapshot.between, seen).map_err(|what| {
            let what = format!("client {}: {what}", snapshot.client.0);
            Violation { checker: "scans", what }
        })?;
    }
    Ok(())
}

fn known_windows(history: &History, id: RegisterId) -> Option<Windows<u64>> {
    let register = history.register(id);
    let is_legal = check_register(register).is_ok();
    match register.kind {
        _ if !is_legal || history.is_retired(id) => None,
        RegisterKind::Plain => Some(Windows::new(&register.operations)),
        RegisterKind::Counter => Some(Windows::new(&counters::steps(&register.operations).ok()?)),
        // A register without a value may be so many times.
        RegisterKind::Deletable | RegisterKind::Group => None,
    }
}
