//! Counting and telling: declared metrics, their exposition, and log lines. Decides nothing.
//!
//! Invariants:
//! 1. A metric exists because a table in `declared` or `process` has its name, type and help; the
//!    exposition and `docs/METRICS.md` follow from the tables, and a test compares them.
//! 2. Labels come from enums of this module, so the number of series is fixed when the program is
//!    compiled. Topics, peers and ids are never labels.
//! 3. Each `Recorder` has one writer, its thread. Readers add up what all recorders say.

pub mod declared;
pub mod labels;
pub mod log;
pub mod process;
pub mod recorder;
pub mod render;

pub use declared::Counter;
pub use declared::Gauge;
pub use declared::Histogram;
pub use labels::AcceptFailure;
pub use labels::CloseReason;
pub use labels::ConnectResult;
pub use labels::Direction;
pub use labels::GapReason;
pub use labels::LagAction;
pub use labels::Outcome;
pub use labels::RefuseReason;
pub use labels::RelayEnd;
pub use labels::RequestKind;
pub use labels::Stage;
pub use labels::StatusClass;
pub use labels::UpstreamFailure;
pub use process::Process;
pub use recorder::Counters;
pub use recorder::Recorder;
pub use render::render;
