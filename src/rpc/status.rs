//! Errors of the library as gRPC status, and back.
//!
//! The text that leaves the server is [`Error::text`], which names no file. Where the operator has
//! to know more, the whole error goes to [`Reporter`] under a number that the text repeats.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::counters::Counters;
use crate::error::{Error, ErrorKind};
use crate::limit;

/// Trailer with the milliseconds after which a request may be tried again, as gRPC clients that
/// retry by themselves read it (gRPC proposal A6).
const RETRY_TRAILER: &str = "grpc-retry-pushback-ms";

/// Trailer with the kind of the error as one word.
const KIND_TRAILER: &str = "tickreel-error-kind";

/// Every kind, to find one by its word.
const KINDS: [ErrorKind; 15] = [
    ErrorKind::NotFound,
    ErrorKind::Exists,
    ErrorKind::OutOfRange,
    ErrorKind::Corrupt,
    ErrorKind::Unsupported,
    ErrorKind::Limit,
    ErrorKind::Invalid,
    ErrorKind::Locked,
    ErrorKind::Poisoned,
    ErrorKind::Stale,
    ErrorKind::Cancelled,
    ErrorKind::Full,
    ErrorKind::Io,
    ErrorKind::Remote,
    ErrorKind::Denied,
];

/// A failure that is the server's, not the client's.
#[derive(Clone, Copy, Debug)]
pub struct Incident<'a> {
    /// The number that the client sees; 0 if it sees none.
    pub number: u64,
    /// What happened, with file and place.
    pub error: &'a Error,
}

/// Called with every [`Incident`], on any thread; must not block for long.
pub type Reporter = Arc<dyn Fn(Incident<'_>) + Send + Sync>;

/// The status code of a kind of error.
pub(super) fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Exists => Code::AlreadyExists,
        ErrorKind::OutOfRange => Code::OutOfRange,
        ErrorKind::Corrupt => Code::DataLoss,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::Limit | ErrorKind::Full => Code::ResourceExhausted,
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::Locked | ErrorKind::Poisoned | ErrorKind::Cancelled => Code::Unavailable,
        ErrorKind::Stale => Code::Aborted,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::Io | ErrorKind::Remote => Code::Internal,
    }
}

/// The error as it leaves the server.
pub(super) fn status_of(error: &Error) -> Status {
    // That a file of the server is missing is no answer to what the client asked for; that its
    // disk is full is one.
    let internal = error.io_source().is_some() && error.kind() != ErrorKind::Full;
    let kind = if internal { ErrorKind::Io } else { error.kind() };
    with_kind(Status::new(code_of(kind), bounded(error.text())), kind)
}

