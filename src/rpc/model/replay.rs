//! What client and server of a replay tell each other, apart from rows.

use std::ops::Range;

use super::atoms::{self, ProtocolError, RowForm, Speed, wrong_answer};
use crate::arrow::DecimalAs;
use crate::error::{Error, Result};
use crate::event::{ContentHash, Kind, StreamKey};
use crate::limit;
use crate::quantity::{Instrument, TsNs};
use crate::replay::StreamTotal;
use crate::rpc::proto;
use crate::rpc::proto::replay_request::Command as Sent;

/// What to play, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayQuery {
    /// Instruments and their kinds; no kinds: all that are stored.
    pub streams: Vec<(Instrument, Vec<Kind>)>,
    /// Receive times.
    pub range: Range<TsNs>,
    /// How fast.
    pub speed: Speed,
    /// Longer waits without a row are cut to this much recorded time.
    pub idle_ns_max: Option<i64>,
    /// Levels per side of the opening books: `None` is all, 0 is no opening books.
    pub opening_depth: Option<usize>,
    /// Begins paused.
    pub paused: bool,
    /// Whether the end tells content hashes.
    pub hash: bool,
    /// How rows are sent.
    pub form: RowForm,
    /// What decimals become in Arrow; a [`Client`](crate::rpc::Client) reads exact ones only.
    pub decimals: DecimalAs,
    /// Rows of a frame, in whole messages; 0: as many as are good.
    pub frame_rows_max: usize,
}

impl ReplayQuery {
    /// Everything of these instruments, as fast as possible, with hashes.
    #[must_use]
    pub fn all(instruments: &[Instrument]) -> Self {
        Self {
            streams: instruments.iter().map(|name| (name.clone(), Vec::new())).collect(),
            range: TsNs::MIN..TsNs::MAX,
            speed: Speed::FLAT_OUT,
            idle_ns_max: None,
            opening_depth: None,
            paused: false,
            hash: true,
            form: RowForm::default(),
            decimals: DecimalAs::default(),
            frame_rows_max: 0,
        }
    }
}

impl TryFrom<proto::ReplayOpen> for ReplayQuery {
    type Error = Error;

    fn try_from(open: proto::ReplayOpen) -> Result<Self> {
        if open.streams.is_empty() {
            return Err(ProtocolError::new("streams", "expected at least one").into());
        }
        if open.streams.len() > limit::REQUEST_STREAMS_MAX {
            let (found, max) = (open.streams.len(), limit::REQUEST_STREAMS_MAX);
            return Err(Error::limit("streams of a replay:", found, max));
        }
        let mut streams = Vec::with_capacity(open.streams.len());
        for stream in &open.streams {
            let instrument = atoms::instrument(&stream.instrument)?;
            streams.push((instrument, atoms::kinds(&stream.kinds)?));
        }
        if let Some(idle_ns) = open.idle_ns_max.filter(|idle_ns| *idle_ns < 0) {
            let text = format!("expected 0 or above, found {idle_ns}");
            return Err(ProtocolError::new("idle_ns_max", text).into());
        }
        let rows = usize::try_from(open.frame_rows_max).unwrap_or(usize::MAX);
        if rows > limit::REPLAY_FRAME_ROWS_MAX {
            return Err(Error::limit("frame_rows_max", rows, limit::REPLAY_FRAME_ROWS_MAX));
        }
        let opening_depth = match open.opening_depth {
            Some(0) => Some(0),
            Some(levels) => atoms::depth(levels)?,
            None => None,
        };
        Ok(Self {
            streams,
            range: atoms::range(open.from_ns, open.to_ns)?,
            speed: Speed::times(open.speed)?,
            idle_ns_max: open.idle_ns_max,
            opening_depth,
            paused: open.paused,
            hash: open.hash,
            form: atoms::form(open.form)?,
            decimals: atoms::decimals(open.decimals)?,
            frame_rows_max: rows,
        })
    }
}

