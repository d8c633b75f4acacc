//! A place in a replay as bytes that outlive it: what a client holds to go on exactly there.
//!
//! Where all rows were stored when the replay was opened, the last message says everything:
//! whatever comes before it in the total order was played. Where rows arrive meanwhile, a stream
//! may go on at a time that others have passed, so each stream says how far it was played.

use super::merge::Replay;
use super::order::ReplayOrder;
use super::stream::{Place, StreamCursor};
use crate::error::{Error, ErrorKind, Result};
use crate::quantity::TsNs;

/// First byte.
const VERSION: u8 = 1;
/// Bytes before what depends on the form: version, form, order, digest of the streams.
const HEAD_BYTES: usize = 11;

/// What a position says after its head.
enum Form {
    /// Nothing was played since a seek to this time.
    Start(i64),
    /// The last message is the `done`th of `stream` at `time`.
    Last { stream: usize, time: i64, done: u64 },
    /// What was played of each stream.
    Each(Vec<Place>),
}

impl Replay {
    /// Where the replay is, for [`Replay::go_to`]: what was played, whatever is compacted, sealed
    /// or appended later. `each` says it stream by stream: needed where rows arrived since the
    /// opening, some bytes per stream; otherwise about 35 bytes.
    #[must_use]
    pub fn position(&self, each: bool) -> Vec<u8> {
        let places = || self.cursors.iter().map(StreamCursor::played);
        let form = match self.last {
            _ if each => Form::Each(places().collect()),
            Some(stream) => {
                let Place { time, done } = self.cursors[stream].played();
                Form::Last { stream, time, done }
            }
            None if places().all(|place| place.done == 0) => Form::Start(self.started.0),
            None => Form::Each(places().collect()),
        };
        let order = u8::from(self.order == ReplayOrder::Event);
        let code = match form {
            Form::Start(_) => 0,
            Form::Last { .. } => 1,
            Form::Each(_) => 2,
        };
        let mut bytes = vec![VERSION, code, order];
        bytes.extend(self.digest().to_le_bytes());
        match form {
            Form::Start(time) => bytes.extend(time.to_le_bytes()),
            Form::Last { stream, time, done } => {
                bytes.extend((stream as u64).to_le_bytes());
                bytes.extend(time.to_le_bytes());
                bytes.extend(done.to_le_bytes());
            }
            Form::Each(places) => {
                for Place { time, done } in places {
                    put_number(time.cast_unsigned(), &mut bytes);
                    put_number(done, &mut bytes);
                }
            }
        }
        bytes
    }

    /// Goes on where [`Replay::position`] was taken, by any replay of the same streams and order in
    /// this store, with the books there; rows and hash start over.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it is no position, or that of other streams, another order or
    /// times outside the range; [`ErrorKind::Stale`] if rows that were played are no longer there;
    /// [`ErrorKind::Corrupt`] with file and offset.
    pub fn go_to(&mut self, position: &[u8]) -> Result<()> {
        let form = self.decode(position)?;
        self.check_inside(&form)?;
        self.start_over();
        let mut places = Vec::new();
        match form {
            Form::Start(time) => return self.seek(TsNs(time)),
            Form::Each(each) => places = each,
            Form::Last { stream, time, done } => {
                let last = self.key_of(stream, time, done)?;
                for other in 0..self.cursors.len() {
                    let done = match other == stream {
                        true => done,
                        false => self.count_before(other, time, last)?,
                    };
                    places.push(Place { time, done });
                }
                self.last = Some(stream);
            }
        }
        self.open_all(&places)
    }

    /// Refuses a form that leads out of the range: whoever holds a position may have changed it.
    fn check_inside(&self, form: &Form) -> Result<()> {
        let range = self.range();
        // A seek may go to the range's end.
        let inside = |time: i64| range.start.0 <= time && time <= range.end.0;
        let all_inside = match form {
            Form::Start(time) | Form::Last { time, .. } => inside(*time),
            Form::Each(places) => places.iter().all(|place| inside(place.time)),
        };
        if all_inside { Ok(()) } else { Err(Error::invalid("a cursor of another range")) }
    }

