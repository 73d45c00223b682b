//! What may be done with regions: ids for splits, splits and scattering on demand, and how operators stand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use coordinator::{Change, CoordinatorError, Request, SplitIds, View};
use placement::{Command, Ending, Operator, Origin, PlacementError, SplitPolicy, Step};
use proto::metapb;
use proto::pdpb::*;
use slog::debug;
use tokio::time::{Instant, sleep_until};
use types::{RegionDescriptor, RegionId, limits};

use super::bridge::Bridge;
use super::refusal::Refusal;
use super::regions::detached;
use super::stores::check_bootstrapped;

/// Most keys of one call; each may cost an operator.
pub(super) const MAX_SPLIT_KEYS: usize = 4096;

/// Most regions of one call.
pub(super) const MAX_SCATTERED: usize = 16 << 10;

/// How long a call waits for its splits. Clients wait about as long.
const SPLIT_PATIENCE: Duration = Duration::from_secs(20);

/// How often it looks whether they are done.
const SPLIT_POLL: Duration = Duration::from_millis(50);

/// What clients look for when they wait for scattering.
const SCATTER: &str = "scatter-region";

async fn ask_ids(bridge: &Bridge, region: Option<metapb::Region>, count: u32) -> Result<Vec<SplitIds>, Refusal> {
    check_bootstrapped(bridge).await?;
    let region = region.ok_or_else(|| Refusal::invalid("the request names no region"))?;
    let region = Box::new(RegionDescriptor::try_from(region)?);
    Ok(bridge.ask(|reply| Change::AskSplit { region, count, reply }).await?)
}

fn numbers(ids: SplitIds) -> SplitId {
    SplitId { new_region_id: ids.region.0, new_peer_ids: ids.peers.into_iter().map(|peer| peer.0).collect() }
}

pub(super) async fn ask_batch_split(
    bridge: Bridge,
    request: AskBatchSplitRequest,
) -> Result<AskBatchSplitResponse, Refusal> {
    let ids = ask_ids(&bridge, request.region, request.split_count).await?;
    Ok(AskBatchSplitResponse { ids: ids.into_iter().map(numbers).collect(), ..Default::default() })
}

/// The older form, for one new region.
pub(super) async fn ask_split(bridge: Bridge, request: AskSplitRequest) -> Result<AskSplitResponse, Refusal> {
    let ids = ask_ids(&bridge, request.region, 1).await?;
    let SplitId { new_region_id, new_peer_ids } = ids.into_iter().map(numbers).next().unwrap_or_default();
    Ok(AskSplitResponse { new_region_id, new_peer_ids, ..Default::default() })
}

/// Splits are learnt from heartbeats alone; the report is for the log.
pub(super) async fn report_batch_split(
    bridge: Bridge,
    request: ReportBatchSplitRequest,
) -> Result<ReportBatchSplitResponse, Refusal> {
    check_bootstrapped(&bridge).await?;
    log_split(&bridge, request.regions.iter());
    Ok(ReportBatchSplitResponse::default())
}

/// The older form.
pub(super) async fn report_split(bridge: Bridge, request: ReportSplitRequest) -> Result<ReportSplitResponse, Refusal> {
    check_bootstrapped(&bridge).await?;
    log_split(&bridge, request.left.iter().chain(&request.right));
    Ok(ReportSplitResponse::default())
}

fn log_split<'a>(bridge: &Bridge, regions: impl Iterator<Item = &'a metapb::Region>) {
    let ids: Vec<u64> = regions.map(|region| region.id).collect();
    debug!(bridge.logger(), "region split reported"; "regions" => ?ids);
}

pub(super) async fn split(bridge: Bridge, request: SplitRegionsRequest) -> Result<SplitRegionsResponse, Refusal> {
    let done = split_at(&bridge, request.split_keys).await?;
    Ok(SplitRegionsResponse {
        finished_percentage: done.percentage(),
        regions_id: done.regions.iter().map(|region| region.0).collect(),
        ..Default::default()
    })
}

