//! What a client of a replay asks for, and its commands.

use std::ops::Range;

use super::atoms::{self, ProtocolError, RowForm, Speed};
use super::stops::{Output, Stops};
use crate::arrow::DecimalAs;
use crate::error::{Error, Result};
use crate::event::Kind;
use crate::limit;
use crate::quantity::{Instrument, TsNs};
use crate::replay::ReplayOrder;
use crate::rpc::proto;
use crate::rpc::proto::replay_request::Command as Sent;

/// What to play, and how.
#[derive(Clone, Debug, PartialEq)]
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
    /// A cursor of such a replay to go on after; empty: from the first row.
    pub resume_cursor: bytes::Bytes,
    /// Begins anew after the last row.
    pub looped: bool,
    /// When it stops by itself.
    pub stops: Stops,
    /// What is sent.
    pub output: Output,
    /// After the last stored row, goes on with rows as they become visible.
    pub follow: bool,
    /// Makes a session of this name, for others to join.
    pub session: Option<String>,
    /// What the streams are merged by; the range is of its times.
    pub order: ReplayOrder,
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
            resume_cursor: bytes::Bytes::new(),
            looped: false,
            stops: Stops::default(),
            output: Output::Rows,
            follow: false,
            session: None,
            order: ReplayOrder::Recv,
        }
    }

    /// Refuses what does not go together.
    fn check(self) -> Result<Self> {
        let refuse = |field, text| Err(ProtocolError::new(field, text).into());
        if self.follow && (self.looped || self.session.is_some() || self.range.end < TsNs::MAX) {
            return refuse("follow", "not with `loop`, `session` or `to_ns`");
        }
        let books = matches!(self.output, Output::Books { .. });
        let only_books = |(_, kinds): &(_, Vec<Kind>)| kinds.iter().all(|kind| *kind == Kind::Book);
        if books && !self.streams.iter().all(only_books) {
            return refuse("kinds", "books and metrics are of the kind book alone");
        }
        Ok(self)
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
        Self {
            streams,
            range: atoms::range(open.from_ns, open.to_ns)?,
            speed: Speed::times(open.speed)?,
            idle_ns_max: open.idle_ns_max,
            opening_depth: opening_depth(open.opening_depth)?,
            paused: open.paused,
            hash: open.hash,
            form: atoms::form(open.form)?,
            decimals: atoms::decimals(open.decimals)?,
            frame_rows_max: frame_rows(open.frame_rows_max)?,
            resume_cursor: open.resume_cursor,
            looped: open.r#loop,
            stops: open.stops.map(Stops::try_from).transpose()?.unwrap_or_default(),
            output: Output::from_open(open.output)?,
            follow: open.follow,
            session: atoms::session(&open.session)?,
            order: atoms::order(open.order)?,
        }
        .check()
    }
}

fn frame_rows(rows: u32) -> Result<usize> {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    if rows > limit::REPLAY_FRAME_ROWS_MAX {
        return Err(Error::limit("frame_rows_max", rows, limit::REPLAY_FRAME_ROWS_MAX));
    }
    Ok(rows)
}

fn opening_depth(levels: Option<u32>) -> Result<Option<usize>> {
    match levels {
        Some(0) => Ok(Some(0)),
        Some(levels) => atoms::depth(levels),
        None => Ok(None),
    }
}

/// What one who joins a session chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinQuery {
    /// The name of the session.
    pub session: String,
    /// Levels per side of the opening books: `None` is all, 0 is no opening books.
    pub opening_depth: Option<usize>,
    /// Whether the end tells content hashes.
    pub hash: bool,
    /// How rows are sent.
    pub form: RowForm,
    /// What decimals become in Arrow.
    pub decimals: DecimalAs,
    /// Rows of a frame, in whole messages; 0: as many as are good.
    pub frame_rows_max: usize,
    /// The last cursor of a member that lost its connection, to go on after it; empty: where the
    /// others are.
    pub resume_cursor: bytes::Bytes,
}

impl JoinQuery {
    /// With hashes and whole opening books.
    #[must_use]
    pub fn new(session: &str) -> Self {
        Self {
            session: session.to_owned(),
            opening_depth: None,
            hash: true,
            form: RowForm::default(),
            decimals: DecimalAs::default(),
            frame_rows_max: 0,
            resume_cursor: bytes::Bytes::new(),
        }
    }

    /// How the member plays what `opener` opened.
    pub(in crate::rpc) fn of(&self, opener: &ReplayQuery) -> ReplayQuery {
        ReplayQuery {
            opening_depth: self.opening_depth,
            hash: self.hash,
            form: self.form,
            decimals: self.decimals,
            frame_rows_max: self.frame_rows_max,
            resume_cursor: bytes::Bytes::new(),
            ..opener.clone()
        }
    }
}

impl TryFrom<proto::ReplayJoin> for JoinQuery {
    type Error = Error;