    /// Receive time, rank and stream of the `done`th message of `stream` at `time`: as large as the
    /// largest of those before it, for it could not be played before them.
    fn key_of(&mut self, stream: usize, time: i64, done: u64) -> Result<(i64, u8, usize)> {
        let mut key = (i64::MIN, 0);
        let mut left = done;
        self.each_at(stream, time, |recv, rank| {
            key = key.max((recv, rank));
            left -= 1;
            left > 0
        })?;
        let first = self.snapshot.parts(self.cursors[stream].stream_id).times(0);
        if left > 0 && first.is_some_and(|(first, _)| first <= time) {
            let text = "the rows that the cursor is behind are no longer there";
            return Err(Error::new(ErrorKind::Stale, text));
        }
        Ok(if left > 0 { (i64::MAX, u8::MAX, stream) } else { (key.0, key.1, stream) })
    }

    /// How many messages of `stream` at `time` are played before a message with the key `last`.
    fn count_before(&mut self, stream: usize, time: i64, last: (i64, u8, usize)) -> Result<u64> {
        let (mut key, mut count) = ((i64::MIN, 0), 0);
        self.each_at(stream, time, |recv, rank| {
            key = key.max((recv, rank));
            let before = (key.0, key.1, stream) < last;
            count += u64::from(before);
            before
        })?;
        Ok(count)
    }

    /// Shows receive time and rank of the messages of `stream` at `time` while `each` wants more.
    fn each_at(
        &mut self,
        stream: usize,
        time: i64,
        mut each: impl FnMut(i64, u8) -> bool,
    ) -> Result<()> {
        let Self { snapshot, cursors, .. } = self;
        let cursor = &mut cursors[stream];
        cursor.open(snapshot, Place { time, done: 0 }, 64)?;
        while cursor.refill()? {
            for message in 0..cursor.batch.messages() {
                let (at, recv, rank, _) = cursor.turn(stream, message);
                if at != time || !each(recv, rank) {
                    return Ok(());
                }
            }
            cursor.message = cursor.batch.messages();
        }
        Ok(())
    }

    /// A number that tells the streams played from others.
    fn digest(&self) -> u64 {
        self.cursors.iter().fold(0xcbf2_9ce4_8422_2325, |digest: u64, cursor| {
            (digest.rotate_left(23) ^ cursor.hash_key).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        })
    }

    fn decode(&self, position: &[u8]) -> Result<Form> {
        let wrong = || Error::invalid("not a cursor of a replay");
        let head = position.get(..HEAD_BYTES).ok_or_else(wrong)?;
        let mut rest = position.get(HEAD_BYTES..).ok_or_else(wrong)?;
        if head[0] != VERSION {
            return Err(wrong());
        }
        if head[3..] != self.digest().to_le_bytes() {
            return Err(Error::invalid("a cursor of other streams"));
        }
        if head[2] != u8::from(self.order == ReplayOrder::Event) {
            return Err(Error::invalid("a cursor of another order"));
        }
        let mut word = || {
            let (bytes, after) = rest.split_first_chunk::<8>().ok_or_else(wrong)?;
            rest = after;
            Ok::<u64, Error>(u64::from_le_bytes(*bytes))
        };
        let form = match head[1] {
            0 => Form::Start(word()?.cast_signed()),
            1 => Form::Last {
                stream: usize::try_from(word()?).map_err(|_| wrong())?,
                time: word()?.cast_signed(),
                done: word()?,
            },
            2 => {
                let mut places = Vec::with_capacity(self.cursors.len());
                for _ in &self.cursors {
                    let time = take_number(&mut rest).ok_or_else(wrong)?.cast_signed();
                    places.push(Place { time, done: take_number(&mut rest).ok_or_else(wrong)? });
                }
                Form::Each(places)
            }
            _ => return Err(wrong()),
        };
        let fits = match form {
            Form::Last { stream, done, .. } => stream < self.cursors.len() && done > 0,
            _ => true,
        };
        if fits && rest.is_empty() { Ok(form) } else { Err(wrong()) }
    }
}

/// Seven bits in a byte, the lowest first; all but the last with the highest bit.
fn put_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_survive() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), i64::MAX as u64, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(number, &mut bytes);
            bytes.push(9);

            let mut rest = bytes.as_slice();
            assert_eq!(take_number(&mut rest), Some(number));
            assert_eq!(rest, [9]);
            assert_eq!(take_number(&mut &bytes[..bytes.len() - 2]), None);
        }
    }
}
