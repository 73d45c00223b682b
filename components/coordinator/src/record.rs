//! The coordinator's records: keys and values in column family `default` of its region. `docs/format.md` shows them
//! byte by byte.

use std::collections::BTreeMap;

use bytes::Bytes;
use types::codec::{DecodeError, Reader, Writer};
use types::{ClusterId, InstanceId, RegionDescriptor, StoreId, Term};

use crate::safe_point::{SafePoints, ServiceSafePoint};
use crate::store_info::{StoreDescription, StoreRecord, StoreState};

/// The version of the records in this module.
pub const COORDINATOR_FORMAT_VERSION: u8 = 1;

const CLUSTER_TAG: u8 = 0x01;
const CLAIM_TAG: u8 = 0x02;
const TIMESTAMP_BOUND_TAG: u8 = 0x03;
const ID_BOUND_TAG: u8 = 0x04;
const STORE_TAG: u8 = 0x05;
const LAYOUT_TAG: u8 = 0x06;
const LAYOUT_REGION_TAG: u8 = 0x07;
const SAFE_POINTS_TAG: u8 = 0x08;
const SERVICE_TAG: u8 = 0x09;
const SETTING_TAG: u8 = 0x0A;

/// A key and its value.
pub type RawRecord = (Bytes, Bytes);

/// One change of the coordinator's region; the changes of one write take effect together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordWrite {
    /// Sets a key's value.
    Put(Bytes, Bytes),
    /// Removes a key.
    Delete(Bytes),
}

/// Who the cluster is; written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterRecord {
    /// Its id.
    pub id: ClusterId,
    /// How many replicas a region has.
    pub replicas: u32,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
}

/// Everything that can lie in the coordinator's region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Who the cluster is.
    Cluster(ClusterRecord),
    /// The term of the newest leadership that claimed the region (D16).
    Claim(Term),
    /// All timestamps that were given away have a physical part below it, in milliseconds.
    TimestampBound(u64),
    /// All ids that were given away are at or below it.
    IdBound(u64),
    /// A store.
    Store(StoreRecord),
    /// The disks that the layout was made for, and how many regions it has.
    Layout {
        /// Stores and instances.
        members: BTreeMap<StoreId, InstanceId>,
        /// How many [`Record::LayoutRegion`]s belong to it.
        regions: u32,
    },
    /// A region of the layout.
    LayoutRegion(RegionDescriptor),
    /// The cluster's safe points.
    SafePoints(SafePoints),
    /// A service's safe point.
    Service(Bytes, ServiceSafePoint),
    /// A setting of placement that people changed: its name and its text.
    Setting(String, String),
}

/// The key of a service's safe point: `09 | service id`.
pub fn service_key(service: &[u8]) -> Bytes {
    [&[SERVICE_TAG], service].concat().into()
}

impl Record {
    /// The record's key: a tag, and for records of which there are several, an id.
    pub fn key(&self) -> Bytes {
        let key = Writer::default().u8(self.tag());
        match self {
            Self::Store(store) => key.u64(store.description.id.0).into_bytes().into(),
            Self::LayoutRegion(region) => key.u64(region.id.0).into_bytes().into(),
            Self::Service(service, _) => service_key(service),
            Self::Setting(name, _) => [&[SETTING_TAG], name.as_bytes()].concat().into(),
            _ => key.into_bytes().into(),
        }
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Cluster(_) => CLUSTER_TAG,
            Self::Claim(_) => CLAIM_TAG,
            Self::TimestampBound(_) => TIMESTAMP_BOUND_TAG,
            Self::IdBound(_) => ID_BOUND_TAG,
            Self::Store(_) => STORE_TAG,
            Self::Layout { .. } => LAYOUT_TAG,
            Self::LayoutRegion(_) => LAYOUT_REGION_TAG,
            Self::SafePoints(_) => SAFE_POINTS_TAG,
            Self::Service(..) => SERVICE_TAG,
            Self::Setting(..) => SETTING_TAG,
        }
    }

    /// The record's bytes: version, tag, fields, checksum. The tag is in there once more, so that a record under
    /// another's key is noticed.
    pub fn encode(&self) -> Bytes {
        let record = Writer::record(COORDINATOR_FORMAT_VERSION).u8(self.tag());
        let record = match self {
            Self::Cluster(cluster) => record.u64(cluster.id.0).u32(cluster.replicas).u64(cluster.created_unix_ms),
            Self::Claim(term) => record.u64(term.0),
            Self::TimestampBound(bound) | Self::IdBound(bound) => record.u64(*bound),
            Self::Store(store) => write_store(record, store),
            Self::Layout { members, regions } => {
                let record = record.u32(*regions).u32(members.len() as u32);
                members.iter().fold(record, |record, (store, instance)| record.u64(store.0).u64(instance.0))
            }
            Self::LayoutRegion(region) => record.descriptor(region),
            Self::SafePoints(points) => record.u64(points.gc).u64(points.txn),
            Self::Setting(name, value) => record.bytes(name.as_bytes()).bytes(value.as_bytes()),
            Self::Service(service, point) => record.bytes(service).u64(point.safe_point).u64(point.expires_unix_ms),
        };
        record.seal(crc32fast::hash).into()
    }

    /// The write that puts the record where it belongs.
    pub fn put(&self) -> RecordWrite {
        RecordWrite::Put(self.key(), self.encode())
    }

    /// Reads what [`key`](Self::key) and [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// When the record is damaged, of a newer version, of an unknown kind, or does not belong to its key.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, DecodeError> {
        let tag = Reader::raw("coordinator key", key).u8()?;
        let name = record_name(tag).ok_or(DecodeError::Value {
            record: "coordinator key",
            field: "tag",
            value: tag.into(),
        })?;
        let (_, mut reader) = Reader::open(name, COORDINATOR_FORMAT_VERSION, value, crc32fast::hash)?;
        let stored = reader.u8()?;
        let record = read_fields(stored, &mut reader)?;
        if record.key() != key {
            return Err(reader.impossible("key", tag.into()));
        }
        reader.finish()?;
        Ok(record)
    }
}

