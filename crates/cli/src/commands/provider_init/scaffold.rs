//! The files of a workspace, as text.

use opentaco_domain::UnitId;
use opentaco_sdk::Server;

use super::install::{MIRROR, SOURCES, VERSION};
use crate::commands::backend::{address, quoted};

/// Where Terraform is told of the providers that are installed here.
pub(super) const CLI_CONFIG: &str = "opentaco.tfrc";

/// What a workspace is made of.
pub(super) struct Workspace<'a> {
    pub(super) server: &'a Server,
    /// The unit that holds its state, which is the graph.
    pub(super) system_unit: &'a UnitId,
    /// Where it is, from the root.
    pub(super) directory: &'a str,
}

impl Workspace<'_> {
    /// Each with its name.
    pub(super) fn files(&self) -> Vec<(&'static str, String)> {
        vec![
            ("main.tf", self.configuration()),
            ("README.md", self.readme()),
            (".gitignore", IGNORED.to_owned()),
            (CLI_CONFIG, self.cli_config()),
        ]
    }

    fn configuration(&self) -> String {
        let address = quoted(&address(self.server, self.system_unit));
        let endpoint = quoted(self.server.as_str());
        format!(
            r#"# Units and the dependencies between them. `taco provider init` wrote this file; it is yours now.

terraform {{
  required_providers {{
    opentaco = {{
      source  = "digger/opentaco"
      version = "~> {VERSION}"
    }}
  }}

  # The state of this workspace is the graph: the service reads it, and notes in it which values were taken.
  # Credentials come from TF_HTTP_USERNAME and TF_HTTP_PASSWORD.
  backend "http" {{
    address        = {address}
    lock_address   = {address}
    unlock_address = {address}
    lock_method    = "LOCK"
    unlock_method  = "UNLOCK"
  }}
}}

# The token comes from OPENTACO_TOKEN, or from `taco login`.
provider "opentaco" {{
  endpoint = {endpoint}
}}

# Two units to begin with. Put yours in their place; `terraform import opentaco_unit.NAME ID` takes over one that exists.
resource "opentaco_unit" "network" {{
  id = "network/prod"

  labels = {{
    team = "infrastructure"
  }}
}}

resource "opentaco_unit" "app" {{
  id = "myapp/prod"
}}

# The output `vpc_id` of the network becomes the input `vpc_id` of the application. As soon as it changes,
# `taco unit status` tells that the application needs another apply.
resource "opentaco_dependency" "app_vpc" {{
  from_unit_id = opentaco_unit.network.id
  from_output  = "vpc_id"
  to_unit_id   = opentaco_unit.app.id
  to_input     = "vpc_id"
}}
"#
        )
    }

    fn readme(&self) -> String {
        let Self {
            server, system_unit, ..
        } = self;
        format!(
            "# Units and dependencies

This workspace declares units of the OpenTaco service at <{server}>, and what they take from each other. Its own state is
the unit `{system_unit}`: the graph that `taco unit status` and `taco graph` look at.

As whoever is logged in:

    taco login --server {server}
    export OPENTACO_SERVER={server}
    taco exec -- terraform init
    taco exec -- terraform apply

With a token:

    export OPENTACO_TOKEN=…
    export TF_HTTP_USERNAME=taco TF_HTTP_PASSWORD=\"$OPENTACO_TOKEN\"
    terraform init
    terraform apply

No token stands in these files, and none should.

The provider is installed below `{MIRROR}`, and `terraform.d/plugins` leads Terraform and OpenTofu there if they are
started in this directory. If you start them elsewhere, with `-chdir`, or have a CLI configuration of your own that says
where providers come from, this one says it:

    export TF_CLI_CONFIG_FILE=\"$PWD/{CLI_CONFIG}\"

`{MIRROR}` and `{CLI_CONFIG}` are of this machine, and not for a repository: `taco provider init .` makes them anew.
"
        )
    }

    fn cli_config(&self) -> String {
        let path = in_cli_config(&format!("{}/{MIRROR}", self.directory));
        let sources: Vec<String> = SOURCES.iter().map(|source| format!("\"{source}\"")).collect();
        let sources = sources.join(", ");
        format!(
            "# Where Terraform and OpenTofu find the provider that `taco provider init` has installed.
provider_installation {{
  filesystem_mirror {{
    path    = {path}
    include = [{sources}]
  }}
  direct {{
    exclude = [{sources}]
  }}
}}
"
        )
    }
}

const IGNORED: &str = "\
# Of this machine: `taco provider init .` makes them anew.
.opentaco/
opentaco.tfrc
terraform.d/

.terraform/
*.tfstate
*.tfstate.*
";

/// A string of the older HCL that a CLI configuration is written in: nothing in it is a template.
fn in_cli_config(text: &str) -> String {
    let escaped = text
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_wherever_they_stand() {
        let server = Server::parse("http://localhost:8080").unwrap();
        let unit = UnitId::parse("a b/${c}\"").unwrap();
        let files = Workspace {
            server: &server,
            system_unit: &unit,
            directory: r#"/home/a "b" \c"#,
        }
        .files();
        let text = |name| &files.iter().find(|(file, _)| *file == name).unwrap().1;
        assert_eq!(
            text("main.tf")
                .matches("\"http://localhost:8080/v1/backend/a%20b/%24%7Bc%7D%22\"")
                .count(),
            3
        );
        assert!(text(CLI_CONFIG).contains(r#"path    = "/home/a \"b\" \\c/.opentaco/providers""#));
    }
}
