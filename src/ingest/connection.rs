//! Connections of a feed: which instruments came on each, so that its fate is told to all of them.

use std::collections::{BTreeSet, HashMap};

use super::rows::Rows;
use crate::event::{BatchBuilder, Kind, StatusWhat};
use crate::quantity::{Instrument, TsNs};

/// All connections of one dialect.
#[derive(Debug, Default)]
pub(super) struct Connections(HashMap<u32, Connection>);

#[derive(Debug, Default)]
struct Connection {
    /// Empty if nobody noted it.
    address: String,
    instruments: BTreeSet<Instrument>,
    unread: Unread,
}

/// How often it is told that messages of a connection cannot be read, ns: a venue may say again
/// and again what nobody can read.
const UNREAD_NS: i64 = 60_000_000_000;

/// When it was told last that a message of a connection could not be read.
#[derive(Debug, Default)]
pub(super) struct Unread(Option<TsNs>);

impl Unread {
    /// Tells `instruments`, all that the connection has spoken of, that something of them may be
    /// missing.
    pub fn tell<'a>(
        &mut self,
        instruments: impl Iterator<Item = &'a Instrument>,
        rows: &mut Rows,
        ts_recv: TsNs,
    ) {
        let is_new = self.0.is_none_or(|last| ts_recv.0.saturating_sub(last.0) >= UNREAD_NS);
        if is_new {
            self.0 = Some(ts_recv);
            let detail = "a message of its connection could not be read; told once a minute";
            instruments.for_each(|one| rows.status(one, ts_recv, None, StatusWhat::Gap, detail));
        }
    }
}

impl Connections {
    /// Notes that `connection` to `address` is up.
    pub fn connected(&mut self, connection: u32, address: &str) {
        let new = Connection { address: address.to_owned(), ..Connection::default() };
        self.0.insert(connection, new);
    }

    /// Stores with every instrument of `connection` that it was lost.
    pub fn lost(&mut self, connection: u32, ts_recv: TsNs, rows: &mut Rows) {
        for instrument in self.0.remove(&connection).unwrap_or_default().instruments {
            rows.status(&instrument, ts_recv, None, StatusWhat::Disconnected, "connection lost");
        }
    }

    /// A message on `connection` that is of no book could not be read.
    pub fn unread(&mut self, connection: u32, rows: &mut Rows, ts_recv: TsNs) {
        if let Some(Connection { instruments, unread, .. }) = self.0.get_mut(&connection) {
            unread.tell(instruments.iter(), rows, ts_recv);
        }
    }

    /// `rows` as messages of `connection` fill them.
    pub fn rows<'a>(&'a mut self, connection: u32, rows: &'a mut Rows) -> ConnectionRows<'a> {
        ConnectionRows { connection: self.0.entry(connection).or_default(), rows }
    }
}

/// [`Rows`] of one connection: the first row of an instrument comes with a `status` row that says
/// where it is connected to.
pub(super) struct ConnectionRows<'a> {
    connection: &'a mut Connection,
    rows: &'a mut Rows,
}

impl ConnectionRows<'_> {
    /// As [`Rows::stream`].
    pub fn stream(
        &mut self,
        instrument: &Instrument,
        kind: Kind,
        ts_recv: TsNs,
    ) -> (&mut BatchBuilder, TsNs) {
        self.meet(instrument, ts_recv);
        self.rows.stream(instrument, kind, ts_recv)
    }

    /// Notes that a row of `instrument` is about to come.
    pub fn meet(&mut self, instrument: &Instrument, ts_recv: TsNs) {
        if !self.connection.instruments.contains(instrument) {
            self.connection.instruments.insert(instrument.clone());
            let address = &self.connection.address;
            if !address.is_empty() {
                let what = StatusWhat::Connected;
                self.rows.status(instrument, ts_recv, None, what, address);
            }
        }
    }

    /// The rows without their connection.
    pub fn inner(&mut self) -> &mut Rows {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::texts;
    use super::*;

    #[test]
    fn every_instrument_is_told_once_that_it_is_connected_and_that_it_was_lost() {
        let instruments = ["kraken:X", "kraken:Y"].map(|text| Instrument::parse(text).unwrap());
        let mut connections = Connections::default();
        let mut rows = Rows::new();
        connections.connected(1, "wss://ws.kraken.com");
        for ts in [1, 2] {
            for instrument in &instruments {
                let _ = connections.rows(1, &mut rows).stream(instrument, Kind::Quotes, TsNs(ts));
            }
        }
        let _ = connections.rows(2, &mut rows).stream(&instruments[0], Kind::Quotes, TsNs(3));
        connections.lost(1, TsNs(4), &mut rows);
        connections.lost(1, TsNs(5), &mut rows);
        connections.lost(3, TsNs(5), &mut rows);

        assert_eq!(
            texts(&mut rows),
            [
                "status kraken:X 1 - connected wss://ws.kraken.com",
                "status kraken:X 4 - disconnected connection lost",
                "status kraken:Y 1 - connected wss://ws.kraken.com",
                "status kraken:Y 4 - disconnected connection lost",
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_to_all_of_its_connection_once_a_minute() {
        let instruments = ["kraken:X", "kraken:Y"].map(|text| Instrument::parse(text).unwrap());
        let mut connections = Connections::default();
        let mut rows = Rows::new();
        for (connection, instrument) in [(1, &instruments[0]), (2, &instruments[1])] {
            connections.rows(connection, &mut rows).meet(instrument, TsNs(1));
        }

        for (connection, ts) in [(1, 2), (1, UNREAD_NS + 1), (1, UNREAD_NS + 2), (3, 6)] {
            connections.unread(connection, &mut rows, TsNs(ts));
        }

        let detail = "gap a message of its connection could not be read; told once a minute";
        let expected = [2, UNREAD_NS + 2].map(|ts| format!("status kraken:X {ts} - {detail}"));
        assert_eq!(texts(&mut rows), expected);
    }
}
