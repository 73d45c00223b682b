//! The shape of the workspace: which crate may know which, and what each is forbidden to call.
//!
//! `ARCHITECTURE.md` draws the layers; this test holds them against what `cargo metadata` says. Rules on normal and build
//! dependencies keep the product's shape. Dev-dependencies may go sideways too, since a crate's tests may need its
//! neighbour, but never up: a test that needs a crate from above belongs to that crate, or here in `tests/`.
//!
//! The checks are functions over a [`Graph`] and over file contents, so that the tests at the end can show that each of
//! them fails when it should.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Every crate of the workspace and its layer. An edge may point only to a lower layer.
const LAYERS: &[(&str, u32)] = &[
    ("types", 0),
    ("proto", 1),
    ("observe", 1),
    ("engine", 1),
    ("region", 2),
    ("apply", 2),
    ("placement", 2),
    ("runtime", 2),
    ("engine_rocks", 3),
    ("client", 3),
    ("transport", 3),
    ("snapshot", 3),
    ("store", 4),
    ("embed", 5),
    ("coordinator", 5),
    ("server", 6),
    ("sim", 6),
    ("raftyard-sim", 7),
    ("raftyard", 7),
];

/// Dependencies that only a few crates may name.
struct Reserved {
    dependencies: &'static [&'static str],
    only: &'static [&'static str],
    /// Whether dev-dependencies obey the rule too.
    in_tests: bool,
    why: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved {
        dependencies: &["rocksdb", "librocksdb-sys"],
        only: &["engine_rocks"],
        in_tests: true,
        why: "everything above the engines speaks their traits",
    },
    Reserved {
        dependencies: &["raft", "raft-proto", "protobuf"],
        only: &["engine", "region", "apply", "store", "engine_rocks"],
        in_tests: false,
        why: "raft's messages travel as opaque bytes; its protobuf 2 stays where entries are handled",
    },
    Reserved {
        dependencies: &["tonic", "tonic-prost", "tonic-prost-build", "tonic-health", "hyper", "axum", "h2", "tower"],
        only: &["proto", "client", "transport", "server"],
        in_tests: false,
        why: "the network is an outer layer; `proto` needs it for the generated stubs alone",
    },
    Reserved {
        dependencies: &["tokio", "tokio-stream", "tokio-util", "async-std", "smol", "rayon", "threadpool"],
        only: &["runtime", "client", "transport", "server", "raftyard"],
        in_tests: false,
        why: "these start threads; `client` runs on its caller's runtime",
    },
    Reserved {
        dependencies: &["slog-async"],
        only: &["observe"],
        in_tests: false,
        why: "it starts the one logging thread",
    },
    Reserved {
        dependencies: &["engine_rocks"],
        only: &["embed", "server", "raftyard"],
        in_tests: false,
        why: "the store takes any engine; whoever opens it chooses",
    },
    Reserved {
        dependencies: &["client", "transport"],
        only: &["server", "raftyard"],
        in_tests: false,
        why: "a store's data path needs neither",
    },
    Reserved {
        dependencies: &["tikv-client"],
        only: &["raftyard"],
        in_tests: true,
        why: "a foreign client, here to test against",
    },
];

/// Crates whose whole behaviour is a function of what is handed in (ARCHITECTURE.md, "Determinism").
const DETERMINISTIC: &[&str] =
    &["types", "engine", "region", "apply", "placement", "store", "coordinator", "sim", "snapshot"];

/// What a deterministic crate may not depend on outside its tests.
const UNDETERMINED: &[&str] = &["rand", "fastrand", "getrandom", "uuid", "ahash", "chrono", "time", "tempfile"];

/// The machines that perform no IO, and what would let them.
const SANS_IO: &[&str] = &["types", "region", "apply", "placement"];
const IO: &[&str] = &["runtime", "crossbeam-channel", "parking_lot", "libc", "fs2", "engine_rocks"];

/// Crates in which threads start.
const THREADED: &[&str] = &["runtime", "transport", "server"];