    fn try_from(join: proto::ReplayJoin) -> Result<Self> {
        let expected = || ProtocolError::new("session", "expected a name");
        Ok(Self {
            session: atoms::session(&join.session)?.ok_or_else(expected)?,
            opening_depth: opening_depth(join.opening_depth)?,
            hash: join.hash,
            form: atoms::form(join.form)?,
            decimals: atoms::decimals(join.decimals)?,
            frame_rows_max: frame_rows(join.frame_rows_max)?,
            resume_cursor: join.resume_cursor,
        })
    }
}

impl From<&JoinQuery> for proto::ReplayJoin {
    fn from(query: &JoinQuery) -> Self {
        let levels = |depth: usize| u32::try_from(depth).unwrap_or(u32::MAX);
        Self {
            session: query.session.clone(),
            opening_depth: query.opening_depth.map(levels),
            hash: query.hash,
            decimals: atoms::decimals_code(query.decimals),
            frame_rows_max: levels(query.frame_rows_max),
            form: atoms::form_code(query.form),
            resume_cursor: query.resume_cursor.clone(),
        }
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
            resume_cursor: query.resume_cursor.clone(),
            r#loop: query.looped,
            stops: (query.stops != Stops::default()).then(|| (&query.stops).into()),
            output: query.output.to_open(),
            follow: query.follow,
            session: query.session.clone().unwrap_or_default(),
            order: atoms::order_code(query.order),
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
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// Stops at other conditions.
    SetStops(Stops),
    /// Ends the session.
    Close,
}

impl TryFrom<proto::ReplayRequest> for Command {
    type Error = Error;

    fn try_from(request: proto::ReplayRequest) -> Result<Self> {
        match request.command {
            None => Err(ProtocolError::new("command", "expected one").into()),
            Some(Sent::Open(_) | Sent::Join(_)) => {
                Err(ProtocolError::new("open", "the replay is open already").into())
            }
            Some(Sent::Pause(_)) => Ok(Self::Pause),
            Some(Sent::Resume(_)) => Ok(Self::Resume),
            Some(Sent::Seek(seek)) => Ok(Self::Seek(atoms::ts(seek.to_ns))),
            Some(Sent::Step(step)) => step_amount(step).map(Self::Step),
            Some(Sent::SetSpeed(set)) => Speed::times(set.speed).map(Self::SetSpeed),
            Some(Sent::SetStops(set)) => {
                let stops = set.stops.map(Stops::try_from).transpose()?;
                Ok(Self::SetStops(stops.unwrap_or_default()))
            }
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
            Command::SetStops(stops) => {
                Sent::SetStops(proto::ReplaySetStops { stops: Some((&stops).into()) })
            }
            Command::Close => Sent::Close(proto::ReplayClose {}),
        };
        Self { command: Some(sent) }
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
            resume_cursor: bytes::Bytes::from("where"),
            looped: true,
            stops: Stops { gap: true, ..Stops::default() },
            output: Output::Rows,
            follow: false,
            session: Some("desk.1_a-b".to_owned()),
            order: ReplayOrder::Event,
        }
    }

    #[test]
    fn an_opening_survives_the_wire() {
        let mut query = query();

        assert_eq!(ReplayQuery::try_from(proto::ReplayOpen::from(&query)).unwrap(), query);
        query.streams = vec![(query.streams.pop().unwrap().0, vec![Kind::Book])];
        query.output = Output::books(3);
        assert_eq!(ReplayQuery::try_from(proto::ReplayOpen::from(&query)).unwrap(), query);
        (query.looped, query.session, query.follow) = (false, None, true);
        query.range.end = TsNs::MAX;
        assert_eq!(ReplayQuery::try_from(proto::ReplayOpen::from(&query)).unwrap(), query);
        let resume_cursor = bytes::Bytes::from("here");
        let join = JoinQuery { opening_depth: Some(3), resume_cursor, ..JoinQuery::new("desk") };
        assert_eq!(JoinQuery::try_from(proto::ReplayJoin::from(&join)).unwrap(), join);
        let nameless = proto::ReplayJoin::from(&JoinQuery::new(""));
        assert_eq!(JoinQuery::try_from(nameless).unwrap_err().kind(), ErrorKind::Invalid);
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
            Command::SetStops(Stops { rows: Some(4), ..Stops::default() }),
            Command::Close,
        ] {
            assert_eq!(Command::try_from(proto::ReplayRequest::from(command)).unwrap(), command);
        }
    }

    #[test]
    fn impossible_openings_are_refused() {
        type Spoil = fn(&mut proto::ReplayOpen);
        let spoil: [(Spoil, ErrorKind); 12] = [
            (|open| open.order = 3, ErrorKind::Invalid),
            (|open| open.follow = true, ErrorKind::Invalid),
            (|open| open.session = "a b".to_owned(), ErrorKind::Invalid),
            (|open| open.session = "x".repeat(65), ErrorKind::Limit),
            (|open| open.output = Output::books(1).to_open(), ErrorKind::Invalid),
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
        open.session = "x".repeat(64);
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
