//! Sessions and their members: who plays what, and by which clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;

use super::model::{ProtocolError, ReplayQuery, SessionSummary};
use super::player::{Extent, Player};
use super::transport::{Mark, MemberId, Place, Transport};
use crate::error::{Error, ErrorKind, Result};
use crate::limit;
use crate::quantity::TsNs;
use crate::store::Snapshot;

/// The sessions of a server that have a name. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Sessions {
    named: Arc<Mutex<BTreeMap<String, Arc<Shared>>>>,
}

/// What the members of a session share.
struct Shared {
    query: ReplayQuery,
    snapshot: Snapshot,
    /// No row is played that was received then or later.
    recv_end: TsNs,
    transport: Mutex<Transport>,
    changed: watch::Sender<u64>,
}

impl Shared {
    fn transport(&self) -> MutexGuard<'_, Transport> {
        self.transport.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who joined a session, or came back to it.
pub(super) struct Joined {
    pub(super) member: Membership,
    /// Where its player begins; it is told to seek if there is none.
    pub(super) mark: Option<Mark>,
    pub(super) heard: Option<Heard>,
}

/// How far a member heard a session before it came back, if the others are behind.
pub(super) struct Heard {
    pub(super) place: Place,
    pub(super) cursor: Bytes,
}

impl Heard {
    /// Messages from `place` to there, to stop at.
    pub(super) fn messages_after(&self, place: Place) -> u64 {
        self.place.messages.saturating_sub(place.messages).max(1)
    }
}

/// A member of a session. Dropping it leaves; the session ends with its last member.
pub(super) struct Membership {
    sessions: Sessions,
    shared: Arc<Shared>,
    id: MemberId,
    changed: watch::Receiver<u64>,
}

impl Sessions {
    /// Begins a session that `player` was opened for.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if there is a session of its name; [`ErrorKind::Limit`] if there are
    /// too many.
    pub(super) fn open(
        &self,
        player: &Player,
        extent: Extent,
        query: &ReplayQuery,
    ) -> Result<Membership> {
        let now = Instant::now();
        let mark = player.mark();
        let position = match query.resume_cursor.is_empty() {
            true => extent.span.0,
            false => player.next_ts().unwrap_or(extent.span.1),
        };
        let mut transport = Transport::new(query, extent.span, position, now);
        let id = transport.open(mark, Place::split(&query.resume_cursor).0);
        let (changed, receiver) = watch::channel(transport.changes());
        let shared = Arc::new(Shared {
            query: query.clone(),
            snapshot: player.snapshot().clone(),
            recv_end: player.recv_end(),
            transport: Mutex::new(transport),
            changed,
        });
        if let Some(name) = &query.session {
            let mut named = self.named();
            if named.contains_key(name) {
                let text = format!("{name:?} is open already, it can be joined");
                return Err(ProtocolError::new("session", text).into());
            }
            if named.len() >= limit::REPLAY_SESSIONS_MAX {
                let max = limit::REPLAY_SESSIONS_MAX;
                return Err(Error::limit("sessions on this server:", max + 1, max));
            }
            named.insert(name.clone(), shared.clone());
        }
        Ok(Membership { sessions: self.clone(), shared, id, changed: receiver })
    }

    /// Joins a session, or comes back to it with the cursor that a member had.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none of this name.
    pub(super) fn join(&self, name: &str, cursor: &Bytes) -> Result<Joined> {
        // With the lock held the last member cannot leave meanwhile.
        let named = self.named();
        let shared = named.get(name).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("there is no session {name:?}"))
        })?;
        let changed = shared.changed.subscribe();
        let from = Place::split(cursor).0;
        let (id, mark) = shared.transport().join(from);
        let member = Membership { sessions: self.clone(), shared, id, changed };
        member.announce();
        let place = member.place();
        let cursor = cursor.clone();
        Ok(match from.filter(|from| from.epoch == place.epoch) {
            Some(from) if place.is_before(from) => {
                Joined { member, mark, heard: Some(Heard { place: from, cursor }) }
            }
            Some(_) => {
                let mark = mark.map(|mark| Mark { cursor, ..mark });
                Joined { member, mark, heard: None }
            }
            None => Joined { member, mark, heard: None },
        })
    }

    /// The sessions that `shown` says may be seen, by name.
    pub(super) fn list(
        &self,
        shown: impl Fn(&ReplayQuery, TsNs, &Snapshot) -> bool,
    ) -> Vec<SessionSummary> {
        let now = Instant::now();
        let named = self.named();
        let open = |shared: &Shared| shown(&shared.query, shared.recv_end, &shared.snapshot);
        let open = named.iter().filter(|(_, shared)| open(shared));
        let summaries = open.map(|(name, shared)| {
            let transport = shared.transport();
            SessionSummary {
                name: name.clone(),
                members: transport.members(),
                state: transport.motion(),
                position: transport.position(now),
                speed: transport.speed().factor(),
                commands: transport.commands(),
                instruments: shared.query.streams.len(),
            }
        });
        summaries.collect()
    }

    fn named(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Shared>>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Membership {
    /// What was opened.
    pub(super) fn query(&self) -> &ReplayQuery {
        &self.shared.query
    }

    /// The rows that all members play.
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.shared.snapshot
    }

    /// No row is played that was received then or later.
    pub(super) fn recv_end(&self) -> TsNs {
        self.shared.recv_end
    }

    /// Where the member's player is.
    pub(super) fn place(&self) -> Place {
        self.shared.transport().place(self.id)
    }

    /// Uses the transport; whoever must look at what changed is woken.
    pub(super) fn with<T>(&self, use_it: impl FnOnce(&mut Transport, MemberId) -> T) -> T {
        let result = use_it(&mut self.shared.transport(), self.id);
        self.announce();
        result
    }

    fn announce(&self) {
        let changes = self.shared.transport().changes();
        self.shared.changed.send_if_modified(|seen| {
            let news = *seen != changes;
            *seen = changes;
            news
        });
    }

    /// Waits until another member changed what all must look at.
    pub(super) async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            // The sender lives as long as this membership.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut named = self.sessions.named();
        let others = self.shared.transport().leave(self.id);
        if let Some(name) = self.shared.query.session.as_ref().filter(|_| !others) {
            named.remove(name);
        }
        drop(named);
        self.announce();
    }
}