/// What [`DETERMINISTIC`] crates must have banned at the least, beside the root's bans.
const DETERMINISTIC_BANS: &[&str] = &[
    "std::time::Instant::now",
    "std::time::Instant::elapsed",
    "std::time::SystemTime::now",
    "std::hash::RandomState",
    "std::env::var",
    "std::collections::HashMap",
    "std::collections::HashSet",
];

/// What the root must have banned at the least; the first are what [`THREADED`] crates are free of.
const THREAD_BANS: &[&str] =
    &["std::thread::spawn", "std::thread::scope", "std::thread::Builder::spawn", "std::thread::Builder::spawn_scoped"];
const COMMON_BANS: &[&str] = &[
    "std::thread::sleep",
    "rocksdb::DBCommon::flush",
    "rocksdb::DBCommon::flush_opt",
    "rocksdb::DBCommon::flush_cf",
    "rocksdb::DBCommon::flush_cf_opt",
];

/// A feature that no build for users may have, and the only crate whose tests may ask for it.
struct TestFeature {
    name: &'static str,
    in_tests_of: &'static str,
    what: &'static str,
}

const TEST_FEATURES: &[TestFeature] = &[
    TestFeature { name: "planted", in_tests_of: "sim", what: "planted bugs" },
    TestFeature { name: "failpoints", in_tests_of: "raftyard", what: "fail points" },
];

/// One dependency as a manifest declares it.
struct Edge {
    from: String,
    to: String,
    /// A dev-dependency.
    test: bool,
    /// What it asks for.
    features: Vec<String>,
}

/// A feature of a crate, and what it switches on.
struct Feature {
    of: String,
    name: String,
    enables: Vec<String>,
}

/// The workspace's crates and everything that they declare, third-party crates included.
struct Graph {
    crates: BTreeSet<String>,
    edges: Vec<Edge>,
    features: Vec<Feature>,
}

impl Graph {
    /// The workspace that this test belongs to. Manifests suffice: nothing is resolved, so no network is needed.
    fn of_workspace() -> Self {
        let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
        let mut graph = Self { crates: BTreeSet::new(), edges: Vec::new(), features: Vec::new() };
        for package in metadata.workspace_packages() {
            let from = package.name.to_string();
            graph.edges.extend(package.dependencies.iter().map(|dependency| Edge {
                from: from.clone(),
                to: dependency.name.clone(),
                test: dependency.kind == DependencyKind::Development,
                features: dependency.features.clone(),
            }));
            let feature = |(name, enables): (&String, &Vec<String>)| Feature {
                of: from.clone(),
                name: name.clone(),
                enables: enables.clone(),
            };
            graph.features.extend(package.features.iter().map(feature));
            graph.crates.insert(from);
        }
        graph
    }

    /// A small graph for the tests of the checks: `from -> to`, or `from ~> to` for a dev-dependency; `to` may ask for a
    /// feature, as in `types/planted`.
    fn parse(edges: &[&str]) -> Self {
        let edges: Vec<Edge> = edges
            .iter()
            .map(|edge| {
                let parts: Vec<&str> = edge.split(' ').collect();
                let (to, feature) = parts[2].split_once('/').map_or((parts[2], None), |(to, name)| (to, Some(name)));
                let features = feature.into_iter().map(str::to_owned).collect();
                Edge { from: parts[0].to_owned(), to: to.to_owned(), test: parts[1] == "~>", features }
            })
            .collect();
        let crates = LAYERS.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self { crates, edges, features: Vec::new() }
    }