fn record_name(tag: u8) -> Option<&'static str> {
    Some(match tag {
        CLUSTER_TAG => "cluster",
        CLAIM_TAG => "claim",
        TIMESTAMP_BOUND_TAG => "timestamp bound",
        ID_BOUND_TAG => "id bound",
        STORE_TAG => "store",
        LAYOUT_TAG => "layout",
        LAYOUT_REGION_TAG => "layout region",
        SAFE_POINTS_TAG => "safe points",
        SERVICE_TAG => "service safe point",
        SETTING_TAG => "setting",
        _ => return None,
    })
}

fn read_fields(tag: u8, reader: &mut Reader<'_>) -> Result<Record, DecodeError> {
    Ok(match tag {
        CLUSTER_TAG => Record::Cluster(ClusterRecord {
            id: reader.u64()?.into(),
            replicas: reader.u32()?,
            created_unix_ms: reader.u64()?,
        }),
        CLAIM_TAG => Record::Claim(reader.u64()?.into()),
        TIMESTAMP_BOUND_TAG => Record::TimestampBound(reader.u64()?),
        ID_BOUND_TAG => Record::IdBound(reader.u64()?),
        STORE_TAG => Record::Store(read_store(reader)?),
        LAYOUT_TAG => {
            let (regions, count) = (reader.u32()?, reader.u32()?);
            let mut members = BTreeMap::new();
            for _ in 0..count {
                members.insert(reader.u64()?.into(), reader.u64()?.into());
            }
            Record::Layout { members, regions }
        }
        LAYOUT_REGION_TAG => Record::LayoutRegion(reader.descriptor()?),
        SAFE_POINTS_TAG => Record::SafePoints(SafePoints { gc: reader.u64()?, txn: reader.u64()? }),
        SERVICE_TAG => Record::Service(
            Bytes::copy_from_slice(reader.bytes()?),
            ServiceSafePoint { safe_point: reader.u64()?, expires_unix_ms: reader.u64()? },
        ),
        SETTING_TAG => Record::Setting(read_text(reader, "name")?, read_text(reader, "value")?),
        other => return Err(reader.impossible("tag", other.into())),
    })
}

fn write_store(record: Writer, store: &StoreRecord) -> Writer {
    let description = &store.description;
    let record = record
        .u64(description.id.0)
        .u8(store.state as u8)
        .u64(store.instance.map_or(0, InstanceId::get))
        .u8(u8::from(store.bootstrapped))
        .bytes(description.address.as_bytes())
        .bytes(description.peer_address.as_bytes())
        .bytes(description.status_address.as_bytes())
        .bytes(description.version.as_bytes())
        .bytes(description.git_hash.as_bytes())
        .bytes(description.deploy_path.as_bytes())
        .u64(description.start_timestamp.cast_unsigned())
        .u32(description.labels.len() as u32);
    let labels = &description.labels;
    labels.iter().fold(record, |record, (key, value)| record.bytes(key.as_bytes()).bytes(value.as_bytes()))
}

