//! Asks every region whether it serves, where there are no clients that could notice.

use std::time::Duration;

use bytes::Bytes;
use types::{ColumnFamily, RegionDescriptor, RequestHeader};

use crate::call::{Call, CallId, RegionCall, RegionReply, Reply};
use crate::run::LIVENESS_BOUND;
use crate::simulation::{FIRST_PROBE, Simulation, Wrong};

/// How long an answer is waited for before the question is asked again.
const ASK_INTERVAL: Duration = Duration::from_millis(300);

/// What the probe of a region waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Put,
    Get,
    Delete,
    Done,
}

impl Simulation {
    /// Every region must serve a write and a read, and is left as it was.
    pub(crate) fn serve_again(&mut self) -> Result<(), Wrong> {
        let regions = self.start_again()?;
        let mut probes: Vec<(RegionDescriptor, Probe, u64)> =
            regions.into_iter().map(|region| (region, Probe::Put, 0)).collect();
        let mut ask_again = self.now;
        let deadline = self.now + LIVENESS_BOUND;
        while probes.iter().any(|(_, probe, _)| *probe != Probe::Done) {
            for (id, reply) in std::mem::take(&mut self.probe_replies) {
                let asked = probes.iter_mut().find(|(_, _, asked)| *asked == id.0);
                if let Some((region, probe, asked)) = asked
                    && let Some(following) = probe.after(region, reply)?
                {
                    (*probe, *asked) = (following, 0);
                }
            }
            if self.now >= ask_again {
                ask_again = self.now + ASK_INTERVAL;
                for (region, probe, asked) in &mut probes {
                    if let Some(call) = self.probe_call(region, *probe) {
                        *asked = FIRST_PROBE + self.recorder.number_request();
                        self.send_call(CallId(*asked), call);
                    }
                }
            }
            if self.now > deadline {
                let silent = probes.iter().filter(|(_, probe, _)| *probe != Probe::Done);
                let silent: Vec<_> = silent.map(|(region, probe, _)| format!("{} ({probe:?})", region.id)).collect();
                return Err(format!(
                    "regions do not serve within {} simulated seconds after everything was healed: {}",
                    LIVENESS_BOUND.as_secs(),
                    silent.join(", ")
                ));
            }
            self.step()?;
        }
        Ok(())
    }

    /// A probe's call to whoever leads the region now.
    fn probe_call(&self, region: &RegionDescriptor, probe: Probe) -> Option<Call> {
        let leads = |node: &&crate::node::Node| {
            node.loss.is_none() && node.running().is_some_and(|running| running.leads(region.id))
        };
        let term = |node: &&crate::node::Node| {
            node.running().and_then(|running| running.stepper.handle().region(region.id)).map(|view| view.term)
        };
        let to = self.nodes.iter().filter(leads).max_by_key(term)?.store;
        let header = RequestHeader { region_id: region.id, epoch: region.epoch, ..RequestHeader::default() };
        let (family, key) = (ColumnFamily::Lock, probe_key(region));
        let call = match probe {
            Probe::Put => RegionCall::Write(apply::build::batch(vec![apply::build::put(family, key, PROBE_VALUE)])),
            Probe::Get => RegionCall::Get { family, key },
            Probe::Delete => RegionCall::Write(apply::build::batch(vec![apply::build::delete(family, key)])),
            Probe::Done => return None,
        };
        Some(Call::Region { to, header, call })
    }
}

const PROBE_VALUE: Bytes = Bytes::from_static(b"here");

/// A key of a region for its probe, in a column family that clients do not use.
fn probe_key(region: &RegionDescriptor) -> Bytes {
    let start = &region.range.start;
    if start.is_empty() { Bytes::from_static(b"!") } else { start.clone() }
}

impl Probe {
    /// What comes next after an answer; nothing when it must be asked again.
    fn after(self, region: &RegionDescriptor, reply: Reply) -> Result<Option<Self>, Wrong> {
        let Reply::Region(Ok(reply)) = reply else { return Ok(None) };
        Ok(match (self, reply) {
            (Self::Put, RegionReply::Written(_)) => Some(Self::Get),
            (Self::Get, RegionReply::Value(Some(value))) if value == PROBE_VALUE => Some(Self::Delete),
            (Self::Get, RegionReply::Value(value)) => {
                return Err(format!("region {} answered {value:?} for what was just written to it", region.id));
            }
            (Self::Delete, RegionReply::Written(_)) => Some(Self::Done),
            _ => None,
        })
    }
}
