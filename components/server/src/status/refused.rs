//! Why there is no proper answer over HTTP.

use std::fmt::Display;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use types::RequestError;

use super::region::peer;

/// An error, as `{"error": …}`; with the region's leader beside it where that one should be asked.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    body: Value,
}

/// What a path answers.
pub(super) type Answer = Result<Json<Value>, Refused>;

/// An error with this status.
pub(super) fn refuse(status: StatusCode, message: impl Display) -> Refused {
    Refused { status, body: json!({ "error": message.to_string() }) }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

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
        let mut refused = refuse(status, &error);
        if let RequestError::NotLeader { leader: Some(leader), .. } = &error {
            refused.body["leader"] = peer(leader);
        }
        refused
    }
}

impl From<PathRejection> for Refused {
    fn from(rejection: PathRejection) -> Self {
        refuse(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        refuse(rejection.status(), rejection.body_text())
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        refuse(rejection.status(), rejection.body_text())
    }
}
