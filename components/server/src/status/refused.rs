//! Why there is no proper answer on the status port.

use axum::Json;
use axum::http::StatusCode;
use serde_json::{Value, json};
use types::RequestError;

use crate::http::refused::{self, Shape};
pub(super) use crate::http::refused::{from_hex, refuse};
use crate::http::region::peer;

/// As `{"error": …}`; with the region's leader beside it where that one should be asked.
#[derive(Debug)]
pub(super) struct Object;

impl Shape for Object {
    fn body(message: String) -> Value {
        json!({ "error": message })
    }
}

pub(super) type Refused = refused::Refused<Object>;

/// What a path answers.
pub(super) type Answer = Result<Json<Value>, Refused>;

impl From<RequestError> for Refused {
    fn from(error: RequestError) -> Self {
        let status = match &error {
            RequestError::RegionNotFound { .. } => StatusCode::NOT_FOUND,
            RequestError::Invalid { .. }
            | RequestError::KeyNotInRegion { .. }
            | RequestError::EntryTooLarge { .. }
            | RequestError::StoreNotMatch { .. }
            | RequestError::MismatchPeerId { .. } => StatusCode::BAD_REQUEST,
            RequestError::NotLeader { .. }
            | RequestError::StaleCommand { .. }
            | RequestError::EpochNotMatch { .. }
            | RequestError::ChangeRefused { .. } => StatusCode::CONFLICT,
            RequestError::ServerIsBusy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            RequestError::Undetermined { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut refused: Self = refuse(status, &error);
        if let RequestError::NotLeader { leader: Some(leader), .. } = &error {
            refused.body["leader"] = peer(leader);
        }
        refused
    }
}