impl From<&ReplayQuery> for proto::ReplayOpen {
    fn from(query: &ReplayQuery) -> Self {
        let (from_ns, to_ns) = atoms::bounds(&query.range);
        let streams = query.streams.iter().map(|(instrument, kinds)| proto::ReplayStream {
            instrument: instrument.to_string(),
            kinds: atoms::kind_codes(kinds),
        });
        let levels = |depth: usize| u32::try_from(depth).unwrap_or(u32::MAX);
        Self {
            streams: streams.collect(),
            from_ns,
            to_ns,
            speed: query.speed.factor(),
            idle_ns_max: query.idle_ns_max,
            opening_depth: query.opening_depth.map(levels),
            paused: query.paused,
            hash: query.hash,
            form: atoms::form_code(query.form),
            decimals: atoms::decimals_code(query.decimals),
            frame_rows_max: levels(query.frame_rows_max),
        }
    }
}

/// How far a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepAmount {
    /// This many messages.
    Messages(u64),
    /// To the end of the message that holds the last of this many rows.
    Rows(u64),
    /// This many nanoseconds of recorded time.
    DurationNs(i64),
}

/// What a client may say while a replay is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stands still.
    Pause,
    /// Plays on.
    Resume,
    /// Goes to the first message at or after a time.
    Seek(TsNs),
    /// Pauses, then plays just this much.
    Step(StepAmount),
    /// Plays at another speed.
    SetSpeed(Speed),
    /// Ends the session.
    Close,
}

impl TryFrom<proto::ReplayRequest> for Command {
    type Error = Error;

    fn try_from(request: proto::ReplayRequest) -> Result<Self> {
        match request.command {
            None => Err(ProtocolError::new("command", "expected one").into()),
            Some(Sent::Open(_)) => {
                Err(ProtocolError::new("open", "the replay is open already").into())
            }
            Some(Sent::Pause(_)) => Ok(Self::Pause),
            Some(Sent::Resume(_)) => Ok(Self::Resume),
            Some(Sent::Seek(seek)) => Ok(Self::Seek(atoms::ts(seek.to_ns))),
            Some(Sent::Step(step)) => step_amount(step).map(Self::Step),
            Some(Sent::SetSpeed(set)) => Speed::times(set.speed).map(Self::SetSpeed),
            Some(Sent::Close(_)) => Ok(Self::Close),
        }
    }
}

fn step_amount(step: proto::ReplayStep) -> Result<StepAmount> {
    use proto::replay_step::Amount;
    match step.amount {
        Some(Amount::Messages(0) | Amount::Rows(0)) | None => {
            Err(ProtocolError::new("step", "expected above 0 messages or rows").into())
        }
        Some(Amount::DurationNs(ns)) if ns < 0 => {
            Err(ProtocolError::new("duration_ns", format!("expected 0 or above, found {ns}"))
                .into())
        }
        Some(Amount::Messages(count)) => Ok(StepAmount::Messages(count)),
        Some(Amount::Rows(count)) => Ok(StepAmount::Rows(count)),
        Some(Amount::DurationNs(ns)) => Ok(StepAmount::DurationNs(ns)),
    }
}

impl From<Command> for proto::ReplayRequest {
    fn from(command: Command) -> Self {
        use proto::replay_step::Amount;
        let sent = match command {
            Command::Pause => Sent::Pause(proto::ReplayPause {}),
            Command::Resume => Sent::Resume(proto::ReplayResume {}),
            Command::Seek(to) => Sent::Seek(proto::ReplaySeek { to_ns: to.0 }),
            Command::Step(amount) => {
                let amount = match amount {
                    StepAmount::Messages(count) => Amount::Messages(count),
                    StepAmount::Rows(count) => Amount::Rows(count),
                    StepAmount::DurationNs(ns) => Amount::DurationNs(ns),
                };
                Sent::Step(proto::ReplayStep { amount: Some(amount) })
            }
            Command::SetSpeed(speed) => {
                Sent::SetSpeed(proto::ReplaySetSpeed { speed: speed.factor() })
            }
            Command::Close => Sent::Close(proto::ReplayClose {}),
        };
        Self { command: Some(sent) }
    }
}

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
#[derive(Clone, Copy, Debug, PartialEq)]
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
}

