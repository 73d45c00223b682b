//! What clients and operators ask of a region, each with a name under which its answer is noted.

use std::sync::Arc;

use engine::RegionSnapshot;
use proto::log::{Command, Operation, Put, WriteBatch, command, operation};
use region::{Input, MembersRequest, Proposal, Read, SplitRequest};
use types::{
    KeyRange, MemberChange, NewRegion, PeerId, RegionDescriptor, RegionId, RequestError, RequestHeader, Responder,
    SplitPlan, WriteResult,
};

use super::cluster::{Answer, Cluster, REGION};
use super::member::keys;

impl Cluster {
    /// What a client knows that has asked the member with the newest view of the region.
    pub fn header(&self) -> RequestHeader {
        let members = self.members.values().filter(|member| member.id == REGION);
        let epochs = members.map(|member| member.applier.descriptor.epoch);
        let epoch = epochs.max_by_key(|epoch| (epoch.version, epoch.conf_ver)).unwrap_or_default();
        RequestHeader { region_id: REGION, peer_id: None, term: None, epoch }
    }

    /// What a client knows that has asked this member.
    pub fn header_of(&self, id: u64) -> RequestHeader {
        let region = &self.members[&id].applier.descriptor;
        RequestHeader { region_id: region.id, peer_id: None, term: None, epoch: region.epoch }
    }

    /// The region as a member knows it.
    pub fn region_of(&self, id: u64) -> Arc<RegionDescriptor> {
        self.members[&id].applier.descriptor.clone()
    }

    fn note<T: 'static>(
        &self,
        name: &str,
        answer: impl Fn(T) -> Answer + Send + 'static,
    ) -> Responder<Result<T, RequestError>> {
        let (answers, name) = (self.answers.clone(), name.to_owned());
        Responder::new(move |result: Result<T, RequestError>| {
            answers.lock().unwrap().push((name, result.map_or_else(Answer::Error, answer)));
        })
    }

    /// A client's write of one key, named by that key.
    pub fn proposal(&self, header: RequestHeader, key: &str) -> Input {
        let put = Put { column_family: 0, key: key.to_owned().into_bytes().into(), value: b"v".to_vec().into() };
        let operations = vec![Operation { kind: Some(operation::Kind::Put(put)) }];
        let command = Command { kind: Some(command::Kind::Write(WriteBatch { operations })) };
        let end = format!("{key}\0");
        let keys = KeyRange::new(key.to_owned().into_bytes(), end.into_bytes());
        let (answers, name) = (self.answers.clone(), key.to_owned());
        let responder = Responder::new(move |result: WriteResult| {
            let answer = result.map_or_else(Answer::Error, |_| Answer::Written);
            answers.lock().unwrap().push((name, answer));
        });
        Input::Propose(Proposal { header, command, keys, responder })
    }

    /// A client's read, with a name.
    pub fn read(&self, header: RequestHeader, name: &str) -> Input {
        let responder = self.note(name, |snapshot: RegionSnapshot| Answer::Read {
            applied: snapshot.applied.0,
            range: snapshot.descriptor.range.clone(),
            keys: keys(&*snapshot.data, &snapshot.descriptor),
        });
        Input::Read(Read { header, responder })
    }

    /// An operator's leader transfer, with a name.
    pub fn transfer(&self, to: u64, name: &str) -> Input {
        Input::TransferLeader { to: PeerId(to), responder: self.note(name, |()| Answer::Done) }
    }

    /// An operator's split of a region at keys, as this member knows the region. A new region's peers are numbered by the
    /// region and their place: those of region 2 are 21, 22 and so on.
    pub fn split(&self, region: &RegionDescriptor, cuts: &[(&str, u64)], right_derive: bool, name: &str) -> Input {
        let new = |(key, id): &(&str, u64)| NewRegion {
            key: key.as_bytes().to_vec().into(),
            id: RegionId(*id),
            peers: (1..=region.peers.len() as u64).map(|place| PeerId(id * 10 + place)).collect(),
        };
        let plan = SplitPlan { regions: cuts.iter().map(new).collect(), right_derive };
        let responder = self.note(name, |regions: Vec<RegionDescriptor>| {
            Answer::Split(regions.iter().map(|region| region.id.0).collect())
        });
        Input::Split(SplitRequest { epoch: region.epoch, plan, responder })
    }

    /// An operator's change of members, as this member knows the region.
    pub fn change_members(&self, region: &RegionDescriptor, changes: Vec<MemberChange>, name: &str) -> Input {
        let responder = self.note(name, |_: RegionDescriptor| Answer::Done);
        Input::ChangeMembers(MembersRequest { epoch: region.epoch, changes, responder })
    }
}