    /// Every workspace crate that `start` is built from, itself included.
    fn built_from(&self, start: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![self.crates.get(start).unwrap().as_str()];
        while let Some(name) = open.pop() {
            if reached.insert(name) {
                let built = self.edges.iter().filter(|edge| edge.from == name && !edge.test);
                open.extend(built.map(|edge| edge.to.as_str()).filter(|to| self.crates.contains(*to)));
            }
        }
        reached
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn layer(name: &str) -> Option<u32> {
    LAYERS.iter().find(|(known, _)| *known == name).map(|(_, layer)| *layer)
}

/// What is wrong with the graph; one sentence for each fault.
fn faults(graph: &Graph) -> Vec<String> {
    let mut faults = misplaced_crates(graph);
    faults.extend(graph.edges.iter().filter_map(upward_edge));
    faults.extend(graph.edges.iter().flat_map(reserved_edge));
    faults.extend(graph.edges.iter().filter_map(undetermined_edge));
    faults.extend(network_below_embed(graph));
    faults.extend(graph.edges.iter().flat_map(test_feature_edge));
    faults.extend(graph.features.iter().flat_map(hidden_test_feature));
    faults
}

/// A dependency that brings a test's feature into what users run, or into the tests of others.
fn test_feature_edge(edge: &Edge) -> Vec<String> {
    let Edge { from, to, test, features } = edge;
    let asked = TEST_FEATURES.iter().filter(|feature| features.iter().any(|asked| asked == feature.name));
    let forbidden = asked.filter(|feature| !(*test && from == feature.in_tests_of));
    forbidden
        .map(|TestFeature { in_tests_of, what, .. }| {
            format!("{from} asks {to} for {what}; only {in_tests_of}'s tests may")
        })
        .collect()
}

/// A feature that switches a test's feature on under another name: by default, or in passing.
fn hidden_test_feature(feature: &Feature) -> Vec<String> {
    let Feature { of, name, enables } = feature;
    let enabled = |test: &&TestFeature| enables.iter().any(|enabled| enabled.rsplit('/').next() == Some(test.name));
    let hidden = TEST_FEATURES.iter().filter(enabled).filter(|test| name != test.name);
    hidden.map(|test| format!("{of}'s feature {name} switches on {}: only {:?} may", test.what, test.name)).collect()
}

/// Crates without a layer, and layers without a crate.
fn misplaced_crates(graph: &Graph) -> Vec<String> {
    let unknown = graph.crates.iter().filter(|name| layer(name).is_none());
    let gone = LAYERS.iter().filter(|(name, _)| !graph.crates.contains(*name));
    unknown
        .map(|name| format!("{name} has no layer: add it to LAYERS here and to ARCHITECTURE.md"))
        .chain(gone.map(|(name, _)| format!("{name} is in LAYERS but not in the workspace")))
        .collect()
}

fn upward_edge(edge: &Edge) -> Option<String> {
    let (from, to) = (layer(&edge.from)?, layer(&edge.to)?);
    let allowed = if edge.test { to <= from } else { to < from };
    let direction = if edge.test { "upwards" } else { "upwards or sideways" };
    (!allowed).then(|| format!("{} (layer {from}) depends {direction} on {} (layer {to})", edge.from, edge.to))
}

fn reserved_edge(edge: &Edge) -> Vec<String> {
    RESERVED
        .iter()
        .filter(|rule| rule.in_tests || !edge.test)
        .filter(|rule| rule.dependencies.contains(&edge.to.as_str()) && !rule.only.contains(&edge.from.as_str()))
        .map(|rule| format!("{} names {}; only {:?} may: {}", edge.from, edge.to, rule.only, rule.why))
        .collect()
}

fn undetermined_edge(edge: &Edge) -> Option<String> {
    let is = |names: &[&str], name: &String| names.contains(&name.as_str());
    let undetermined = is(DETERMINISTIC, &edge.from) && is(UNDETERMINED, &edge.to);
    let performs_io = is(SANS_IO, &edge.from) && is(IO, &edge.to);
    (!edge.test && (undetermined || performs_io))
        .then(|| format!("{} is a pure machine and must not depend on {}", edge.from, edge.to))
}

/// A program that embeds a store links no server: what `embed` is built from names no gRPC, the generated stubs of `proto`
/// apart.
fn network_below_embed(graph: &Graph) -> Vec<String> {
    let network = ["tonic", "hyper", "axum", "client", "transport", "server"];
    let embedded = graph.built_from("embed");
    graph
        .edges
        .iter()
        .filter(|edge| !edge.test && edge.from != "proto" && embedded.contains(edge.from.as_str()))
        .filter(|edge| network.contains(&edge.to.as_str()))
        .map(|edge| format!("embed knows the network through {}, which names {}", edge.from, edge.to))
        .collect()
}

/// The paths that a clippy.toml bans: one `path = "…"` a line.
fn bans(clippy_toml: &str) -> BTreeSet<&str> {
    let entries = clippy_toml.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    entries.filter_map(|line| line.split_once("path = \"")?.1.split('"').next()).collect()
}

/// The bans of the clippy.toml that clippy reads for a crate: its own, else the root's.
fn bans_of(name: &str) -> String {
    let own = root().join("components").join(name).join("clippy.toml");
    read(if own.exists() { &own } else { Path::new("clippy.toml") })
}

fn read(path: &Path) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Bans that a crate's clippy.toml lacks, and thread bans that it has lost without being one of [`THREADED`].
fn missing_bans<'a>(name: &str, root_bans: &BTreeSet<&'a str>, own_bans: &BTreeSet<&str>) -> Vec<&'a str> {
    let excused = |ban: &str| THREADED.contains(&name) && THREAD_BANS.contains(&ban);
    let deterministic: &[&str] = if DETERMINISTIC.contains(&name) { DETERMINISTIC_BANS } else { &[] };
    let required = root_bans.iter().chain(deterministic);
    required.copied().filter(|ban| !own_bans.contains(ban) && !excused(ban)).collect()
}