impl From<proto::ReplayProgress> for Progress {
    fn from(progress: proto::ReplayProgress) -> Self {
        Self {
            position: TsNs(progress.position_ns),
            rows: progress.rows,
            percent: progress.percent,
            eta_ns: progress.eta_ns,
            speed: progress.speed,
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

/// What a session is after a command or a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionState {
    /// Whether it moves.
    pub state: PlayState,
    /// Recorded time that was reached.
    pub position: TsNs,
    /// Recorded time per time of the client; 0 is as fast as possible.
    pub speed: f64,
    /// How many commands were done.
    pub commands: u64,
    /// Rows since the opening or the last seek.
    pub rows: u64,
}

impl TryFrom<proto::ReplayState> for SessionState {
    type Error = Error;

    fn try_from(state: proto::ReplayState) -> Result<Self> {
        use proto::replay_state::State;
        let play = match state.state() {
            State::Playing => PlayState::Playing,
            State::Paused => PlayState::Paused,
            State::Ended => PlayState::Ended,
            State::Unspecified => return Err(wrong_answer("a replay in no state")),
        };
        Ok(Self {
            state: play,
            position: TsNs(state.position_ns),
            speed: state.speed,
            commands: state.commands,
            rows: state.rows,
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn query() -> ReplayQuery {
        let btc = Instrument::parse("binance:BTCUSDT").unwrap();
        ReplayQuery {
            streams: vec![(btc, vec![Kind::Book, Kind::Trades])],
            range: TsNs(3)..TsNs(9),
            speed: Speed::times(2.5).unwrap(),
            idle_ns_max: Some(5),
            opening_depth: Some(0),
            paused: true,
            hash: true,
            form: RowForm::Columns,
            decimals: DecimalAs::Float64,
            frame_rows_max: 100,
        }
    }

    #[test]
    fn an_opening_survives_the_wire() {
        let query = query();

        assert_eq!(ReplayQuery::try_from(proto::ReplayOpen::from(&query)).unwrap(), query);
    }

    #[test]
    fn every_command_survives_the_wire() {
        for command in [
            Command::Pause,
            Command::Resume,
            Command::Seek(TsNs(-4)),
            Command::Step(StepAmount::Messages(1)),
            Command::Step(StepAmount::Rows(u64::MAX)),
            Command::Step(StepAmount::DurationNs(0)),
            Command::SetSpeed(Speed::FLAT_OUT),
            Command::Close,
        ] {
            assert_eq!(Command::try_from(proto::ReplayRequest::from(command)).unwrap(), command);
        }
    }

    #[test]
    fn impossible_openings_are_refused() {
        type Spoil = fn(&mut proto::ReplayOpen);
        let spoil: [(Spoil, ErrorKind); 7] = [
            (|open| open.form = 3, ErrorKind::Invalid),
            (|open| open.streams.clear(), ErrorKind::Invalid),
            (|open| open.speed = f64::NAN, ErrorKind::Invalid),
            (|open| open.idle_ns_max = Some(-1), ErrorKind::Invalid),
            (|open| open.from_ns = Some(10), ErrorKind::Invalid),
            (|open| open.opening_depth = Some(100_001), ErrorKind::Limit),
            (|open| open.frame_rows_max = 65_537, ErrorKind::Limit),
        ];
        for (number, (spoil, kind)) in spoil.iter().enumerate() {
            let mut open = proto::ReplayOpen::from(&query());
            spoil(&mut open);

            assert_eq!(ReplayQuery::try_from(open).unwrap_err().kind(), *kind, "{number}");
        }
        let mut open = proto::ReplayOpen::from(&query());
        open.opening_depth = Some(100_000);
        open.frame_rows_max = 65_536;
        open.streams = vec![open.streams.pop().unwrap(); limit::REQUEST_STREAMS_MAX];
        assert!(ReplayQuery::try_from(open.clone()).is_ok());
        open.streams.push(open.streams.first().cloned().unwrap());
        assert_eq!(ReplayQuery::try_from(open).unwrap_err().kind(), ErrorKind::Limit);
    }

    #[test]
    fn impossible_commands_are_refused() {
        use proto::replay_step::Amount;
        let step = |amount| Some(Sent::Step(proto::ReplayStep { amount }));
        for command in [
            None,
            Some(Sent::Open(proto::ReplayOpen::from(&query()))),
            step(None),
            step(Some(Amount::Messages(0))),
            step(Some(Amount::Rows(0))),
            step(Some(Amount::DurationNs(-1))),
            Some(Sent::SetSpeed(proto::ReplaySetSpeed { speed: -1.0 })),
        ] {
            let error = Command::try_from(proto::ReplayRequest { command }).unwrap_err();

            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
    }
}
