//! Words on the wire of the management API `/v1`: one spelling for the server, the SDK and the description.
//!
//! ```text
//! paths      every address, for the table of routes and for whoever asks
//! header     the headers that are ours
//! units      a unit, a page of them, what is created and changed
//! locks      who holds a unit
//! versions   the history, refused writes, and what a write became
//! outputs    what a state hands out
//! graph      dependencies between units, and what they say of them
//! auth       logging in, tokens, and who one is
//! rbac       who may do what
//! audit      who did what
//! info       the service itself
//! error      how a request is refused: a word, a sentence, and what goes with it
//! ```
//!
//! Values only: nothing here performs I/O or decides anything. What is sent is read strictly, so that a mistyped member is
//! refused and not ignored; what is answered is read leniently, so that an older client bears a newer service.
//! [`paths`] is where to begin.

pub mod audit;
pub mod auth;
pub mod error;
pub mod graph;
pub mod header;
pub mod info;
pub mod locks;
pub mod outputs;
pub mod paths;
pub mod rbac;
pub mod units;
pub mod versions;

pub use error::{ErrorBody, ErrorCode};
pub use graph::{Edge, Graph, GraphUnit, IncomingSummary, Reconciled, Statuses, UnitStatus};
pub use info::Info;
pub use locks::{Lock, LockRequest, UnlockRequest, Unlocked};
pub use outputs::{Output, Outputs};
pub use units::{ChangeUnit, CreateUnit, Created, Undeleted, Unit, UnitSummary, Units};
pub use versions::{Origin, Receipt, Rejected, RejectedWrites, Restore, Version, Versions};