pub(super) async fn split_and_scatter(
    bridge: Bridge,
    request: SplitAndScatterRegionsRequest,
) -> Result<SplitAndScatterRegionsResponse, Refusal> {
    let done = split_at(&bridge, request.split_keys).await?;
    let regions: Vec<RegionId> = done.regions.iter().copied().collect();
    let failed = scatter_all(&bridge, &regions, &request.group).await?;
    Ok(SplitAndScatterRegionsResponse {
        split_finished_percentage: done.percentage(),
        scatter_finished_percentage: percentage(regions.len() - failed.len(), regions.len()),
        regions_id: regions.into_iter().map(|region| region.0).collect(),
        ..Default::default()
    })
}

fn percentage(part: usize, whole: usize) -> u64 {
    (part * 100).checked_div(whole).map_or(100, |percent| percent as u64)
}

/// How far splitting came.
pub(super) struct SplitDone {
    asked: usize,
    /// The regions that begin at keys that were asked for.
    pub(super) regions: BTreeSet<RegionId>,
}

impl SplitDone {
    fn percentage(&self) -> u64 {
        percentage(self.regions.len(), self.asked)
    }
}

/// Splits at keys, and waits until leaders report the new regions, or for as long as it is patient.
async fn split_at(bridge: &Bridge, keys: Vec<Bytes>) -> Result<SplitDone, Refusal> {
    check_bootstrapped(bridge).await?;
    let is_fine = |key: &Bytes| (1..=limits::MAX_KEY_BYTES).contains(&key.len());
    if keys.is_empty() || keys.len() > MAX_SPLIT_KEYS || !keys.iter().all(is_fine) {
        let message = format!("give 1 to {MAX_SPLIT_KEYS} keys of 1 to {} bytes to split at", limits::MAX_KEY_BYTES);
        return Err(Refusal::invalid(message));
    }
    let keys: BTreeSet<Bytes> = keys.iter().map(detached).collect();
    let end = Instant::now() + SPLIT_PATIENCE;
    loop {
        // All of them each time: a region that began at one key may begin at the next after a split.
        let found = begins_at(bridge, keys.clone()).await?;
        if found.begun.len() == keys.len() || Instant::now() >= end {
            return Ok(SplitDone { asked: keys.len(), regions: found.begun });
        }
        for (region, keys) in found.inside {
            let command = Command::Split { policy: SplitPolicy::Keys(keys) };
            match order(bridge, region, command).await {
                // One that is under way, of this call or another's, or that a limit keeps back: look again.
                Ok(()) => {}
                Err(CoordinatorError::Placement(refused))
                    if refused.is_retryable() || matches!(refused, PlacementError::SplitKeys { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        sleep_until(Instant::now() + SPLIT_POLL).await;
    }
}

pub(super) async fn order(bridge: &Bridge, region: RegionId, command: Command) -> Result<(), CoordinatorError> {
    let command = Box::new(command);
    bridge.ask(|reply| Request::Command { region, command, reply }).await.map(drop)
}

/// Where keys lie.
struct Found {
    /// Regions that begin at one of them.
    begun: BTreeSet<RegionId>,
    /// The others, by the region that holds them, ascending; those apart that are in no known region.
    inside: BTreeMap<RegionId, Vec<Bytes>>,
}

async fn begins_at(bridge: &Bridge, keys: BTreeSet<Bytes>) -> Result<Found, CoordinatorError> {
    let look = move |view: View<'_>| {
        let mut found = Found { begun: BTreeSet::new(), inside: BTreeMap::new() };
        for key in keys {
            let Some(info) = view.region_at(&key) else { continue };
            if info.descriptor.range.start == key {
                found.begun.insert(info.descriptor.id);
            } else {
                found.inside.entry(info.descriptor.id).or_default().push(key);
            }
        }
        Ok(found)
    };
    bridge.look(look).await
}

/// Scatters regions, and says which could not be. What is spread already is a success.
pub(super) async fn scatter_all(
    bridge: &Bridge,
    regions: &[RegionId],
    group: &str,
) -> Result<Vec<RegionId>, CoordinatorError> {
    let mut failed = Vec::new();
    for region in regions {
        match order(bridge, *region, Command::Scatter { group: group.to_owned() }).await {
            Ok(()) | Err(CoordinatorError::Placement(PlacementError::Nothing { .. })) => {}
            Err(CoordinatorError::Placement(_)) => failed.push(*region),
            Err(error) => return Err(error),
        }
    }
    Ok(failed)
}

/// Longest name of a group of regions, in bytes.
pub(super) const MAX_GROUP_BYTES: usize = 1024;

pub(super) async fn scatter(bridge: Bridge, request: ScatterRegionRequest) -> Result<ScatterRegionResponse, Refusal> {
    check_bootstrapped(&bridge).await?;
    // Older clients name one region, in either of two fields.
    let one = request.region.map_or(request.region_id, |region| region.id);
    let asked = if request.regions_id.is_empty() { vec![one] } else { request.regions_id };
    if asked.len() > MAX_SCATTERED || request.group.len() > MAX_GROUP_BYTES {
        let message = format!("give at most {MAX_SCATTERED} regions and {MAX_GROUP_BYTES} bytes of a group's name");
        return Err(Refusal::invalid(message));
    }
    let regions: Vec<RegionId> = asked.into_iter().map(RegionId).collect();
    let failed = scatter_all(&bridge, &regions, &request.group).await?;
    if let ([region], [_]) = (&regions[..], &failed[..]) {
        // A single one is refused with its reason.
        order(&bridge, *region, Command::Scatter { group: request.group }).await?;
    }
    Ok(ScatterRegionResponse {
        finished_percentage: percentage(regions.len() - failed.len(), regions.len()),
        failed_regions_id: failed.into_iter().map(|region| region.0).collect(),
        ..Default::default()
    })
}

/// The kind of an operator, in the words that clients know.
pub(super) fn kind(operator: &Operator) -> String {
    let has = |wanted: fn(&Step) -> bool| operator.steps().any(wanted);
    let words = [
        (operator.origin() == Origin::People && operator.name() != SCATTER, "admin"),
        (has(|step| matches!(step, Step::TransferLeader { .. })), "leader"),
        (has(|step| matches!(step, Step::Split { .. })), "split"),
        (has(|step| !matches!(step, Step::TransferLeader { .. } | Step::Split { .. })), "region"),
        (operator.origin() == Origin::Checker, "replica"),
    ];
    words.into_iter().filter_map(|(is_so, word)| is_so.then_some(word)).collect::<Vec<_>>().join(",")
}

pub(super) fn ending(ending: &Ending) -> OperatorStatus {
    match ending {
        Ending::Finished => OperatorStatus::Success,
        Ending::TimedOut(_) => OperatorStatus::Timeout,
        Ending::Cancelled(_) => OperatorStatus::Cancel,
        Ending::Replaced(_) => OperatorStatus::Replace,
    }
}

pub(super) async fn operator(bridge: Bridge, request: GetOperatorRequest) -> Result<GetOperatorResponse, Refusal> {
    let region = RegionId(request.region_id);
    let look = move |view: View<'_>| {
        view.check_bootstrapped()?;
        let placement = view.placement();
        let told = |operator: &Operator, status| (operator.name(), kind(operator), status);
        let running = placement.operator(region).map(|operator| told(operator, OperatorStatus::Running));
        let ended = || {
            let record = placement.records().rev().find(|record| record.operator.region() == region)?;
            Some(told(&record.operator, ending(&record.ending)))
        };
        Ok(running.or_else(ended))
    };
    let Some((name, kind, status)) = bridge.look(look).await? else {
        let message = format!("region {region} has no operator");
        return Err(Refusal::header(ErrorType::RegionNotFound, message));
    };
    Ok(GetOperatorResponse {
        region_id: region.0,
        desc: Bytes::from_static(name.as_bytes()),
        kind: kind.into(),
        status: status.into(),
        ..Default::default()
    })
}
