//! From the connections of a feed to the thread that records it: frames with the time they were
//! read, bounded in bytes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_tungstenite::tungstenite::Bytes;

use super::clock::Now;
use crate::error::{Error, ErrorKind, Result};
use crate::event::StreamKey;
use crate::quantity::{Instrument, TsNs};

/// What a frame costs besides its bytes.
const FRAME_COST: usize = 128;
/// The unit that room is counted in, bytes.
const ROOM_UNIT: usize = 1 << 10;
/// Units of room at most, 256 GiB.
const UNITS_MAX: u32 = 1 << 28;
/// How long a connection waits for room before it gives up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Portions that wait.
const PORTIONS_MAX: usize = 4096;

/// One thing that happened on a connection.
#[derive(Debug)]
pub(super) enum Event {
    /// It is up.
    Connected(String),
    /// We sent this.
    Sent(String),
    /// The venue sent this.
    Message(Bytes),
    /// The venue answered a REST request for a snapshot of `book`, which was `asked` for then.
    Reply { book: Instrument, asked: TsNs, url: String, body: Vec<u8> },
    /// It is lost.
    Disconnected,
}

impl Event {
    fn cost(&self) -> usize {
        FRAME_COST
            + match self {
                Self::Connected(text) | Self::Sent(text) => text.len(),
                Self::Message(message) => message.len(),
                Self::Reply { url, body, .. } => url.len() + body.len(),
                Self::Disconnected => 0,
            }
    }
}

/// What happened on one connection, in order.
#[derive(Debug)]
pub(super) struct Portion {
    /// Which copy of the feed it is of.
    pub replica: usize,
    pub connection: u32,
    pub events: Vec<(TsNs, Event)>,
    /// When the first was read.
    pub read_at: Instant,
    /// When the wall clock was set meanwhile, if it was, and by how much, ns.
    pub stepped_ns: Option<(TsNs, i64)>,
    /// By how much receive times are ahead of the wall clock, ns.
    pub ahead_ns: i64,
    cost: usize,
    room: Option<OwnedSemaphorePermit>,
}

impl Portion {
    /// Nothing yet.
    pub fn new(replica: usize, connection: u32) -> Self {
        Self {
            replica,
            connection,
            events: Vec::new(),
            read_at: Instant::now(),
            stepped_ns: None,
            ahead_ns: 0,
            cost: 0,
            room: None,
        }
    }

    /// Adds what was read at `now`.
    pub fn add(&mut self, now: Now, event: Event) {
        if self.events.is_empty() {
            self.read_at = now.steady;
        }
        if let Some(ns) = now.stepped_ns {
            let (ts_recv, before) = self.stepped_ns.unwrap_or((now.ts_recv, 0));
            self.stepped_ns = Some((ts_recv, before.saturating_add(ns)));
        }
        self.ahead_ns = now.ahead_ns;
        self.cost += event.cost();
        self.events.push((now.ts_recv, event));
    }

    /// Bytes in memory, about.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Bytes of the frames.
    pub fn bytes(&self) -> usize {
        self.cost - FRAME_COST * self.events.len()
    }
}

/// What the recording thread is given.
#[derive(Debug)]
pub(super) enum Incoming {
    /// Frames.
    Portion(Portion),
    /// Books that must come now, after this patience.
    Expect(BTreeSet<Instrument>, Duration),
    /// Instruments and kinds that are recorded from this time on; the others are not.
    Recorded(BTreeSet<StreamKey>, TsNs),
    /// A second has passed.
    Tick,
}

/// The end that connections write to.
#[derive(Clone, Debug)]
pub(super) struct Inbox {
    sender: mpsc::Sender<Incoming>,
    room: Arc<Semaphore>,
    /// All the room there is, in units.
    units_max: u32,
}

impl Inbox {
    /// Both ends; so many bytes of frames may wait between them.
    pub fn new(bytes_max: u64) -> (Self, mpsc::Receiver<Incoming>) {
        let (sender, receiver) = mpsc::channel(PORTIONS_MAX);
        let units_max = u32::try_from(bytes_max.div_ceil(ROOM_UNIT as u64)).unwrap_or(UNITS_MAX);
        let units_max = units_max.clamp(2, UNITS_MAX);
        let room = Arc::new(Semaphore::new(units_max as usize));
        (Self { sender, room, units_max }, receiver)
    }

    /// Hands frames on; waits for room.
    ///
    /// # Errors
    /// [`ErrorKind::Full`] if there is no room for too long: the recording is held up, e.g. by a
    /// full disk. [`ErrorKind::Cancelled`] if nobody records any more.
    pub async fn put(&self, mut portion: Portion) -> Result<()> {
        let units = u32::try_from(portion.cost().div_ceil(ROOM_UNIT)).unwrap_or(u32::MAX);
        let units = units.min(self.units_max);
        let waiting = self.room.clone().acquire_many_owned(units);
        let room = tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| {
            Error::new(
                ErrorKind::Full,
                format!("the recording is held up: {} KiB wait", self.units_max),
            )
        })?;
        portion.room = Some(room.map_err(|_| ended())?);
        self.tell(Incoming::Portion(portion)).await
    }

    /// Tells the recording thread something.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] if nobody records any more.
    pub async fn tell(&self, incoming: Incoming) -> Result<()> {
        self.sender.send(incoming).await.map_err(|_| ended())
    }

    /// Waits until half of the room is free.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] if nobody records any more.
    pub async fn wait_for_room(&self) -> Result<()> {
        let half = self.units_max / 2;
        tokio::select! {
            room = self.room.acquire_many(half) => room.map(drop).map_err(|_| ended()),
            () = self.sender.closed() => Err(ended()),
        }
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Cancelled, "the recording has ended")
}

#[cfg(test)]
mod tests {
    use super::super::clock::{ReceiveClock, WallClock};
    use super::*;

    fn portion(bytes: usize) -> Portion {
        let mut portion = Portion::new(0, 1);
        let message = Event::Message(vec![0; bytes].into());
        portion.add(now(), message);
        portion
    }

    fn now() -> Now {
        ReceiveClock::new(WallClock::default(), TsNs::MIN).read()
    }

    #[test]
    fn a_clock_that_is_set_twice_is_told_as_one_step() {
        let mut portion = Portion::new(0, 1);
        for (ts, stepped_ns) in [(1, None), (2, Some(-7)), (3, None), (4, Some(9)), (5, None)] {
            let (ts_recv, ahead_ns) = (TsNs(ts), 10 * ts);
            portion.add(Now { ts_recv, stepped_ns, ahead_ns, ..now() }, Event::Disconnected);
        }

        assert_eq!((portion.stepped_ns, portion.ahead_ns), (Some((TsNs(2), 2)), 50));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_wait_are_bounded_and_a_connection_gives_up() {
        let (inbox, mut receiver) = Inbox::new(64 << 20);
        for _ in 0..4 {
            inbox.put(portion(15 << 20)).await.unwrap();
        }

        let error = inbox.put(portion(15 << 20)).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Full);
        for _ in 0..3 {
            drop(receiver.recv().await);
        }
        inbox.wait_for_room().await.unwrap();
        inbox.put(portion(1 << 30)).await.unwrap_err();
        drop(receiver);
        assert_eq!(inbox.put(portion(1)).await.unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