#[test]
fn the_workspace_keeps_its_layers() {
    let graph = Graph::of_workspace();
    assert!(graph.edges.len() > LAYERS.len(), "cargo metadata reported almost no dependencies");
    let faults = faults(&graph);
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn no_crate_lost_a_ban() {
    let root_toml = read(Path::new("clippy.toml"));
    let root_bans = bans(&root_toml);
    let known = COMMON_BANS.iter().chain(THREAD_BANS);
    let lost: Vec<_> = known.filter(|ban| !root_bans.contains(*ban)).collect();
    assert!(lost.is_empty(), "the root's clippy.toml lacks {lost:?}");

    let members = LAYERS.iter().map(|(name, _)| *name).filter(|name| *name != "raftyard");
    let missing: BTreeMap<_, _> = members
        .map(|name| (name, bans_of(name)))
        .map(|(name, own)| (name, missing_bans(name, &root_bans, &bans(&own)).join(", ")))
        .filter(|(_, missing)| !missing.is_empty())
        .collect();
    assert!(missing.is_empty(), "bans missing from components/*/clippy.toml: {missing:#?}");
}

#[test]
fn deterministic_crates_share_one_list_of_bans() {
    let shared = bans_of("types");
    for name in DETERMINISTIC {
        assert!(bans_of(name) == shared, "components/{name}/clippy.toml is not the one of `types`: link it");
    }
}

/// A bare machine builds everything: no crate of the lock file looks for a TLS library there.
#[test]
fn nothing_needs_a_tls_library_on_the_machine() {
    let lock = read(Path::new("Cargo.lock"));
    let packages: BTreeSet<&str> = lock.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
    assert!(packages.contains("\"rocksdb\""), "Cargo.lock was not understood");
    for unwanted in ["\"openssl\"", "\"openssl-sys\"", "\"native-tls\""] {
        assert!(!packages.contains(unwanted), "{unwanted} is in Cargo.lock: see who brings it with `cargo tree -i`");
    }
}

#[test]
fn a_sound_graph_has_no_faults() {
    let graph = Graph::parse(&[
        "proto -> types",
        "proto -> tonic",
        "region -> proto",
        "region -> raft",
        "region ~> apply",
        "engine_rocks -> rocksdb",
        "store -> region",
        "store ~> engine_rocks",
        "store ~> tempfile",
        "embed -> store",
        "server -> embed",
        "server -> tokio",
    ]);
    assert_eq!(faults(&graph), Vec::<String>::new());
}

#[test]
fn each_bad_edge_is_a_fault() {
    for (edge, expected) in [
        ("types -> engine", "types (layer 0) depends upwards or sideways on engine (layer 1)"),
        ("region -> apply", "region (layer 2) depends upwards or sideways on apply (layer 2)"),
        ("store ~> server", "store (layer 4) depends upwards on server (layer 6)"),
        ("store -> rocksdb", "store names rocksdb"),
        ("store ~> rocksdb", "store names rocksdb"),
        ("server -> raft", "server names raft"),
        ("store -> tonic", "store names tonic"),
        ("coordinator -> tokio", "coordinator names tokio"),
        ("store -> engine_rocks", "store names engine_rocks"),
        ("store -> client", "store names client"),
        ("region -> rand", "region is a pure machine and must not depend on rand"),
        ("apply -> runtime", "apply is a pure machine and must not depend on runtime"),
    ] {
        let faults = faults(&Graph::parse(&[edge]));
        assert!(faults.iter().any(|fault| fault.starts_with(expected)), "{edge}: {faults:?}");
    }
}

#[test]
fn a_network_far_below_embed_is_a_fault() {
    let graph = Graph::parse(&["embed -> store", "store -> runtime", "runtime -> axum"]);
    let expected = "embed knows the network through runtime, which names axum";
    assert!(faults(&graph).iter().any(|fault| fault == expected));

    let tests_only = Graph::parse(&["embed -> store", "store -> runtime", "runtime ~> axum"]);
    assert_eq!(faults(&tests_only), Vec::<String>::new());
}

#[test]
fn features_of_tests_stay_in_tests() {
    for (edge, what) in [
        ("store -> types/planted", "planted bugs"),
        ("raftyard ~> types/planted", "planted bugs"),
        ("raftyard -> sim/planted", "planted bugs"),
        ("raftyard -> server/failpoints", "fail points"),
        ("server ~> store/failpoints", "fail points"),
    ] {
        let faults = faults(&Graph::parse(&[edge]));
        assert!(faults.iter().any(|fault| fault.contains(what)), "{edge}: {faults:?}");
    }
    let sound = ["sim -> types", "sim ~> types/planted", "raftyard ~> server/failpoints"];
    assert_eq!(faults(&Graph::parse(&sound)), Vec::<String>::new());

    let faults = |of: &str, name: &str, enables: &str| {
        let (of, name, enables) = (of.to_owned(), name.to_owned(), vec![enables.to_owned()]);
        hidden_test_feature(&Feature { of, name, enables }).len()
    };
    assert_eq!(faults("sim", "default", "planted"), 1);
    assert_eq!(faults("store", "fast", "types/planted"), 1);
    assert_eq!(faults("server", "default", "failpoints"), 1);
    assert_eq!(faults("sim", "planted", "types/planted"), 0);
    assert_eq!(faults("server", "failpoints", "store/failpoints"), 0);
}

#[test]
fn crates_and_layers_must_match() {
    let mut graph = Graph::parse(&[]);
    graph.crates.remove("apply");
    graph.crates.insert("helpers".to_owned());
    let faults = faults(&graph);
    assert_eq!(faults.len(), 2);
    assert!(faults[0].starts_with("helpers has no layer") && faults[1].starts_with("apply is in LAYERS"));
}

#[test]
fn a_lost_ban_is_noticed() {
    let root_bans = BTreeSet::from(["std::thread::sleep", "std::thread::spawn"]);
    let own = bans("{ path = \"std::thread::sleep\", reason = \"\" },\n# { path = \"std::thread::spawn\" }");
    assert_eq!(own, BTreeSet::from(["std::thread::sleep"]));
    assert_eq!(missing_bans("embed", &root_bans, &own), ["std::thread::spawn"]);
    assert_eq!(missing_bans("server", &root_bans, &own), [""; 0]);
    assert!(missing_bans("region", &root_bans, &own).contains(&"std::time::Instant::now"));
}
