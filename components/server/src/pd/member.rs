//! Who this member of the placement driver is.

use std::num::NonZeroU64;

use proto::{etcdserverpb, pdpb};

/// What is wrong with the description of a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Clients of etcd's protocol leave members without a name out.
    #[error("the placement driver's member has no name: give it one")]
    NoName,
    /// Clients dial the URL as it stands.
    #[error("client URL {url:?} of the placement driver must be http://host:port or https://host:port")]
    ClientUrl {
        /// What was given.
        url: String,
    },
}

/// A member of the placement driver, as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    id: NonZeroU64,
    name: String,
    client_url: String,
}

impl Member {
    /// A member. Clients take the id 0 for "no leader", and dial `client_url`, which is `http://host:port`.
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn new(id: NonZeroU64, name: &str, client_url: &str) -> Result<Self, MemberError> {
        if name.is_empty() {
            return Err(MemberError::NoName);
        }
        let address = client_url.strip_prefix("http://").or_else(|| client_url.strip_prefix("https://"));
        let port = address.and_then(|address| address.rsplit_once(':'));
        let is_fine =
            port.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
        if !is_fine {
            return Err(MemberError::ClientUrl { url: client_url.to_owned() });
        }
        Ok(Self { id, name: name.to_owned(), client_url: client_url.to_owned() })
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        self.id.get()
    }

    pub(super) fn to_pd(&self) -> pdpb::Member {
        pdpb::Member {
            name: self.name.clone(),
            member_id: self.id(),
            peer_urls: vec![self.client_url.clone()],
            client_urls: vec![self.client_url.clone()],
            binary_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..pdpb::Member::default()
        }
    }

    pub(super) fn to_etcd(&self) -> etcdserverpb::Member {
        etcdserverpb::Member {
            id: self.id(),
            name: self.name.clone(),
            peer_ur_ls: vec![self.client_url.clone()],
            client_ur_ls: vec![self.client_url.clone()],
            is_learner: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_a_name_and_a_url_that_can_be_dialled() {
        let member = |name, url| Member::new(NonZeroU64::MIN, name, url).map(drop);
        for url in ["http://127.0.0.1:2379", "https://pd-1.example:2379", "http://[::1]:1"] {
            assert_eq!(member("pd", url), Ok(()));
        }
        for url in ["127.0.0.1:2379", "http://host", "http://:2379", "http://host:0", "http://host:port", ""] {
            assert_eq!(member("pd", url), Err(MemberError::ClientUrl { url: url.to_owned() }));
        }
        assert_eq!(member("", "http://127.0.0.1:2379"), Err(MemberError::NoName));
    }
}
