//! Why there is no proper answer over HTTP.

use std::fmt::Display;
use std::marker::PhantomData;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::hex;

/// How an error is told.
pub(crate) trait Shape {
    /// The body that says so.
    fn body(message: String) -> Value;
}

/// An error, in one of the shapes.
#[derive(Debug)]
pub(crate) struct Refused<S> {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    shape: PhantomData<S>,
}

/// An error with this status.
pub(crate) fn refuse<S: Shape>(status: StatusCode, message: impl Display) -> Refused<S> {
    Refused { status, body: S::body(message.to_string()), shape: PhantomData }
}

/// The bytes that hex stands for.
///
/// # Errors
/// For what is no hex.
pub(crate) fn from_hex<S: Shape>(text: &str) -> Result<Vec<u8>, Refused<S>> {
    let wrong = || refuse(StatusCode::BAD_REQUEST, format!("{text:?} is no key in hex: give two digits a byte"));
    hex::decode(text).ok_or_else(wrong)
}

impl<S> IntoResponse for Refused<S> {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

impl<S: Shape> From<PathRejection> for Refused<S> {
    fn from(rejection: PathRejection) -> Self {
        refuse(rejection.status(), rejection.body_text())
    }
}

impl<S: Shape> From<QueryRejection> for Refused<S> {
    fn from(rejection: QueryRejection) -> Self {
        refuse(rejection.status(), rejection.body_text())
    }
}

impl<S: Shape> From<JsonRejection> for Refused<S> {
    fn from(rejection: JsonRejection) -> Self {
        refuse(rejection.status(), rejection.body_text())
    }
}
