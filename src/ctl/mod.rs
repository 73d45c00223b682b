//! `raftyard ctl`: looks at a running cluster and gives it orders, over HTTP.
//!
//! Regions, stores and operators are the placement driver's to tell; what happens at once (splitting, handing a leader over,
//! compacting, comparing) is asked of the stores, found by the addresses that they registered. Nothing here decides
//! anything: who is asked may refuse, and says why.
//!
//! Reading order: [`args`], [`run`], [`cluster`], then a file for each command; [`keys`] and [`error`] say how keys are
//! written and what the program ends with.

pub mod answers;
mod args;
pub mod cluster;
mod config;
pub mod error;
mod everywhere;
pub mod keys;
pub mod operator;
mod output;
mod region;
mod store;

use std::time::Duration;

use runtime::clock::{SystemWallClock, WallClock};
use serde_json::{Value, json};
use types::RegionId;

use answers::Region;
pub use args::CtlArgs;
use args::CtlCommand;
pub use cluster::Cluster;
use cluster::read;
pub use error::CtlError;
use error::Whom;
use keys::Notation;
use output::{Output, Side, table};

/// Does what it is asked for.
///
/// # Errors
/// [`CtlError`].
pub fn run(args: &CtlArgs) -> Result<(), CtlError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cluster = Cluster::new(args.pd.clone(), Duration::from_secs(args.timeout));
    let keys = if args.hex { Notation::Hex } else { Notation::Escaped };
    let output = Output { json: args.json, keys };
    runtime.block_on(execute(&cluster, output, &args.command))
}

async fn execute(cluster: &Cluster, output: Output, command: &CtlCommand) -> Result<(), CtlError> {
    let now_ms = SystemWallClock.unix_ms();
    match command {
        CtlCommand::Store(args) => store::run(cluster, output, args, now_ms).await,
        CtlCommand::Region(args) => region::run(cluster, output, args).await,
        CtlCommand::Operator(args) => operator::run(cluster, output, args.order.as_ref(), now_ms).await,
        CtlCommand::Split { keys } => split(cluster, output, keys).await,
        CtlCommand::Transfer { region, store } => {
            let answer = cluster.order(RegionId(*region), &format!("transfer?to_store={store}"), None).await?;
            Ok(output.show(&answer, || format!("region {region} is led by store {store}"))?)
        }
        CtlCommand::Compact { stores, from, to } => {
            everywhere::compact(cluster, output, stores, (from.as_deref(), to.as_deref())).await
        }
        CtlCommand::Snapshots { stores } => everywhere::snapshots(cluster, output, stores).await,
        CtlCommand::ConsistencyCheck { regions } if regions.is_empty() => everywhere::differing(cluster, output).await,
        CtlCommand::ConsistencyCheck { regions } => check(cluster, output, regions).await,
        CtlCommand::Config(args) => config::run(cluster, output, args.order.as_ref()).await,
    }
}

async fn split(cluster: &Cluster, output: Output, keys: &[String]) -> Result<(), CtlError> {
    let keys: Result<Vec<_>, _> = keys.iter().map(|key| output.keys.parse(key)).collect();
    let answer = Value::Array(cluster.split(&keys?).await?);
    let regions: Vec<Region> = read(Whom::Pd, answer.clone())?;
    Ok(output.show(&answer, || parts(&regions, output.keys))?)
}

fn parts(regions: &[Region], keys: Notation) -> String {
    let row = |region: &Region| [region.id.to_string(), keys.start(&region.start_key.0), keys.end(&region.end_key.0)];
    let columns = [("region", Side::Right), ("from", Side::Left), ("to", Side::Left)];
    table(columns, regions.iter().map(row).collect(), "nothing was to be cut")
}

async fn check(cluster: &Cluster, output: Output, regions: &[u64]) -> Result<(), CtlError> {
    let mut answers = Vec::with_capacity(regions.len());
    for region in regions {
        answers.push(cluster.order(RegionId(*region), "consistency-check", None).await?);
    }
    let told =
        || "being compared; `raftyard ctl consistency-check` shows replicas that were found to differ".to_owned();
    Ok(output.show(&json!(answers), told)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parts_are_shown_by_their_keys() {
        let answer = json!([
            {"id": 9, "start_key": "", "end_key": "6D"},
            {"id": 4, "start_key": "6D", "end_key": ""},
        ]);
        let regions: Vec<Region> = serde_json::from_value(answer).unwrap();
        let shown = parts(&regions, Notation::Escaped);
        assert_eq!(shown, "REGION  FROM     TO\n     9  (first)  m\n     4  m        (last)");
    }
}