fn read_store(reader: &mut Reader<'_>) -> Result<StoreRecord, DecodeError> {
    let id = reader.u64()?.into();
    let state = reader.u8()?;
    let state = StoreState::from_number(state).ok_or_else(|| reader.impossible("state", state.into()))?;
    let instance = reader.u64()?;
    let bootstrapped = match reader.u8()? {
        0 => false,
        1 => true,
        other => return Err(reader.impossible("bootstrapped", other.into())),
    };
    let description = StoreDescription {
        id,
        address: read_text(reader, "address")?,
        peer_address: read_text(reader, "peer address")?,
        status_address: read_text(reader, "status address")?,
        version: read_text(reader, "version")?,
        git_hash: read_text(reader, "git hash")?,
        deploy_path: read_text(reader, "deploy path")?,
        start_timestamp: reader.u64()?.cast_signed(),
        labels: read_labels(reader)?,
    };
    Ok(StoreRecord { description, state, instance: (instance != 0).then_some(InstanceId(instance)), bootstrapped })
}

fn read_labels(reader: &mut Reader<'_>) -> Result<BTreeMap<String, String>, DecodeError> {
    let count = reader.u32()?;
    (0..count).map(|_| Ok((read_text(reader, "label")?, read_text(reader, "label value")?))).collect()
}

fn read_text(reader: &mut Reader<'_>, field: &'static str) -> Result<String, DecodeError> {
    let bytes = reader.bytes()?;
    String::from_utf8(bytes.to_vec()).map_err(|_| reader.impossible(field, bytes.len() as u64))
}

#[cfg(test)]
mod tests {
    use types::{KeyRange, Peer, RegionEpoch};

    use super::*;

    fn samples() -> Vec<Record> {
        let description = StoreDescription {
            id: StoreId(3),
            address: "host:1".to_owned(),
            start_timestamp: -5,
            version: "8.5.6".to_owned(),
            labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
            ..StoreDescription::default()
        };
        vec![
            Record::Cluster(ClusterRecord { id: ClusterId(7), replicas: 3, created_unix_ms: 99 }),
            Record::Claim(Term(6)),
            Record::TimestampBound(1234),
            Record::IdBound(2000),
            Record::Store(StoreRecord {
                description,
                state: StoreState::Tombstone,
                instance: Some(InstanceId(77)),
                bootstrapped: true,
            }),
            Record::Layout { members: BTreeMap::from([(StoreId(1), InstanceId(9))]), regions: 2 },
            Record::LayoutRegion(RegionDescriptor {
                id: 4.into(),
                range: KeyRange::new("a", ""),
                epoch: RegionEpoch::INITIAL,
                peers: vec![Peer::voter(5.into(), 1.into())],
            }),
            Record::SafePoints(SafePoints { gc: 1, txn: 2 }),
            Record::Service(Bytes::from_static(b"backup"), ServiceSafePoint { safe_point: 3, expires_unix_ms: 4 }),
            Record::Setting("replication.max-replicas".to_owned(), "5".to_owned()),
        ]
    }

    #[test]
    fn every_record_reads_back_under_its_own_key_alone() {
        for record in samples() {
            let (key, value) = (record.key(), record.encode());
            assert_eq!(Record::decode(&key, &value), Ok(record.clone()));
            let others = samples().into_iter().filter(|other| *other != record);
            assert!(others.map(|other| other.key()).all(|key| Record::decode(&key, &value).is_err()), "{record:?}");
        }
    }

    #[test]
    fn every_damage_is_noticed() {
        for record in samples() {
            let (key, value) = (record.key(), record.encode());
            for at in 0..value.len() {
                let mut damaged = value.to_vec();
                damaged[at] ^= 1;
                assert!(Record::decode(&key, &damaged).is_err(), "{record:?}, byte {at}");
                assert!(Record::decode(&key, &value[..at]).is_err(), "{record:?}, cut to {at}");
            }
        }
        assert!(Record::decode(&[], &samples()[0].encode()).is_err());
        assert!(Record::decode(&[0xFF], &samples()[0].encode()).is_err());
    }

    /// The bytes of version 1, as `docs/format.md` gives them. A change here is a new version.
    #[test]
    fn the_bytes_of_version_1_are_fixed() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let actual: Vec<String> =
            samples().iter().map(|record| format!("{} {}", hex(&record.key()), hex(&record.encode()))).collect();
        let golden = include_str!("../tests/golden/records.v1.txt");
        assert_eq!(actual.join("\n"), golden.trim_end());
    }
}
