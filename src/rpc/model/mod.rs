//! Questions and answers of the service as types of the library, and their protobuf form.
//!
//! What a client sends is checked here, once: behind these types no name, time, count or number is
//! unchecked.

mod answers;
mod append;
mod atoms;
mod queries;
mod replay;
mod stops;
mod told;

pub use answers::{BookAnswer, Level, ScanEnd, ServerStats, SessionSummary, StreamSummary};
pub(super) use answers::{coverage_answer, coverage_from, summaries_answer, summaries_from};
pub(super) use append::{AppendRows, append_request};
pub use atoms::{ProtocolError, RowForm, Speed};
pub(super) use atoms::{kind_code, order_code};
pub(super) use queries::InstrumentPage;
pub use queries::{BookQuery, CoverageQuery, InstrumentQuery, SampleQuery, ScanQuery};
pub use replay::{Command, JoinQuery, ReplayQuery, StepAmount};
pub use stops::{Output, StopCondition, StopNotice, Stops};
pub use told::{End, EndReason, GapNotice, OpenedStream, PlayState, Progress, SessionState};
