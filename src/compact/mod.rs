//! Few large segments out of many small ones: the same rows in fewer bytes.
//!
//! [`plan`] looks through a snapshot and says what is worth doing: one [`Task`] for each run of
//! segments of one stream and UTC day. [`run`] does it, several tasks at a time if asked; each is
//! committed on its own, so what is done stays done when the rest is stopped or killed. No answer
//! of the store changes by it: what is written is read back and compared before it counts
//! ([`crate::store::Writer::rewrite`]).

mod estimate;
mod pace;
mod plan;
mod run;

pub use estimate::{Estimate, estimate};
pub use pace::Pace;
pub use plan::{Selection, Task, plan};
pub use run::{Report, Watch, run};
