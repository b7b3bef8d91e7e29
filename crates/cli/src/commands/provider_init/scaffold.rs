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

/// Whose a file is once it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upkeep {
    /// Theirs, who edit it.
    Theirs,
    /// Ours: of this machine, and made anew each time.
    Ours,
}

/// A file of the workspace.
pub(super) struct File {
    pub(super) name: &'static str,
    pub(super) text: String,
    pub(super) upkeep: Upkeep,
}

impl Workspace<'_> {
    pub(super) fn files(&self) -> Vec<File> {
        let theirs = |name, text| File {
            name,
            text,
            upkeep: Upkeep::Theirs,
        };
        vec![
            theirs("main.tf", self.configuration()),
            theirs("README.md", self.readme()),
            theirs(".gitignore", IGNORED.to_owned()),
            File {
                name: CLI_CONFIG,
                text: self.cli_config(),
                upkeep: Upkeep::Ours,
            },
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

As whoever is logged in, in this directory:

    export TF_CLI_CONFIG_FILE=\"$PWD/{CLI_CONFIG}\"
    taco login --server {server}
    export OPENTACO_SERVER={server}
    taco exec -- terraform init
    taco exec -- terraform apply

With a token:

    export TF_CLI_CONFIG_FILE=\"$PWD/{CLI_CONFIG}\"
    export OPENTACO_TOKEN=…
    export TF_HTTP_USERNAME=taco TF_HTTP_PASSWORD=\"$OPENTACO_TOKEN\"
    terraform init
    terraform apply

No token stands in these files, and none should.

The provider is installed below `{MIRROR}`, and `{CLI_CONFIG}` says so to Terraform and OpenTofu, wherever they are
started. Without that variable they find it through `terraform.d/plugins`, if they are started in this directory and there
is no CLI configuration of your own.

`{MIRROR}`, `{CLI_CONFIG}` and `terraform.d` are of this machine, and not for a repository: `taco provider init .` makes
them anew. It keeps every other file here as it is, unless --force is given.
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
        let text = |name| &files.iter().find(|file| file.name == name).unwrap().text;
        assert_eq!(
            text("main.tf")
                .matches("\"http://localhost:8080/v1/backend/a%20b/%24%7Bc%7D%22\"")
                .count(),
            3
        );
        assert!(text(CLI_CONFIG).contains(r#"path    = "/home/a \"b\" \\c/.opentaco/providers""#));
    }
}
