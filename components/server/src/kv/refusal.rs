//! How each answer says that its request was not served.

use proto::convert::Refusal;
use proto::errorpb;
use proto::kvrpcpb::{
    RawBatchDeleteResponse, RawBatchGetResponse, RawBatchPutResponse, RawBatchScanResponse, RawCasResponse,
    RawChecksumResponse, RawCoprocessorResponse, RawDeleteRangeResponse, RawDeleteResponse, RawGetKeyTtlResponse,
    RawGetResponse, RawPutResponse, RawScanResponse,
};

use super::plan::RawResponse;

/// Answers with a text field of their own, which clients do not repeat.
macro_rules! with_text {
    ($($response:ident)*) => {
        $(
            impl RawResponse for $response {
                fn refused(refusal: Refusal) -> Self {
                    match refusal {
                        Refusal::Region(error) => Self { region_error: Some(error), ..Self::default() },
                        Refusal::Text(error) => Self { error, ..Self::default() },
                    }
                }
            }
        )*
    };
}

/// Answers without one. All of them are of reads, which may be repeated, so the text goes into a region error that says
/// nothing else. The pairs' own error field will not do: client-go takes such a pair for data.
macro_rules! without_text {
    ($($response:ident)*) => {
        $(
            impl RawResponse for $response {
                fn refused(refusal: Refusal) -> Self {
                    let error = match refusal {
                        Refusal::Region(error) => error,
                        Refusal::Text(message) => errorpb::Error { message, ..Default::default() },
                    };
                    Self { region_error: Some(error), ..Self::default() }
                }
            }
        )*
    };
}

with_text! {
    RawGetResponse RawPutResponse RawBatchPutResponse RawDeleteResponse RawBatchDeleteResponse RawDeleteRangeResponse
    RawGetKeyTtlResponse RawCasResponse RawChecksumResponse RawCoprocessorResponse
}

without_text! { RawBatchGetResponse RawScanResponse RawBatchScanResponse }