/// The text, or as much of it as an answer may hold: it may repeat what the client sent.
fn bounded(text: &str) -> String {
    let mut end = text.len().min(limit::RPC_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < text.len() { "..." } else { "" };
    format!("{}{cut}", text.get(..end).unwrap_or_default())
}

fn with_kind(mut status: Status, kind: ErrorKind) -> Status {
    let word = MetadataValue::from_static(kind.name());
    status.metadata_mut().insert(KIND_TRAILER, word);
    status
}

/// As [`status_of`], reporting what the operator has to look at.
pub(super) fn report(error: &Error, counters: &Counters, reporter: Option<&Reporter>) -> Status {
    counters.failures.add(1);
    let status = status_of(error);
    if !matches!(status.code(), Code::DataLoss | Code::Internal) {
        return status;
    }
    let number = counters.incidents.add(1);
    if let Some(reporter) = reporter {
        reporter(Incident { number, error });
    }
    let kind = if status.code() == Code::DataLoss { ErrorKind::Corrupt } else { ErrorKind::Io };
    let text = format!("{} (incident {number})", bounded(error.text()));
    with_kind(Status::new(status.code(), text), kind)
}

/// As [`report`], where the writer takes no rows any more. What it says may name files.
pub(super) fn writer_failed(
    error: &Error,
    counters: &Counters,
    reporter: Option<&Reporter>,
) -> Status {
    if error.kind() == ErrorKind::Cancelled {
        return report(error, counters, reporter);
    }
    counters.failures.add(1);
    let number = counters.incidents.add(1);
    if let Some(reporter) = reporter {
        reporter(Incident { number, error });
    }
    let text = format!("the writer of the server stopped after a failure (incident {number})");
    with_kind(Status::unavailable(text), ErrorKind::Poisoned)
}

/// The server does not write.
pub(super) fn only_reads() -> Status {
    let status = Status::failed_precondition("this server only reads");
    with_kind(status, ErrorKind::Unsupported)
}

/// The request came without a token or certificate that opens anything. `told` is how often that
/// has happened from its address, if the operator is to hear of it.
pub(super) fn unknown(address: IpAddr, told: Option<u64>, reporter: Option<&Reporter>) -> Status {
    if let (Some(count), Some(reporter)) = (told, reporter) {
        let text = format!("{address}: {count} requests without a valid token");
        reporter(Incident { number: 0, error: &Error::new(ErrorKind::Denied, text) });
    }
    let text = "expected a valid token: metadata `authorization: Bearer TOKEN`";
    with_kind(Status::unauthenticated(text), ErrorKind::Denied)
}

/// The token was withdrawn while its holder had a stream open.
pub(super) fn withdrawn() -> Status {
    with_kind(Status::unauthenticated("this token was withdrawn"), ErrorKind::Denied)
}

/// The holder of the token has asked too often: it may again after `wait`.
pub(super) fn too_many_requests(wait: Duration) -> Status {
    let wait_ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    let text = format!("more requests a second than this token allows; again in {wait_ms} ms");
    again_after(Status::resource_exhausted(text), wait_ms)
}

/// The holder of the token has as many open as it may.
pub(super) fn too_many_open(what: &str, max: usize) -> Status {
    let text = format!("{what} open with this token: {} is above the limit {max}", max + 1);
    again_after(Status::resource_exhausted(text), limit::RPC_RETRY_MS)
}

fn again_after(status: Status, wait_ms: u64) -> Status {
    let mut status = with_kind(status, ErrorKind::Limit);
    if let Ok(value) = MetadataValue::try_from(wait_ms.to_string()) {
        status.metadata_mut().insert(RETRY_TRAILER, value);
    }
    status
}

/// The stream ended because the client took nothing for too long.
pub(super) fn stalled(seconds: u64) -> Status {
    Status::deadline_exceeded(format!("the client took nothing for {seconds} s"))
}

/// The server stops.
pub(super) fn stopping() -> Status {
    with_kind(Status::unavailable("the server stops"), ErrorKind::Cancelled)
}

/// What a client makes of a status: kind and text of the server.
pub(super) fn error_of(status: &Status) -> Error {
    let word = status.metadata().get(KIND_TRAILER).and_then(|word| word.to_str().ok());
    Error::new(kind_of(word, status.code()), status.message())
}

/// The kind of error with this word; by its code if there is none.
pub(super) fn kind_of(word: Option<&str>, code: Code) -> ErrorKind {
    let named = word.and_then(|word| KINDS.into_iter().find(|kind| kind.name() == word));
    named.unwrap_or(match code {
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::Exists,
        Code::OutOfRange => ErrorKind::OutOfRange,
        Code::DataLoss => ErrorKind::Corrupt,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::ResourceExhausted => ErrorKind::Limit,
        Code::InvalidArgument => ErrorKind::Invalid,
        Code::Aborted => ErrorKind::Stale,
        Code::Cancelled => ErrorKind::Cancelled,
        Code::Unauthenticated | Code::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Remote,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_kind_keeps_its_word_and_text_across_the_wire() {
        for kind in KINDS {
            let error = Error::new(kind, "what happened").at_path(Path::new("srv/store/1.seg"));

            let status = status_of(&error);
            assert_eq!(status.code(), code_of(kind));
            assert!(!status.message().contains("srv"), "{status:?}");
            let back = error_of(&status);
            assert_eq!((back.kind(), back.text()), (kind, "what happened"));
        }
    }

    #[test]
    fn a_long_text_is_cut_at_its_limit() {
        let text = |bytes| status_of(&Error::invalid("\u{e9}".repeat(bytes / 2))).message().len();

        assert_eq!(text(limit::RPC_TEXT_BYTES_MAX), limit::RPC_TEXT_BYTES_MAX);
        assert_eq!(text(limit::RPC_TEXT_BYTES_MAX + 2), limit::RPC_TEXT_BYTES_MAX + 3);
    }

    #[test]
    fn a_missing_file_of_the_server_is_internal() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = Error::io(missing, "open segment", Path::new("srv/1.seg"));

        assert_eq!(status_of(&error).code(), Code::Internal);
    }

    #[test]
    fn damage_is_reported_under_the_number_the_client_sees() {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let reporter: Reporter = {
            let seen = seen.clone();
            Arc::new(move |incident| {
                seen.lock().unwrap().push((incident.number, incident.error.to_string()));
            })
        };
        let counters = Counters::default();
        let error = Error::corrupt("checksum of block 3").at_path(Path::new("srv/1.seg"));

        let status = report(&error, &counters, Some(&reporter));

        assert_eq!(status.code(), Code::DataLoss);
        assert_eq!(status.message(), "checksum of block 3 (incident 1)");
        let expected = "corrupt: checksum of block 3 (srv/1.seg)".to_owned();
        assert_eq!(*seen.lock().unwrap(), [(1, expected)]);
        assert_eq!(counters.failures.get(), 1);
    }

    #[test]
    fn a_foreign_status_gets_a_kind_by_its_code() {
        let kind = |status: &Status| error_of(status).kind();

        assert_eq!(kind(&Status::not_found("x")), ErrorKind::NotFound);
        assert_eq!(kind(&Status::unavailable("x")), ErrorKind::Remote);
        assert_eq!(kind(&Status::deadline_exceeded("x")), ErrorKind::Remote);
    }
}
