//! What all raw requests have in common.

use proto::errorpb;
use proto::kvrpcpb::{self, Context, KvPair};
use proto::tikvpb::batch_commands_request::request::Cmd as Command;
use proto::tikvpb::batch_commands_response::response::Cmd as Reply;
use proto::tikvpb::tikv_client::TikvClient;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// What repeating a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Read,
    /// The same as doing it once, unless another write came between.
    Write,
    /// A different outcome.
    Swap,
}

/// A raw request.
pub(crate) trait Call: prost::Message + Clone + 'static {
    /// Its answer.
    type Answer: Send + 'static;

    const KIND: Kind;

    /// Makes the request a command of a `BatchCommands` stream, where there is such a command.
    const INTO_COMMAND: Option<fn(Self) -> Command>;

    fn set_context(&mut self, context: Context);

    /// Sends it by itself.
    fn send(
        request: Request<Self>,
        stub: TikvClient<Channel>,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;

    /// The answer in a reply on such a stream; `None` when it is another command's.
    fn from_reply(reply: Reply) -> Option<Self::Answer>;

    fn take_region_error(answer: &mut Self::Answer) -> Option<errorpb::Error>;

    /// Why the store refused, in its own words.
    fn refusal(answer: &Self::Answer) -> Option<String>;
}

macro_rules! call {
    ($request:ident, $answer:ident, $kind:expr, $method:ident, $refusal:expr, command $command:ident) => {
        call!(@impl $request, $answer, $kind, $method, $refusal,
            Some(Command::$command),
            |reply| match reply { Reply::$command(answer) => Some(answer), _ => None });
    };
    ($request:ident, $answer:ident, $kind:expr, $method:ident, $refusal:expr) => {
        call!(@impl $request, $answer, $kind, $method, $refusal, None, |_reply| None);
    };
    (@impl $request:ident, $answer:ident, $kind:expr, $method:ident, $refusal:expr, $into:expr, $from:expr) => {
        impl Call for kvrpcpb::$request {
            type Answer = kvrpcpb::$answer;

            const KIND: Kind = $kind;

            const INTO_COMMAND: Option<fn(Self) -> Command> = $into;

            fn set_context(&mut self, context: Context) {
                self.context = Some(context);
            }

            async fn send(
                request: Request<Self>,
                mut stub: TikvClient<Channel>,
            ) -> Result<Response<Self::Answer>, Status> {
                stub.$method(request).await
            }

            fn from_reply(reply: Reply) -> Option<Self::Answer> {
                let from: fn(Reply) -> Option<Self::Answer> = $from;
                from(reply)
            }

            fn take_region_error(answer: &mut Self::Answer) -> Option<errorpb::Error> {
                answer.region_error.take()
            }

            fn refusal(answer: &Self::Answer) -> Option<String> {
                let refusal: fn(&Self::Answer) -> Option<String> = $refusal;
                refusal(answer)
            }
        }
    };
}

fn text(error: &str) -> Option<String> {
    (!error.is_empty()).then(|| error.to_owned())
}

fn of_pairs(pairs: &[KvPair]) -> Option<String> {
    pairs.iter().find_map(|pair| pair.error.as_ref()).map(|error| match text(&error.abort) {
        Some(reason) => reason,
        None => error.retryable.clone(),
    })
}

call!(RawGetRequest, RawGetResponse, Kind::Read, raw_get, |answer| text(&answer.error), command RawGet);
call!(RawPutRequest, RawPutResponse, Kind::Write, raw_put, |answer| text(&answer.error), command RawPut);
call!(RawDeleteRequest, RawDeleteResponse, Kind::Write, raw_delete, |answer| text(&answer.error), command RawDelete);
call!(
    RawBatchGetRequest, RawBatchGetResponse, Kind::Read, raw_batch_get, |answer| of_pairs(&answer.pairs),
    command RawBatchGet
);
call!(
    RawBatchPutRequest, RawBatchPutResponse, Kind::Write, raw_batch_put, |answer| text(&answer.error),
    command RawBatchPut
);
call!(
    RawBatchDeleteRequest, RawBatchDeleteResponse, Kind::Write, raw_batch_delete, |answer| text(&answer.error),
    command RawBatchDelete
);
call!(RawScanRequest, RawScanResponse, Kind::Read, raw_scan, |answer| of_pairs(&answer.kvs), command RawScan);
call!(
    RawDeleteRangeRequest, RawDeleteRangeResponse, Kind::Write, raw_delete_range, |answer| text(&answer.error),
    command RawDeleteRange
);
call!(RawCasRequest, RawCasResponse, Kind::Swap, raw_compare_and_swap, |answer| text(&answer.error));
call!(RawChecksumRequest, RawChecksumResponse, Kind::Read, raw_checksum, |answer| text(&answer.error));
