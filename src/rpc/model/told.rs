//! What the server of a replay tells, apart from rows and books.

use super::atoms::{self, wrong_answer};
use super::stops::StopNotice;
use crate::error::{Error, Result};
use crate::event::{ContentHash, StreamKey};
use crate::quantity::TsNs;
use crate::replay::StreamTotal;
use crate::rpc::proto;

/// One stream of an open replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedStream {
    /// Which stream.
    pub key: StreamKey,
    /// Arrow IPC schema message of its rows, if they come as Arrow.
    pub arrow_schema: bytes::Bytes,
}

impl TryFrom<proto::OpenedStream> for OpenedStream {
    type Error = Error;

    fn try_from(stream: proto::OpenedStream) -> Result<Self> {
        let instrument = atoms::answered_instrument(&stream.instrument)?;
        let kind = atoms::answered_kind(stream.kind)?;
        Ok(Self { key: StreamKey { instrument, kind }, arrow_schema: stream.arrow_schema })
    }
}

/// Messages are missing before a row that was just played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapNotice {
    /// Place among the streams opened.
    pub stream: usize,
    /// Receive time of the gap row.
    pub ts_recv: TsNs,
    /// Messages missing; 0 if unknown.
    pub missing: u64,
}

impl TryFrom<proto::ReplayGap> for GapNotice {
    type Error = Error;

    fn try_from(gap: proto::ReplayGap) -> Result<Self> {
        let stream = usize::try_from(gap.stream).map_err(|_| wrong_answer("a stream number"))?;
        Ok(Self { stream, ts_recv: TsNs(gap.ts_recv_ns), missing: gap.missing })
    }
}

/// How far a replay is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Recorded time that was reached.
    pub position: TsNs,
    /// Rows since the opening or the last seek.
    pub rows: u64,
    /// Part of the recorded time that was played, 0 to 100.
    pub percent: f64,
    /// Nanoseconds until the end, if it plays.
    pub eta_ns: Option<i64>,
    /// Recorded time per time of the client; 0 is as fast as possible.
    pub speed: f64,
    /// Rows of the range, whole files counted where it cuts them.
    pub rows_at_most: u64,
    /// Rows per second that were sent to this client since the progress before.
    pub rows_per_s: f64,
    /// All that is stored was played; rows come as they are stored.
    pub live: bool,
    /// How often the range was played.
    pub laps: u64,
    /// After the last message that was sent.
    pub cursor: bytes::Bytes,
}

impl From<proto::ReplayProgress> for Progress {
    fn from(progress: proto::ReplayProgress) -> Self {
        Self {
            position: TsNs(progress.position_ns),
            rows: progress.rows,
            percent: progress.percent,
            eta_ns: progress.eta_ns,
            speed: progress.speed,
            rows_at_most: progress.rows_at_most,
            rows_per_s: progress.rows_per_s,
            live: progress.live,
            laps: progress.laps,
            cursor: progress.cursor,
        }
    }
}

/// Whether a replay moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayState {
    /// It plays.
    Playing,
    /// It waits for a command.
    Paused,
    /// It is behind the last row.
    Ended,
}

impl PlayState {
    /// Its number in the contract.
    pub(in crate::rpc) fn code(self) -> i32 {
        use proto::replay_state::State;
        match self {
            Self::Playing => State::Playing.into(),
            Self::Paused => State::Paused.into(),
            Self::Ended => State::Ended.into(),
        }
    }

    pub(super) fn from_code(code: i32) -> Result<Self> {
        use proto::replay_state::State;
        match State::try_from(code) {
            Ok(State::Playing) => Ok(Self::Playing),
            Ok(State::Paused) => Ok(Self::Paused),
            Ok(State::Ended) => Ok(Self::Ended),
            _ => Err(wrong_answer("a replay in no state")),
        }
    }
}

/// What a session is after a command, a step or a stop.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionState {
    /// Whether it moves.
    pub state: PlayState,
    /// Recorded time that was reached.
    pub position: TsNs,
    /// Recorded time per time of the client; 0 is as fast as possible.
    pub speed: f64,
    /// How many commands were done, by all members.
    pub commands: u64,
    /// Rows since the opening or the last seek, sent to this client.
    pub rows: u64,
    /// The condition that stopped it, if one did just now.
    pub stop: Option<StopNotice>,
    /// Tells what others did, perhaps several commands as one; or what was joined is like.
    pub by_other: bool,
    /// Members of the session, with this one.
    pub members: u64,
    /// All that is stored was played; rows come as they are stored.
    pub live: bool,
    /// After the last message that was sent.
    pub cursor: bytes::Bytes,
    /// Another one after each seek of any member: counts and hashes begin anew.
    pub epoch: u64,
}

impl TryFrom<proto::ReplayState> for SessionState {
    type Error = Error;

    fn try_from(state: proto::ReplayState) -> Result<Self> {
        Ok(Self {
            state: PlayState::from_code(state.state)?,
            position: TsNs(state.position_ns),
            speed: state.speed,
            commands: state.commands,
            rows: state.rows,
            stop: state.stop.map(StopNotice::try_from).transpose()?,
            by_other: state.by_other,
            members: state.members,
            live: state.live,
            cursor: state.cursor,
            epoch: state.epoch,
        })
    }
}

/// Why a replay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Everything was played.
    LastRow,
    /// The client closed it.
    Closed,
    /// Everything was played, and it begins anew.
    Looped,
    /// A condition to end at was met.
    Stopped,
}

/// What a replay gave in all, since its opening or the last seek.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Why it ended.
    pub reason: EndReason,
    /// Rows of all streams.
    pub rows: u64,
    /// Hash over all streams in the order played, if asked for.
    pub hash: Option<ContentHash>,
    /// Rows and, if asked for, hash of each stream.
    pub streams: Vec<StreamTotal>,
    /// After the last message that was sent.
    pub cursor: bytes::Bytes,
}

impl End {
    /// The end of a replay of `streams`, as a server told it.
    pub(in crate::rpc) fn from_answer(
        end: &proto::ReplayEnd,
        streams: &[OpenedStream],
    ) -> Result<Self> {
        use proto::replay_end::Reason;
        let reason = match end.reason() {
            Reason::LastRow => EndReason::LastRow,
            Reason::Closed => EndReason::Closed,
            Reason::Looped => EndReason::Looped,
            Reason::Stopped => EndReason::Stopped,
            Reason::Unspecified => return Err(wrong_answer("an end without reason")),
        };
        if end.streams.len() != streams.len() {
            return Err(wrong_answer("totals of other streams than were opened"));
        }
        let totals = streams.iter().zip(&end.streams).map(|(stream, total)| StreamTotal {
            key: stream.key.clone(),
            hash: ContentHash::from_parts(total.hash.unwrap_or(0), total.rows),
        });
        Ok(Self {
            reason,
            rows: end.rows,
            hash: end.hash.map(|value| ContentHash::from_parts(value, end.rows)),
            streams: totals.collect(),
            cursor: end.cursor.clone(),
        })
    }
}
