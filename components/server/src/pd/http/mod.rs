//! The placement driver over HTTP, under the paths and in the shapes that the ecosystem's tools know.
//!
//! | path under `/pd/api/v1` | method | it does |
//! |---|---|---|
//! | `/stores` | GET | lists stores; `?state=up`, `offline` or `tombstone` chooses, else all but the last |
//! | `/store/{id}` | GET | one of them |
//! | `/store/{id}` | DELETE | lets it leave: it is emptied first |
//! | `/store/{id}/state?state=Up` | POST | lets it stay after all; `Offline` is DELETE |
//! | `/regions` | GET | lists regions by key; `?key=` (hex) begins, `?limit=` ends the list |
//! | `/region/id/{id}`, `/region/key/{key}` | GET | one of them, or `null` |
//! | `/operators` | GET | what is under way, as text; as objects with `?object` |
//! | `/operators` | POST | asks for an operator |
//! | `/operators/records` | GET | what has ended, the newest last; `?from=` in seconds since the Unix epoch |
//! | `/operators/{region}` | GET, DELETE | a region's operator: its status, its end |
//! | `/config`, `/config/replicate`, `/config/schedule` | GET, POST | how regions are placed |
//!
//! Keys are upper-case hex in answers. Errors are a JSON string that says what is wrong.

mod config;
mod operators;
mod regions;
mod stores;

use std::fmt::Display;

use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use coordinator::CoordinatorError;
use serde_json::Value;
use tonic::Code;

use super::bridge::Bridge;
use super::refusal::status;
use crate::http::refused::{self, Shape, from_hex, refuse};

/// Largest body that is read.
const MAX_BODY_BYTES: usize = 1 << 20;

/// The paths, to be served beside gRPC.
pub(super) fn router(bridge: Bridge) -> Router {
    let paths = Router::new()
        .route("/stores", get(stores::list))
        .route("/store/{id}", get(stores::one).delete(stores::leave))
        .route("/store/{id}/state", post(stores::set_state))
        .route("/regions", get(regions::list))
        .route("/region/id/{id}", get(regions::by_id))
        .route("/region/key/{key}", get(regions::by_key))
        .route("/operators", get(operators::list).post(operators::add))
        .route("/operators/records", get(operators::records))
        .route("/operators/{region}", delete(operators::cancel).get(operators::one))
        .route("/config", get(config::all).post(config::set))
        .route("/config/replicate", get(config::replication).post(config::set_replication))
        .route("/config/schedule", get(config::schedule).post(config::set_schedule))
        .fallback(async || -> Refused { refuse(StatusCode::NOT_FOUND, "no such path") })
        .method_not_allowed_fallback(async || -> Refused {
            refuse(StatusCode::METHOD_NOT_ALLOWED, "not with this method")
        })
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(bridge);
    Router::new().nest("/pd/api/v1", paths)
}

/// An error is its message.
#[derive(Debug)]
struct Text;

impl Shape for Text {
    fn body(message: String) -> Value {
        Value::String(message)
    }
}

type Refused = refused::Refused<Text>;

type Answer = Result<Json<Value>, Refused>;

fn bad(message: impl Display) -> Refused {
    refuse(StatusCode::BAD_REQUEST, message)
}

impl From<CoordinatorError> for Refused {
    fn from(error: CoordinatorError) -> Self {
        let code = match status(&error).code() {
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::FailedPrecondition => StatusCode::CONFLICT,
            Code::ResourceExhausted | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        refuse(code, error)
    }
}
