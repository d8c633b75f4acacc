//! A client that keeps a second opinion on what it hears, and the same replay of the store itself.

use bytes::Bytes;
use tickreel::Error;
use tickreel::event::{ContentHash, StreamKey};
use tickreel::replay::Replay;
use tickreel::rpc::{
    BookAnswer, End, Event, Frame, GapNotice, OpenedStream, ReplayQuery, Session, SessionState,
};
use tickreel::store::Store;

/// What a client keeps of a replay: a second opinion on rows, hashes and books.
pub struct Listener {
    pub keys: Vec<StreamKey>,
    pub hashes: Vec<ContentHash>,
    pub total: ContentHash,
    pub times: Vec<i64>,
    pub gaps: Vec<GapNotice>,
    pub frames: usize,
    pub openings: usize,
    pub progress: usize,
    pub books: Vec<BookAnswer>,
    /// Of the last frame.
    pub cursor: Bytes,
    pub live: bool,
    /// Rows come by receive time.
    pub by_time: bool,
}

impl Listener {
    pub fn new(streams: &[OpenedStream]) -> Self {
        Self {
            keys: streams.iter().map(|stream| stream.key.clone()).collect(),
            hashes: vec![ContentHash::EMPTY; streams.len()],
            total: ContentHash::EMPTY,
            times: Vec::new(),
            gaps: Vec::new(),
            frames: 0,
            openings: 0,
            progress: 0,
            books: Vec::new(),
            cursor: Bytes::new(),
            live: false,
            by_time: true,
        }
    }

    /// Forgets what came before a seek.
    pub fn begin_anew(&mut self) {
        self.hashes.fill(ContentHash::EMPTY);
        self.total = ContentHash::EMPTY;
        self.times.clear();
        self.gaps.clear();
    }

    pub fn hear(&mut self, frame: &Frame) {
        self.frames += 1;
        self.cursor = frame.cursor.clone();
        assert!(!frame.cursor.is_empty());
        let mut rows = 0;
        for step in frame.steps() {
            let key = ContentHash::key_of(&self.keys[step.stream]);
            self.hashes[step.stream].update(step.batch, step.messages.clone());
            self.total.update_keyed(step.batch, step.messages.clone(), key);
            self.times.extend_from_slice(&step.batch.ts_recv()[step.messages.clone()]);
            rows += step.messages.map(|m| step.batch.message_rows(m).len()).sum::<usize>();
        }
        assert_eq!(rows as u64, frame.rows);
        if self.by_time {
            assert!(self.times.is_sorted());
            assert_eq!(self.times.last(), Some(&frame.last.0));
        }
    }

    /// Listens until something that is no row comes.
    pub async fn next(&mut self, session: &mut Session) -> Option<Event> {
        loop {
            match session.next().await.unwrap()? {
                Event::Frame(frame) => self.hear(&frame),
                Event::Gap(gap) => self.gaps.push(gap),
                Event::Progress(progress) => {
                    self.progress += 1;
                    self.live = progress.live;
                }
                Event::OpeningBook(book) => {
                    self.openings += 1;
                    self.books.push(book);
                }
                other => return Some(other),
            }
        }
    }

    pub async fn state(&mut self, session: &mut Session) -> SessionState {
        match self.next(session).await {
            Some(Event::State(state)) => state,
            other => panic!("expected a state, found {other:?}"),
        }
    }

    pub async fn end(&mut self, session: &mut Session) -> End {
        match self.next(session).await {
            Some(Event::End(end)) => end,
            other => panic!("expected the end, found {other:?}"),
        }
    }

    pub async fn refused(&mut self, session: &mut Session) -> Error {
        match self.next(session).await {
            Some(Event::Refused(error)) => error,
            other => panic!("expected a refusal, found {other:?}"),
        }
    }

    /// The server's figures are ours, and those of the same replay of the store.
    pub fn assert_same(&self, end: &End, local: &Replay) {
        assert_eq!(end.hash, Some(self.total));
        assert_eq!(end.rows, self.total.rows());
        assert_eq!(self.total, local.total());
        assert_eq!(end.streams, local.stream_totals());
        let hashes: Vec<_> = end.streams.iter().map(|total| total.hash).collect();
        assert_eq!(hashes, self.hashes);
    }
}

/// The same replay of the store, opened.
pub fn local(store: &Store, query: &ReplayQuery) -> Replay {
    let snapshot = store.snapshot().unwrap();
    let mut keys = Vec::new();
    for (instrument, kinds) in &query.streams {
        for stream in snapshot.streams().filter(|s| s.key.instrument == *instrument) {
            if kinds.is_empty() || kinds.contains(&stream.key.kind) {
                keys.push(stream.key.clone());
            }
        }
    }
    snapshot.replay_by(query.order, &keys, query.range.clone()).unwrap()
}

pub fn played(store: &Store, query: &ReplayQuery) -> Replay {
    let mut replay = local(store, query);
    replay.play(true, |_| Ok(true)).unwrap();
    replay
}
