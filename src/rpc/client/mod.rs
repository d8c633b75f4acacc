//! The typed client: the questions of the library, asked of a server.

mod append;
mod ask;
mod credentials;
mod frame;
mod lasting;
mod session;
mod streams;

pub use append::{AppendAnswers, AppendSender, Appended};
pub use ask::Client;
pub use credentials::Credentials;
pub use frame::{BookFrame, Frame, FrameStep};
pub use lasting::{LastingSession, Patience};
pub use session::{Controls, Event, Session};
pub use streams::{Books, RemoteScan};
