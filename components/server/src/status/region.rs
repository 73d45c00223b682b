//! Regions as JSON.

use region::{MemberStatus, RegionStatus, Role};
use serde_json::{Value, json};
use store::RegionView;

use crate::http::region::{descriptor, peer};

/// A region as of its last change.
pub(super) fn view(view: &RegionView) -> Value {
    json!({
        "region": descriptor(&view.descriptor, peer),
        "peer": peer(&view.peer),
        "role": role(view.role),
        "term": view.term.0,
        "leader": view.leader.as_ref().map(peer),
    })
}

/// A region as it answered.
pub(super) fn status(status: &RegionStatus) -> Value {
    let apply = &status.apply_state;
    json!({
        "region": descriptor(&status.descriptor, peer),
        "peer": peer(&status.peer),
        "role": role(status.role),
        "term": status.term.0,
        "leader": status.leader.as_ref().map(peer),
        "committed_index": status.committed.0,
        "applied_index": apply.applied.0,
        "applied_term": apply.applied_term.0,
        "truncated_index": apply.truncated.0,
        "truncated_term": apply.truncated_term.0,
        "last_index": status.last_index.0,
        "log_bytes": status.log_bytes,
        "fenced": status.fenced,
        "quarantined": status.quarantined,
        "members": status.members.iter().map(member).collect::<Vec<_>>(),
    })
}

fn member(member: &MemberStatus) -> Value {
    json!({ "peer": peer(&member.peer), "matched_index": member.matched.0, "active": member.active })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::PreCandidate => "pre_candidate",
        Role::Candidate => "candidate",
        Role::Follower => "follower",
    }
}
