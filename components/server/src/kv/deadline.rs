//! Until when a client waits for its answer.

use std::time::{Duration, Instant};

use tonic::{Extensions, Request, Status};

/// When the client gives up.
#[derive(Clone, Copy, Debug)]
struct Deadline(Instant);

/// Notes a request's deadline when its headers arrive: its message may take its time behind them.
pub(super) fn note(mut request: Request<()>) -> Result<Request<()>, Status> {
    let timeout = request.metadata().get("grpc-timeout").and_then(|value| parse(value.as_bytes()));
    if let Some(deadline) = timeout.and_then(|timeout| Instant::now().checked_add(timeout)) {
        request.extensions_mut().insert(Deadline(deadline));
    }
    Ok(request)
}

/// Drops a request that nobody waits for any more, before it is proposed: its client may have asked again by now, and
/// a compare-and-swap that takes effect late would look like somebody else's.
///
/// # Errors
/// `DEADLINE_EXCEEDED`.
pub(super) fn check(extensions: &Extensions) -> Result<(), Status> {
    match extensions.get::<Deadline>() {
        Some(Deadline(deadline)) if Instant::now() >= *deadline => {
            Err(Status::deadline_exceeded("the deadline passed before the request was begun; it has no effect"))
        }
        _ => Ok(()),
    }
}

/// At most eight digits and a unit, as gRPC writes timeouts; anything else is as good as none.
fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn timeouts_as_grpc_writes_them() {
        assert_eq!(parse(b"2S"), Some(Duration::from_secs(2)));
        assert_eq!(parse(b"200m"), Some(Duration::from_millis(200)));
        assert_eq!(parse(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for wrong in ["", "S", "2", "2X", "-2S", "123456789S", "2 S"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn only_a_passed_deadline_drops_a_request() {
        let with = |timeout: &'static str| {
            let mut request = Request::new(());
            request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
            note(request).unwrap()
        };
        assert!(check(with("0n").extensions()).is_err());
        assert!(check(with("1H").extensions()).is_ok());
        assert!(check(with("nonsense").extensions()).is_ok());
        assert!(check(Request::new(()).extensions()).is_ok());
    }
}
