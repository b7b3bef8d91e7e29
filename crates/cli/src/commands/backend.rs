//! `taco unit backend`

use opentaco_domain::UnitId;
use opentaco_sdk::Server;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::args::{self, BackendType};
use crate::context::Context;
use crate::error::Failure;

/// What need not be escaped in a segment of an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

pub(super) fn run(context: &Context, args: &args::Backend) -> Result<(), Failure> {
    let unit = &args.one.unit;
    let address = address(&context.server, unit);
    let block = match args.kind {
        BackendType::Http => http(&address),
        BackendType::S3 => s3(&context.server, unit),
    };
    if context.output.is_json() {
        let kind = match args.kind {
            BackendType::Http => "http",
            BackendType::S3 => "s3",
        };
        return context
            .output
            .json(&json!({"id": unit, "type": kind, "address": address, "block": block}));
    }
    context.output.data(&block)?;
    match args.kind {
        BackendType::Http => context
            .output
            .hint("credentials: TF_HTTP_USERNAME may be anything, and TF_HTTP_PASSWORD is the token"),
        BackendType::S3 => context
            .output
            .hint("it needs a service that has the S3 door, and its credentials in an AWS profile"),
    }
    Ok(())
}

/// The address of a unit at Terraform's door.
pub(super) fn address(server: &Server, unit: &UnitId) -> String {
    format!(
        "{server}/v1/backend/{}",
        utf8_percent_encode(unit.as_str(), PLAIN)
    )
}

fn http(address: &str) -> String {
    format!(
        "terraform {{\n  backend \"http\" {{\n    address        = {0}\n    lock_address   = {0}\n    unlock_address = {0}\n  }}\n}}\n",
        quoted(address)
    )
}

fn s3(server: &Server, unit: &UnitId) -> String {
    format!(
        "terraform {{
  backend \"s3\" {{
    bucket                      = \"opentaco\"
    key                         = {}
    region                      = \"auto\"
    endpoints                   = {{ s3 = {} }}
    use_path_style              = true
    use_lockfile                = true
    skip_credentials_validation = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
  }}
}}
",
        quoted(&unit.state_key()),
        quoted(&format!("{server}/s3"))
    )
}

/// A string of HCL.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    // `${` and `%{` begin something in HCL unless they are doubled.
    quoted.replace("${", "$${").replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_slashes_and_escapes_everything_else() {
        let server = Server::parse("http://localhost:8080").unwrap();
        let of = |id| address(&server, &UnitId::parse(id).unwrap());
        assert_eq!(of("myapp/prod"), "http://localhost:8080/v1/backend/myapp/prod");
        assert_eq!(
            of("a b/100%/env:x?"),
            "http://localhost:8080/v1/backend/a%20b/100%25/env%3Ax%3F"
        );
    }

    #[test]
    fn what_hcl_would_read_as_a_template_is_escaped() {
        assert_eq!(quoted("a\"b\\${c}%{d}"), "\"a\\\"b\\\\$${c}%%{d}\"");
    }
}
