//! The words of `raftyard ctl`.

use clap::{Args, Subcommand, ValueEnum};

/// Regions that a list shows unless it is told otherwise.
const LIST_LIMIT: usize = 256;

/// Regions that `region top` shows unless it is told otherwise.
const TOP_LIMIT: usize = 10;

/// What the help calls the options that all commands have.
const EVERYWHERE: &str = "Options of every command";

/// The flags and commands of `raftyard ctl`.
#[derive(Clone, Debug, Args)]
#[command(after_help = NOTES)]
pub struct CtlArgs {
    /// The placement driver's addresses, with commas between them; the first that answers is asked.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "HOST:PORT,…", value_delimiter = ',',
        default_value = "127.0.0.1:2379")]
    pub pd: Vec<String>,
    /// Print JSON instead of tables. Keys in it are hex.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// Keys are written as hex, in and out, instead of as escaped text.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub hex: bool,
    /// How long an answer is waited for. Compactions are waited for to their end.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "SECONDS", default_value = "30",
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    #[command(subcommand)]
    pub command: CtlCommand,
}

const NOTES: &str = "\
Keys: printable ASCII stands for itself; \\xHH is a byte in hex, \\ooo one in octal; \\n, \\r, \\t, \\\", \\' and \\\\ are \
what they are in C. With --hex a key is two digits a byte.

Status at the end: 0 done, 1 an answer made no sense, 2 wrong words, 3 somebody cannot be reached, 4 refused.";

/// What may be asked.
#[derive(Clone, Debug, Subcommand)]
pub enum CtlCommand {
    /// Show stores; let one leave, or stay after all.
    Store(StoreArgs),
    /// Show regions.
    Region(RegionArgs),
    /// Show, ask for and cancel what the placement driver does with regions.
    Operator(OperatorArgs),
    /// Cut regions at keys, at once.
    Split {
        /// The keys; each begins a region then.
        #[arg(value_name = "KEY", required = true)]
        keys: Vec<String>,
    },
    /// Have a region led by its peer on a store, at once.
    Transfer {
        /// The region's id.
        region: u64,
        /// The store's id.
        store: u64,
    },
    /// Compact the data of stores, and wait for the end.
    Compact {
        /// The stores' ids; all that there are when none is given.
        #[arg(value_name = "STORE")]
        stores: Vec<u64>,
        /// The first key of what is compacted.
        #[arg(long, value_name = "KEY")]
        from: Option<String>,
        /// The key behind the last.
        #[arg(long, value_name = "KEY")]
        to: Option<String>,
    },
    /// Show the snapshots that are on their way.
    Snapshots {
        /// The stores' ids; all that there are when none is given.
        #[arg(value_name = "STORE")]
        stores: Vec<u64>,
    },
    /// Have the replicas of regions compared; without regions, show the replicas that were found to differ.
    ConsistencyCheck {
        /// The regions' ids.
        #[arg(value_name = "REGION")]
        regions: Vec<u64>,
    },
    /// Show or set how regions are placed.
    Config(ConfigArgs),
}

/// `raftyard ctl store`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct StoreArgs {
    /// The store's id; all stores when none is given.
    #[arg(value_name = "STORE")]
    pub store: Option<u64>,
    #[command(subcommand)]
    pub order: Option<StoreOrder>,
}

/// What may be done with a store.
#[derive(Clone, Debug, Subcommand)]
pub enum StoreOrder {
    /// Have it emptied; once it is empty it is a tombstone and may be ended.
    Remove {
        /// The store's id.
        store: u64,
    },
    /// Let a store that is being emptied stay.
    Keep {
        /// The store's id.
        store: u64,
    },
}

/// `raftyard ctl region`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RegionArgs {
    /// The region's id; a list by key when none is given.
    #[arg(value_name = "REGION")]
    pub region: Option<u64>,
    /// Begin the list with the region that holds this key.
    #[arg(long, value_name = "KEY", conflicts_with = "region")]
    pub from: Option<String>,
    /// Most regions of the list.
    #[arg(long, value_name = "N", default_value_t = LIST_LIMIT, value_parser = one_or_more, conflicts_with = "region")]
    pub limit: usize,
    #[command(subcommand)]
    pub by: Option<RegionBy>,
}

/// Other ways to choose regions.
#[derive(Clone, Debug, Subcommand)]
pub enum RegionBy {
    /// The region that holds a key.
    Key {
        /// The key.
        key: String,
    },
    /// The largest regions.
    Top {
        /// How many.
        #[arg(value_name = "N", default_value_t = TOP_LIMIT, value_parser = one_or_more)]
        limit: usize,
        /// What is counted.
        #[arg(long, value_enum, default_value_t = Measure::Size)]
        by: Measure,
    },
}

fn one_or_more(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|number| *number > 0).ok_or("give a number from 1 on")
}

/// What makes a region large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// About how many bytes its keys and values take.
    Size,
    /// About how many keys it has.
    Keys,
    /// Bytes written since the heartbeat before.
    Written,
    /// Bytes read since the heartbeat before.
    Read,
}

/// `raftyard ctl operator`.
#[derive(Clone, Debug, Args)]
pub struct OperatorArgs {
    #[command(subcommand)]
    pub order: Option<OperatorOrder>,
}

/// What may be done with operators; without any of these, those under way are shown.
#[derive(Clone, Debug, Subcommand)]
pub enum OperatorOrder {
    /// Show those that are under way.
    List,
    /// Show a region's operator, or the one that ended last.
    Show {
        /// The region's id.
        region: u64,
    },
    /// Show those that have ended.
    History,
    /// Ask for one.
    #[command(subcommand)]
    Add(NewOperator),
    /// End a region's operator. What it has done so far stays.
    Cancel {
        /// The region's id.
        region: u64,
    },
}

/// An operator that may be asked for.
#[derive(Clone, Debug, Subcommand)]
pub enum NewOperator {
    /// Have a region led by its peer on a store.
    TransferLeader {
        /// The region's id.
        region: u64,
        /// The store's id.
        store: u64,
    },
    /// Give a region a peer on a store.
    AddPeer {
        /// The region's id.
        region: u64,
        /// The store's id.
        store: u64,
    },
    /// Take a region's peer on a store away.
    RemovePeer {
        /// The region's id.
        region: u64,
        /// The store's id.
        store: u64,
    },
    /// Replace a region's peer on a store by one on another.
    MovePeer {
        /// The region's id.
        region: u64,
        /// The store that gives it away.
        from: u64,
        /// The store that gets it.
        to: u64,
    },
    /// Cut a region: at keys, or in the middle.
    Split {
        /// The region's id.
        region: u64,
        /// A key to cut at.
        #[arg(long = "key", value_name = "KEY")]
        keys: Vec<String>,
        /// How the middle is found.
        #[arg(long, value_enum, conflicts_with = "keys")]
        policy: Option<SplitBy>,
    },
}

/// How the middle of a region is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SplitBy {
    /// By what its files tell.
    Approximate,
    /// By reading it.
    Scan,
}

/// `raftyard ctl config`.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub order: Option<ConfigOrder>,
}

/// What may be done with settings.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigOrder {
    /// Set one, for the whole cluster and at once.
    Set {
        /// Its name, such as schedule.store-limit.
        name: String,
        /// Its value.
        value: String,
    },
}
