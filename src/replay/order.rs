//! What a replay is ordered by.

/// What the streams of a replay are merged by. Rows of one stream keep the order they arrived in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplayOrder {
    /// By the time they were received.
    #[default]
    Recv,
    /// By effective event time: of a message, the largest of min(`ts_event`, `ts_recv`) over it and
    /// all before it in its stream; `ts_recv` where there is no event time. It never falls within a
    /// stream and never passes `ts_recv`, so that no single wrong event time can spoil it.
    Event,
}
