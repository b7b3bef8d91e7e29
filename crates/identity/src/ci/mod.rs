//! CI jobs: who a pipeline is, by its own platform's word, with no secret stored anywhere.
//!
//! GitHub, GitLab and others give each job an OIDC token that says which repository, branch and environment it runs
//! for. A trusted issuer, an expected audience and rules on those claims make a principal with roles of it:
//!
//! ```yaml
//! - issuer: https://token.actions.githubusercontent.com
//!   audience: https://taco.example.com
//!   rules:
//!     - when: { repository: acme/infra, ref: refs/heads/main, environment: production }
//!       principal: "ci:github:{repository}"
//!       roles: [deployer]
//!     - when: { repository: acme/* }
//!       principal: "ci:github:{repository}"
//!       roles: [planner]
//! ```
//!
//! Rules are read from the top, and the first of which every condition holds is the one. A token that no rule matches
//! is nobody's, however genuine. What a rule has to survive is that its author forgot something, so these are errors of
//! the configuration and not of the night:
//!
//! - A rule without conditions would match every job of the issuer.
//! - GitHub and gitlab.com sign for *everybody*: a rule that asks for `ref: refs/heads/main` alone would let in the main
//!   branch of any repository in the world. There, a rule must pin whose job it is, up to a slash at least.
//! - A principal starts with `ci:`, so that no claim, which strangers may choose, can spell a person's name or `root`.
//! - `*` does not cross a slash: `acme/*` is not `acme/team/secrets`; `**` does.

mod config;
mod job;
mod pattern;
mod template;

pub use config::{CiConfigError, CiIssuerConfig, CiRuleConfig, Condition};
pub use job::{CiIssuers, CiJob};
