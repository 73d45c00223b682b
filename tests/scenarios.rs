//! What `docs/testing.md` says of scenarios is true: every test, transcript and checker that it names exists, and no scenario stands
//! there twice.
//!
//! The checks are functions over the page and over the files, so that the tests at the end can show that they fail.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const HEADING: &str = "## Scenarios of a peer's tests";

/// The text of every source file of the workspace and every transcript, by its path from the root.
type Files = BTreeMap<PathBuf, String>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn gather(directory: &Path, files: &mut Files) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "txt") {
            let name = path.strip_prefix(root()).unwrap().to_owned();
            files.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
}

fn files() -> Files {
    let mut files = Files::new();
    gather(&root().join("components"), &mut files);
    gather(&root().join("tests"), &mut files);
    files
}

fn section(page: &str) -> &str {
    let (_, section) = page.split_once(HEADING).expect("the page has the section");
    section.split_once("\n## ").map_or(section, |(section, _)| section)
}

/// What stands between backticks in some text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Both cells of every line of a table that is neither head nor rule.
fn rows(section: &str) -> impl Iterator<Item = (&str, &str)> {
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    cells.filter(|(scenario, _)| *scenario != "scenario")
}

/// `a_{b,c}` is `a_b` and `a_c`.
fn expand(scenario: &str) -> Vec<String> {
    let Some((before, rest)) = scenario.split_once('{') else { return vec![scenario.to_owned()] };
    let (choices, after) = rest.split_once('}').expect("a brace is closed");
    choices.split(',').flat_map(|choice| expand(&format!("{before}{choice}{after}"))).collect()
}

/// Whether a file is the one that is called so: by its own name, or as the tests of the module of that name.
fn is_called(path: &Path, krate: &str, name: &str) -> bool {
    let stem = path.file_stem().is_some_and(|stem| stem == name);
    let module = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "mod")
        && path.parent().and_then(Path::file_name).is_some_and(|parent| parent == name);
    let home = if krate == "raftyard" { Path::new("tests").to_owned() } else { Path::new("components").join(krate) };
    path.starts_with(home) && (stem || module)
}

/// Whether a file has a test of this name: the attribute stands right above it, among others.
fn has_test(text: &str, name: &str) -> bool {
    let Some((before, _)) = text.split_once(&format!("fn {name}()")) else { return false };
    let above = before.trim_end().trim_end_matches("async").trim_end().lines().rev().map(str::trim);
    let mut attributes = above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    attributes.any(|line| line == "#[test]" || line.starts_with("#[tokio::test"))
}

/// Whether what is named in backticks exists. What has no slash is no name of ours.
fn exists(name: &str, files: &Files) -> bool {
    let Some((krate, rest)) = name.split_once('/') else { return true };
    if let Some((file, test)) = rest.split_once("::") {
        return files.iter().any(|(path, text)| is_called(path, krate, file) && has_test(text, test));
    }
    let path = if rest.ends_with(".txt") {
        format!("components/{krate}/tests/transcripts/{rest}")
    } else {
        format!("components/{krate}/src/{rest}.rs")
    };
    files.contains_key(Path::new(&path))
}

fn faults(section: &str, files: &Files) -> Vec<String> {
    let missing = rows(section).flat_map(|(_, cover)| quoted(cover)).filter(|name| !exists(name, files));
    let mut faults: Vec<String> = missing.map(|name| format!("{name} does not exist")).collect();
    let mut seen = BTreeSet::new();
    for (scenarios, cover) in rows(section) {
        let scenarios: Vec<String> = quoted(scenarios).flat_map(expand).collect();
        if scenarios.is_empty() || cover.trim().is_empty() {
            faults.push(format!("a line says nothing: {scenarios:?} {cover}"));
        }
        faults.extend(scenarios.into_iter().filter_map(|name| {
            let twice = format!("{name} stands there twice");
            (!seen.insert(name)).then_some(twice)
        }));
    }
    faults
}

#[test]
fn every_scenario_is_covered_by_what_exists() {
    let page = std::fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let section = section(&page);
    let faults = faults(section, &files());
    assert!(faults.is_empty(), "docs/testing.md:\n{}", faults.join("\n"));
    let scenarios = rows(section).flat_map(|(scenarios, _)| quoted(scenarios)).flat_map(expand).count();
    assert!(scenarios > 150, "{scenarios} scenarios: is the page read as it is written?");
}

#[test]
fn scenarios_with_braces_are_several() {
    assert_eq!(expand("split_{left,right}_{a,b}"), ["split_left_a", "split_left_b", "split_right_a", "split_right_b"]);
}

#[test]
fn what_is_missing_or_said_twice_is_noticed() {
    let text = "/// Why.\n#[test]\nfn a_test() {}\n\n#[test]\n#[should_panic]\nfn another() {}\n\n\
                #[tokio::test]\nasync fn a_third() {}\n\nfn no_test() {}\n";
    let files: Files = [
        ("components/region/tests/live.rs", text),
        ("components/apply/src/admin/tests.rs", text),
        ("components/region/tests/transcripts/split.txt", ""),
        ("components/sim/src/check/scans.rs", ""),
        ("tests/restarts.rs", text),
    ]
    .map(|(path, text)| (PathBuf::from(path), text.to_owned()))
    .into();
    let check = |rows: &str| faults(&format!("| scenario | covered by |\n|---|---|\n{rows}"), &files);
    let sound = "| `a`, `b_{c,d}` | `region/live::a_test`, `region/live::a_third`, `apply/admin::another`, `region/split.txt`, `D6` |\n\
                 | `e` | `sim/check/scans`, `raftyard/restarts::a_test` |\n";
    assert_eq!(check(sound), [""; 0]);
    for wrong in [
        "| `a` | `region/live::no_test` |",
        "| `a` | `region/live::a_tes` |",
        "| `a` | `region/gone::a_test` |",
        "| `a` | `types/live::a_test` |",
        "| `a` | `region/split2.txt` |",
        "| `a` | `sim/check/split` |",
        "| `a` | `raftyard/live::a_test` |",
        "| `a_{b,b}` | Reason. |",
        "| nothing | Reason. |",
    ] {
        assert_eq!(check(wrong).len(), 1, "{wrong}");
    }
}
