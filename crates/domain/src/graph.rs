//! Dependencies between units: what an output of one is to another, and what that says of both.
//!
//! An *edge* says that the input of one unit is an output of another. The graph of all edges is a Terraform state of its
//! own, with a resource `opentaco_dependency` for each, so that people declare edges with the tool they declare
//! everything with. What Terraform does not know stands in the same document: which value the output has now, as a
//! digest, and which value the target last took. Where the two differ the target needs another apply.
//!
//! ```text
//! canonical  the one spelling of a value, and its digest
//! edge       the two ends of an edge, its id, and what may be said of it
//! document   the graph as a state: read in place, changed in place, merged with what Terraform sends
//! follow     what a change of a unit does to the edges at it
//! view       all edges at once: who is stale, why, in which order, how far a change reaches
//! drawing    the same for people: DOT and Mermaid
//! ```

pub mod canonical;
pub mod document;
pub mod drawing;
pub mod edge;
pub mod follow;
pub mod view;

pub use self::canonical::{Digest, NoDigest};
pub use self::document::{Declared, Document, DocumentError, EdgeState};
pub use self::edge::{EdgeEnds, EdgeEndsError, EdgeId, EdgeStatus, UnitStatus, Unknown};
pub use self::follow::{Change, Outputs, Source, Taking};
pub use self::view::View;
