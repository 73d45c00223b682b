//! `raftyard ctl` as a user runs it, against a cluster of real processes.

#![allow(clippy::unwrap_used)]

mod program;
mod support;

use std::process::{Command, Stdio};

use program::run;
use serde_json::Value;
use support::wait::until;
use support::{Cluster, ClusterShape};

/// `raftyard ctl` against one cluster.
struct Ctl {
    pd: String,
}

impl Ctl {
    fn new(cluster: &Cluster) -> Self {
        Self { pd: cluster.coordinator.address.clone() }
    }

    fn ends(&self, words: &[&str]) -> (Option<i32>, String) {
        run(&[&["ctl", "--pd", &self.pd], words].concat(), "")
    }

    /// How it ends when nobody reads what it says.
    fn ends_unread(&self, words: &[&str]) -> Option<i32> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftyard"));
        command.args([&["ctl", "--pd", &self.pd], words].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        child.wait().unwrap().code()
    }

    /// What is said when it does what it is asked for.
    fn says(&self, words: &[&str]) -> String {
        let (status, said) = self.ends(words);
        assert_eq!(status, Some(0), "{words:?}: {said}");
        said
    }

    fn json(&self, words: &[&str]) -> Value {
        let said = self.says(&[words, &["--json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"))
    }

    /// What is said when it is refused with this status.
    fn fails(&self, status: i32, words: &[&str]) -> String {
        let (ended, said) = self.ends(words);
        assert_eq!(ended, Some(status), "{words:?}: {said}");
        assert!(said.starts_with("raftyard: ") && said.lines().count() == 1, "{words:?}: {said}");
        said
    }
}

fn id(value: &Value) -> String {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no id")).to_string()
}

/// A store that has a peer of the region and does not lead it.
fn follower(region: &Value) -> String {
    let leader = &region["leader"]["store_id"];
    let peers = region["peers"].as_array().unwrap();
    id(&peers.iter().find(|peer| peer["store_id"] != *leader).unwrap()["store_id"])
}

#[test]
fn a_cluster_is_looked_at_and_given_orders() {
    support::run(async {
        let cluster =
            Cluster::start(ClusterShape { split_keys: vec!["m".to_owned()], ..ClusterShape::default() }).await;
        let ctl = Ctl::new(&cluster);
        stores_are_shown(&ctl, &cluster);
        regions_are_shown(&ctl);
        regions_are_cut(&ctl).await;
        leaders_are_handed_over(&ctl).await;
        stores_do_as_they_are_told(&ctl);
        settings_are_shown_and_set(&ctl);
        refusals_have_statuses_of_their_own(&ctl);
        cluster.assert_no_panic();
    });
}

fn stores_are_shown(ctl: &Ctl, cluster: &Cluster) {
    let shown = ctl.says(&["store"]);
    assert_eq!(shown.lines().count(), 1 + 3, "{shown}");
    for store in &cluster.stores {
        let row = shown.lines().find(|row| row.contains(&store.address)).unwrap();
        assert!(row.contains("Up") && row.contains(&store.status_address), "{row}");
    }
    let stores = ctl.json(&["store"]);
    let first = id(&stores["stores"][0]["store"]["id"]);
    let card = ctl.says(&["store", &first]);
    assert!(
        card.contains(&format!("store                {first}")) && card.contains("labels               -"),
        "{card}"
    );
}

fn regions_are_shown(ctl: &Ctl) {
    let shown = ctl.says(&["region"]);
    let rows: Vec<&str> = shown.lines().collect();
    assert_eq!(rows.len(), 1 + 2, "{shown}");
    assert!(rows[0].starts_with("REGION  FROM"), "{shown}");
    assert!(rows[1].contains("(first)") && rows[2].contains("(last)"), "{shown}");
    assert!(ctl.says(&["region", "--limit", "1"]).ends_with("… and more: go on with --from 'm'"));
    assert!(ctl.says(&["region", "--from", "m"]).lines().count() == 2);
    let at = |words: &[&str]| id(&ctl.json(words)["id"]);
    let (left, right) = (at(&["region", "key", "a"]), at(&["region", "key", "m"]));
    assert_ne!(left, right);
    assert_eq!(at(&["region", "key", ""]), left);
    assert_eq!(at(&["region", "key", r"\xff"]), right);
    assert_eq!(at(&["--hex", "region", "key", "6D"]), right);
    assert_eq!(at(&["region", &right]), right);
    assert!(ctl.says(&["--hex", "region", &right]).contains("6D"));
    assert_eq!(ctl.json(&["region", "top", "1", "--by", "keys"])["count"], 1);
}

async fn regions_are_cut(ctl: &Ctl) {
    // Keys of two regions, and bytes that are no text.
    let shown = ctl.says(&["split", "t", r"e\000\xff", "f"]);
    for part in [r"e\000\377", "f", "t", "(first)", "(last)"] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    assert_eq!(shown.lines().count(), 1 + 5, "{shown}");
    until("the placement driver knows the parts", async || {
        let regions = ctl.json(&["region"]);
        let keys: Vec<&str> =
            regions["regions"].as_array().unwrap().iter().map(|region| region["start_key"].as_str().unwrap()).collect();
        let expected = ["", "6500FF", "66", "6D", "74"];
        if keys == expected { Ok(()) } else { Err(format!("regions begin at {keys:?}")) }
    })
    .await;
    // Where a region begins, it is cut already.
    assert_eq!(ctl.json(&["split", "t"]).as_array().unwrap().len(), 1);
}

async fn leaders_are_handed_over(ctl: &Ctl) {
    let region = ctl.json(&["region", "key", "t"]);
    let (number, to) = (id(&region["id"]), follower(&region));
    assert_eq!(ctl.says(&["transfer", &number, &to]), format!("region {number} is led by store {to}"));

    let led_by = async |store: &str| {
        until("the placement driver knows the leader", async || {
            let leader = id(&ctl.json(&["region", &number])["leader"]["store_id"]);
            if leader == store { Ok(()) } else { Err(format!("it is store {leader}")) }
        })
        .await;
    };
    led_by(&to).await;
    let to = follower(&ctl.json(&["region", &number]));
    // A leader that is new does not know yet who has caught up.
    until("the placement driver takes it up", async || {
        let (status, said) = ctl.ends(&["operator", "add", "transfer-leader", &number, &to]);
        if status == Some(0) { Ok(()) } else { Err(said) }
    })
    .await;
    led_by(&to).await;
    until("the operator has ended well", async || {
        let state = ctl.json(&["operator", "show", &number]);
        if state["status"] == "SUCCESS" { Ok(()) } else { Err(state.to_string()) }
    })
    .await;
    let history = ctl.says(&["operator", "history"]);
    assert!(history.lines().any(|row| row.trim_start().starts_with(&number) && row.contains("SUCCESS")), "{history}");
    assert_eq!(ctl.says(&["operator"]), "no operator is under way");
}

fn stores_do_as_they_are_told(ctl: &Ctl) {
    let shown = ctl.says(&["compact"]);
    assert_eq!(shown.lines().count(), 1 + 3, "{shown}");
    let one = id(&ctl.json(&["store"])["stores"][0]["store"]["id"]);
    let compacted = ctl.json(&["compact", &one, "--from", "a", "--to", "m"]);
    assert_eq!((compacted.as_array().unwrap().len(), id(&compacted[0]["store_id"])), (1, one));
    // Nobody needs one where all members were there from the beginning.
    assert_eq!(ctl.says(&["snapshots"]), "no snapshot is on its way");
    assert_eq!(ctl.json(&["snapshots"]), Value::Array(Vec::new()));
    let region = id(&ctl.json(&["region", "key", "t"])["id"]);
    assert!(ctl.says(&["consistency-check", &region]).starts_with("being compared"));
    assert_eq!(ctl.says(&["consistency-check"]), "no replica was found to differ from its leader's");
}

fn settings_are_shown_and_set(ctl: &Ctl) {
    assert!(ctl.says(&["config"]).contains("replication.max-replicas"));
    ctl.says(&["config", "set", "schedule.store-limit", "77"]);
    assert_eq!(ctl.json(&["config"])["schedule"]["store-limit"], 77);
    assert!(ctl.fails(4, &["config", "set", "schedule.stoer-limit", "1"]).contains("stoer-limit"));
}

fn refusals_have_statuses_of_their_own(ctl: &Ctl) {
    assert!(ctl.fails(2, &["region", "key", r"\q"]).contains("escape that is none"));
    assert!(ctl.fails(2, &["--hex", "split", "m"]).contains("not hex"));
    assert!(ctl.fails(2, &["compact", "--from", "t", "--to", "m"]).contains("no key lies between"));
    assert_eq!(ctl.ends(&["split"]).0, Some(2));
    assert_eq!(ctl.ends(&["region", "--limit", "0"]).0, Some(2));
    assert_eq!(ctl.ends(&["region", "top", "0"]).0, Some(2));
    assert_eq!(ctl.ends(&["operator", "add", "fly", "1"]).0, Some(2));
    assert!(ctl.fails(4, &["region", "999"]).contains("no region 999"));
    assert!(ctl.fails(4, &["store", "999"]).contains("999"));
    assert!(ctl.fails(4, &["operator", "cancel", "999"]).contains("999"));
    let (status, said) = run(&["ctl", "--pd", "127.0.0.1:1", "store"], "");
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("the placement driver cannot be reached") && said.contains("--pd"), "{said}");
    // A store's status port is no placement driver.
    let status_address = &ctl.json(&["store"])["stores"][0]["store"]["status_address"];
    let (status, said) = run(&["ctl", "--pd", status_address.as_str().unwrap(), "store"], "");
    assert!(status == Some(1) && said.contains("is it the placement driver"), "{said}");
    let (status, said) = run(&["ctl", "--pd", "nowhere", "store"], "");
    assert_eq!(status, Some(2), "{said}");
    // Somebody who reads one line and goes is no error.
    assert_eq!(ctl.ends_unread(&["region"]), Some(0));
    // The first that answers is asked.
    let (status, said) = run(&["ctl", "--pd", &format!("127.0.0.1:1,{}", ctl.pd), "store"], "");
    assert_eq!(status, Some(0), "{said}");
}
