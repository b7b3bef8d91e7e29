//! `terraform-provider-opentaco`: units, their dependencies and who may do what, as resources of Terraform and OpenTofu.
//!
//! In reading order: what any provider is asked ([`plugin`]), how this one is configured ([`provider`]), its resources
//! and data sources ([`resources`], [`data`]), how the service's refusals are told ([`mod@failure`]), and the pages that
//! are made from the schemas ([`pages`]).

pub mod data;
pub mod failure;
pub mod pages;
pub mod plugin;
pub mod provider;
pub mod resources;
