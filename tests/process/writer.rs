//! A writer process as its parent sees it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::job::{self, Job, Syncs};
use crate::oracle::Random;
use crate::source::STREAMS;

/// Messages of each stream.
pub type Counts = Vec<usize>;

/// How far a writer gets.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Messages of the book that become durable, on a machine however slow.
    messages: usize,
    /// And so long after.
    then: Duration,
}

impl Life {
    /// Some life: it ends while the store is opened, after some messages, or after some seals.
    pub fn any(random: &mut Random) -> Self {
        let (messages, below_us) = match random.below(4) {
            0 => (0, 10_000),
            1 => (1, 400_000),
            _ => (1 + random.below(200), 20_000),
        };
        let then = Duration::from_micros(random.below(below_us));
        Self { messages: usize::try_from(messages).unwrap(), then }
    }

    /// A life in which something becomes durable.
    pub fn active(random: &mut Random) -> Self {
        let life = Self::any(random);
        Self { messages: life.messages.max(1), ..life }
    }
}

/// How long a writer may take to begin, or to do anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that writes into a store. Killed when dropped.
pub struct WriterProcess {
    child: Child,
    durable: Arc<Mutex<Counts>>,
    listener: Option<JoinHandle<()>>,
    begun: Receiver<()>,
    /// Where its errors go.
    log: PathBuf,
}

impl WriterProcess {
    /// Starts a process that writes into the store in this folder, and its errors into `log`.
    pub fn start(job: Job, syncs: Syncs, store: &Path, log: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", job::TEST, "--ignored", "--nocapture"])
            .env(job::ENV, job::describe(job, syncs, store))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap();
        let durable = Arc::new(Mutex::new(vec![0; STREAMS]));
        let (begin, begun) = channel();
        let (told, lines) = (durable.clone(), BufReader::new(child.stdout.take().unwrap()));
        let listener = thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if line == job::BEGUN {
                    begin.send(()).ok();
                } else if let Some((stream, messages)) = job::parse_durable(&line) {
                    told.lock().unwrap()[stream] = messages;
                }
            }
        });
        let (listener, log) = (Some(listener), log.to_owned());
        Self { child, durable, listener, begun, log }
    }

    /// Waits until it has lived, in a store that began with so many messages of the book.
    pub fn live(&mut self, life: &Life, before: usize) {
        let begun = self.begun.recv_timeout(PATIENCE);
        assert!(begun.is_ok(), "the writer did not begin: {}", self.errors());
        let begun = Instant::now();
        while life.messages > 0 && self.durable()[0] < before + life.messages {
            self.assert_alive();
            assert!(begun.elapsed() < PATIENCE, "the writer writes nothing: {}", self.errors());
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(life.then);
        self.assert_alive();
    }

    /// Messages of each stream that it said were durable, until now.
    pub fn durable(&self) -> Counts {
        self.durable.lock().unwrap().clone()
    }

    /// Fails if it ended on its own.
    fn assert_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "the writer ended on its own: {}", self.errors());
    }

    /// Kills it (SIGKILL); what it said was durable until then.
    pub fn kill(&mut self) -> Counts {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.all_told()
    }

    /// Asks it to close the store, and waits; all that it appended.
    pub fn close(&mut self) -> Counts {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the writer could not close: {}", self.errors());
        self.all_told()
    }

    fn all_told(&mut self) -> Counts {
        self.listener.take().into_iter().for_each(|listener| listener.join().unwrap());
        self.durable()
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for WriterProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
