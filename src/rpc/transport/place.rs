//! A place in what all members of a session play, and the cursor that names it to a client.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;

/// The first byte of a member's cursor. A player's begins with the number of its output.
const MEMBER: u8 = 3;

/// A place in what all members of a session play, the same for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rpc) struct Place {
    /// Since which opening or seek; another one for each, on whatever server.
    pub(in crate::rpc) epoch: u64,
    /// Laps since it began, and messages in all of them.
    pub(in crate::rpc) lap: u64,
    pub(in crate::rpc) messages: u64,
}

impl Place {
    /// The beginning of an epoch that nobody was in before.
    pub(in crate::rpc) fn unlike_any() -> Self {
        Self { epoch: RandomState::new().hash_one(()), lap: 0, messages: 0 }
    }

    /// Whether `other` comes later in what is played.
    pub(in crate::rpc) fn is_before(self, other: Self) -> bool {
        self.epoch == other.epoch && (self.lap < other.lap || self.messages < other.messages)
    }

    /// The cursor of a member whose player gave `cursor` here.
    pub(in crate::rpc) fn cursor(self, cursor: &[u8]) -> Bytes {
        let mut bytes = vec![MEMBER];
        for number in [self.epoch, self.lap, self.messages] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(cursor);
        bytes.into()
    }

    /// The place in a member's cursor, and the cursor of its player. There is none in others, nor
    /// in one that cannot be.
    pub(in crate::rpc) fn split(cursor: &[u8]) -> (Option<Self>, &[u8]) {
        let place = || {
            let rest = cursor.strip_prefix(&[MEMBER])?;
            let (epoch, rest) = rest.split_first_chunk()?;
            let (lap, rest) = rest.split_first_chunk()?;
            let (messages, rest) = rest.split_first_chunk()?;
            let [epoch, lap, messages] = [epoch, lap, messages].map(|n| u64::from_le_bytes(*n));
            // Both are counted on.
            let can_be = lap.max(messages) <= i64::MAX.cast_unsigned();
            can_be.then_some((Self { epoch, lap, messages }, rest))
        };
        place().map_or((None, cursor), |(place, rest)| (Some(place), rest))
    }
}
