//! A venue's count of all messages of a connection, over all channels.

use std::collections::HashMap;

use super::feed_dialect::Context;
use crate::quantity::TsNs;

/// The last number of each connection.
#[derive(Debug, Default)]
pub(super) struct ConnectionSequences(HashMap<u32, u64>);

impl ConnectionSequences {
    /// Takes the number of a message; a hole is a gap in every book of the connection. `name` is
    /// what the venue calls the number.
    pub fn next(&mut self, context: &mut Context<'_>, name: &str, seq: u64, sent: Option<TsNs>) {
        let Some(last) = self.0.insert(context.connection, seq) else { return };
        let expected = last.saturating_add(1);
        if seq == expected {
            return;
        }
        // A number that went back says nothing about how many are missing.
        let missing = seq.saturating_sub(expected);
        let detail = format!("{name} of the connection: expected {expected}, found {seq}");
        for book in context.books.of_connection(context.connection) {
            book.gap(context.rows.inner(), (context.ts_recv, sent), missing, &detail);
        }
    }

    /// Takes the number of a message that held no book and could not be read, if it is next.
    pub fn next_if_expected(&mut self, connection: u32, seq: u64) {
        let last = self.0.get(&connection);
        if last.is_some_and(|last| last.checked_add(1) == Some(seq)) {
            self.0.insert(connection, seq);
        }
    }

    /// The connection begins anew.
    pub fn lost(&mut self, connection: u32) {
        self.0.remove(&connection);
    }
}
