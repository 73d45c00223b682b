//! What all answers of the placement driver have in common.

use proto::pdpb::{self, ErrorType, ResponseHeader};

use crate::pd::error::PdError;

/// An answer with a header.
pub(crate) trait Answer {
    fn header(&self) -> Option<&ResponseHeader>;
}

macro_rules! answers {
    ($($name:ident),* $(,)?) => {
        $(impl Answer for pdpb::$name {
            fn header(&self) -> Option<&ResponseHeader> {
                self.header.as_ref()
            }
        })*
    };
}

answers!(
    AllocIdResponse,
    AskBatchSplitResponse,
    BootstrapResponse,
    GetAllStoresResponse,
    GetMembersResponse,
    GetRegionResponse,
    GetStoreResponse,
    IsBootstrappedResponse,
    PutStoreResponse,
    RegionHeartbeatResponse,
    ReportBatchSplitResponse,
    ScanRegionsResponse,
    StoreHeartbeatResponse,
);

/// Gives the answer back unless its header says that the call was refused.
pub(crate) fn checked<R: Answer>(call: &'static str, answer: R) -> Result<R, PdError> {
    let Some(header) = answer.header() else {
        return Err(PdError::Answer { call, problem: "it has no header".to_owned() });
    };
    match &header.error {
        Some(error) if error.r#type() != ErrorType::Ok => {
            Err(PdError::Refused { call, kind: error.r#type(), message: error.message.clone() })
        }
        _ => Ok(answer),
    }
}
