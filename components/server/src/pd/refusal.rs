//! How an error of the coordinator is answered.
//!
//! An error in the header is final for the request: clients hand it to their callers. A failed call makes them look for
//! another member and try again. So what may go well elsewhere or later fails the call, and the rest is in the header.

use coordinator::CoordinatorError;
use placement::PlacementError;
use proto::convert::ConvertError;
use proto::pdpb;
use proto::pdpb::ErrorType;
use tonic::Status;

/// Why a call has no proper answer.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// Said in the answer's header.
    Header(pdpb::Error),
    /// The call fails.
    Call(Status),
}

impl Refusal {
    pub(super) fn header(kind: ErrorType, message: impl ToString) -> Self {
        Self::Header(pdpb::Error { r#type: kind.into(), message: message.to_string() })
    }

    /// A field of the request is missing or makes no sense.
    pub(super) fn invalid(message: impl ToString) -> Self {
        Self::header(ErrorType::InvalidValue, message)
    }
}

impl From<CoordinatorError> for Refusal {
    fn from(error: CoordinatorError) -> Self {
        match header_type(&error) {
            Some(kind) => Self::header(kind, error),
            None => Self::Call(status(&error)),
        }
    }
}

impl From<ConvertError> for Refusal {
    fn from(error: ConvertError) -> Self {
        Self::invalid(error)
    }
}

/// The header's type for an error, or `None` for one that fails the call.
fn header_type(error: &CoordinatorError) -> Option<ErrorType> {
    use CoordinatorError as E;
    match error {
        E::NotLeader | E::Busy { .. } | E::NotWritten(_) | E::Undetermined | E::Failed { .. } | E::Config { .. } => {
            None
        }
        E::NotBootstrapped { .. } | E::BootstrapByStore { .. } => Some(ErrorType::NotBootstrapped),
        E::AlreadyBootstrapped => Some(ErrorType::AlreadyBootstrapped),
        E::StoreTombstone { .. } => Some(ErrorType::StoreTombstone),
        E::IncompatibleVersion { .. } => Some(ErrorType::IncompatibleVersion),
        E::DuplicateAddress { .. } => Some(ErrorType::DuplicatedEntry),
        E::RangeNotCovered => Some(ErrorType::RegionsNotContainAllKeyRange),
        E::Count { .. }
        | E::InvalidStore { .. }
        | E::InvalidRegion { .. }
        | E::Invalid { .. }
        | E::Setting(_)
        | E::SafePointBehind { .. } => Some(ErrorType::InvalidValue),
        E::Exhausted { .. }
        | E::StoreNotFound { .. }
        | E::InstanceMismatch { .. }
        | E::StoreBootstrapped { .. }
        | E::TooFewStores { .. }
        | E::SplitHalted
        | E::StaleRegion { .. }
        | E::TwoLeaders { .. } => Some(ErrorType::Unknown),
        E::Placement(error) => placement_type(error),
    }
}

fn placement_type(error: &PlacementError) -> Option<ErrorType> {
    use PlacementError as P;
    match error {
        P::NoId | P::TooMany { .. } => None,
        P::RegionUnknown { .. } | P::NoOperator { .. } => Some(ErrorType::RegionNotFound),
        P::SplitKeys { .. } => Some(ErrorType::InvalidValue),
        P::StoreUnknown { .. }
        | P::StoreUnfit { .. }
        | P::PeerExists { .. }
        | P::PeerMissing { .. }
        | P::Joint { .. }
        | P::LosesQuorum { .. }
        | P::LastVoter { .. }
        | P::Occupied { .. }
        | P::NoStore { .. }
        | P::Nothing { .. } => Some(ErrorType::Unknown),
    }
}

/// An error as the end of a call, for services whose answers have no header and for streams that cannot go on.
pub(super) fn status(error: &CoordinatorError) -> Status {
    use CoordinatorError as E;
    let message = error.to_string();
    match error {
        E::NotLeader | E::NotWritten(_) | E::Undetermined => Status::unavailable(message),
        E::Placement(PlacementError::NoId) => Status::unavailable(message),
        E::Busy { .. } | E::Placement(PlacementError::TooMany { .. }) => Status::resource_exhausted(message),
        E::Failed { .. } | E::Config { .. } | E::Exhausted { .. } => Status::internal(message),
        E::StoreNotFound { .. }
        | E::Placement(
            PlacementError::RegionUnknown { .. }
            | PlacementError::StoreUnknown { .. }
            | PlacementError::NoOperator { .. },
        ) => Status::not_found(message),
        E::Count { .. }
        | E::InvalidStore { .. }
        | E::InvalidRegion { .. }
        | E::Invalid { .. }
        | E::Setting(_)
        | E::Placement(PlacementError::SplitKeys { .. }) => Status::invalid_argument(message),
        E::StoreTombstone { .. }
        | E::DuplicateAddress { .. }
        | E::IncompatibleVersion { .. }
        | E::InstanceMismatch { .. }
        | E::StoreBootstrapped { .. }
        | E::TooFewStores { .. }
        | E::SplitHalted
        | E::Placement(_)
        | E::AlreadyBootstrapped
        | E::NotBootstrapped { .. }
        | E::BootstrapByStore { .. }
        | E::StaleRegion { .. }
        | E::TwoLeaders { .. }
        | E::RangeNotCovered
        | E::SafePointBehind { .. } => Status::failed_precondition(message),
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    /// Clients look for these very words in a failed call.
    #[test]
    fn not_leading_is_unavailable_and_says_so() {
        match Refusal::from(CoordinatorError::NotLeader) {
            Refusal::Call(status) => {
                assert_eq!(status.code(), Code::Unavailable);
                assert!(status.message().contains("not leader"), "{status}");
            }
            Refusal::Header(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn what_may_go_well_later_fails_the_call() {
        let retryable = [CoordinatorError::NotLeader, CoordinatorError::Busy { queue: "a test" }];
        for error in retryable {
            assert!(error.is_retryable() && matches!(Refusal::from(error), Refusal::Call(_)));
        }
    }

    #[test]
    fn no_error_is_called_ok() {
        let errors = [CoordinatorError::AlreadyBootstrapped, CoordinatorError::RangeNotCovered];
        for error in errors {
            match Refusal::from(error) {
                Refusal::Header(error) => assert_ne!(error.r#type(), ErrorType::Ok),
                Refusal::Call(status) => panic!("{status}"),
            }
        }
    }
}
