//! The typed client: the questions of the library, asked of a server.

mod ask;
mod frame;
mod session;
mod streams;

pub use ask::Client;
pub use frame::{Frame, FrameStep};
pub use session::{Controls, Event, Session};
pub use streams::{Books, RemoteScan};
