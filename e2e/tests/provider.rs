//! The provider in the hands of the real client: every resource is made, planned to no change, changed, made anew,
//! imported, missed when it is gone, and destroyed; in every way in which a provider can be installed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use opentaco_domain::graph::EdgeEnds;
use opentaco_testkit::client::{Client, Ran};
use opentaco_testkit::process::Process;
use opentaco_testkit::service::{ROOT_TOKEN, Service};
use opentaco_testkit::tools;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;

const BINARY: &str = "terraform-provider-opentaco";

const BLOCK: &str = "terraform {\n  required_providers {\n    opentaco = {\n      source = \"digger/opentaco\"\n    }\n  }\n}\n";

/// A service of its own, and what asks it by hand.
struct House {
    service: Service,
    http: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    home: TempDir,
}

impl House {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let service = Service::on_disk(home.path());
        Self::around(service, home)
    }

    fn around(service: Service, home: TempDir) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            http: http::client_of(&service),
            service,
            runtime,
            home,
        }
    }

    /// A client with this configuration, which finds the provider as it was just built and asks this service.
    fn client(&self, resources: &str) -> Client {
        dev_client(resources)
            .with("OPENTACO_ENDPOINT", &self.service.url())
            .with("OPENTACO_TOKEN", ROOT_TOKEN)
    }

    /// One request of the management API, past the provider.
    fn ask(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let address = format!("{}{path}", self.service.url());
        let request = self.http.request(method, address).bearer_auth(ROOT_TOKEN);
        let request = if body.is_null() {
            request
        } else {
            request.json(body)
        };
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            (status, answer.json().await.unwrap_or_default())
        })
    }

    fn done(&self, method: Method, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, body);
        assert!((200..300).contains(&status), "{status} {answer}");
        answer
    }

    fn get(&self, path: &str) -> Value {
        self.done(Method::GET, path, &Value::Null)
    }

    fn write_state(&self, unit: &str, state: &str) {
        let address = self.service.backend(unit);
        let sent = http::status(&self.http, "POST", &address, state.to_owned());
        assert_eq!(self.runtime.block_on(sent), 200);
    }
}

/// A client that takes the provider from where it was built, and finds no login.
fn dev_client(resources: &str) -> Client {
    let client = Client::without_backend(&format!("{BLOCK}{resources}"));
    let built = tools::built(BINARY);
    let folder = built.parent().unwrap().display();
    let overrides = format!(
        "provider_installation {{\n  dev_overrides {{\n    \"digger/opentaco\" = \"{folder}\"\n  }}\n  direct {{}}\n}}\n"
    );
    client.write("clirc", &overrides);
    let home = client.directory().join("home");
    client
        .with("HOME", home.to_str().unwrap())
        .with("XDG_CONFIG_HOME", "")
}

fn configure(client: &Client, resources: &str) {
    client.resources(&format!("{BLOCK}{resources}"));
}

/// Asserts that nothing is to be done.
fn is_settled(client: &Client) {
    let planned = client.run(&["plan", "-input=false", "-detailed-exitcode"]);
    assert!(planned.ok, "something is to be done:\n{}", planned.printed);
}

fn applied(client: &Client, what: &str) -> Ran {
    let ran = client.apply().worked();
    assert!(ran.printed.contains(what), "not `{what}`:\n{}", ran.printed);
    is_settled(client);
    ran
}

/// The attributes of a resource, as the state has them.
fn attributes(client: &Client, address: &str) -> Value {
    let shown = client.run(&["show", "-json"]).worked();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let resources = shown["values"]["root_module"]["resources"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let found = resources
        .into_iter()
        .find(|resource| resource["address"] == address);
    found.unwrap_or_else(|| panic!("{address} is not in {shown:#}"))["values"].clone()
}

fn outputs(client: &Client) -> Value {
    let shown = client.run(&["output", "-json"]).worked();
    serde_json::from_slice(&shown.stdout).unwrap()
}

fn unit(id: &str, more: &str) -> String {
    format!("resource \"opentaco_unit\" \"it\" {{\n  id = \"{id}\"\n  {more}\n}}\n")
}

#[test]
fn a_unit_is_managed_from_its_first_day_to_its_last() {
    let house = House::new();
    let client = house.client(&unit(
        "myapp/prod",
        "labels = { team = \"shop\", tier = \"gold\" }",
    ));
    let _ = applied(&client, "1 added, 0 changed, 0 destroyed");
    let told = house.get("/v1/units/myapp__prod");
    assert_eq!(told["labels"], json!({"team": "shop", "tier": "gold"}));
    let kept = attributes(&client, "opentaco_unit.it");
    assert_eq!(
        (&kept["size"], &kept["locked"], &kept["description"]),
        (&json!(0), &json!(false), &json!(""))
    );
    assert_eq!(kept["updated"], told["updated"]);

    // What others do to its state and its lock is seen, and is nothing to be done.
    house.write_state("myapp/prod", &http::state(1, "x"));
    let lock = json!({"id": "by-hand", "who": "alice@laptop"});
    house.done(Method::POST, "/v1/units/myapp__prod/lock", &lock);
    is_settled(&client);
    let _ = client
        .run(&["apply", "-refresh-only", "-auto-approve", "-input=false"])
        .worked();
    let kept = attributes(&client, "opentaco_unit.it");
    assert_eq!(
        (&kept["size"], &kept["locked"]),
        (&house.get("/v1/units/myapp__prod")["size"], &json!(true))
    );

    // A locked unit is not deleted, and whoever tries is told who holds it.
    let _ = client
        .run(&["destroy", "-auto-approve", "-input=false"])
        .failed_with("by-hand");
    house.done(
        Method::DELETE,
        "/v1/units/myapp__prod/unlock",
        &json!({"id": "by-hand"}),
    );

    let described =
        "description = \"the shop\"\n  labels = { tier = \"iron\" }\n  deletion_protection = true";
    configure(&client, &unit("myapp/prod", described));
    let _ = applied(&client, "0 added, 1 changed, 0 destroyed");
    let told = house.get("/v1/units/myapp__prod");
    assert_eq!(
        (
            &told["labels"],
            &told["description"],
            &told["deletion_protection"]
        ),
        (&json!({"tier": "iron"}), &json!("the shop"), &json!(true))
    );

    // Nor is a protected one, not even to be made anew.
    configure(&client, &unit("myapp/other", ""));
    let _ = client.apply().failed_with("deletion_protection = false");

    // What somebody changed by hand is changed back.
    configure(&client, &unit("myapp/prod", described));
    house.done(
        Method::PATCH,
        "/v1/units/myapp__prod",
        &json!({"labels": {"by": "hand"}, "description": ""}),
    );
    let _ = applied(&client, "0 added, 1 changed, 0 destroyed");
    assert_eq!(
        house.get("/v1/units/myapp__prod")["labels"],
        json!({"tier": "iron"})
    );

    // What is not configured any more is taken back; then it may be replaced.
    configure(&client, &unit("myapp/prod", ""));
    let _ = applied(&client, "0 added, 1 changed, 0 destroyed");
    configure(&client, &unit("myapp/other", ""));
    let _ = applied(&client, "1 added, 0 changed, 1 destroyed");
    assert_eq!(
        house.ask(Method::GET, "/v1/units/myapp__prod", &Value::Null).0,
        404
    );

    // What was deleted elsewhere is made again.
    house.done(Method::DELETE, "/v1/units/myapp__other", &Value::Null);
    let _ = applied(&client, "1 added, 0 changed, 0 destroyed");

    let _ = client.run(&["destroy", "-auto-approve", "-input=false"]).worked();
    assert_eq!(
        house.ask(Method::GET, "/v1/units/myapp__other", &Value::Null).0,
        404
    );
}

#[test]
fn a_unit_that_is_there_is_imported_and_not_made_a_second_time() {
    let house = House::new();
    let made = json!({"id": "net/prod", "labels": {"a": "1"}, "description": "net"});
    house.done(Method::POST, "/v1/units", &made);
    let client = house.client(&unit(
        "net/prod",
        "labels = { a = \"1\" }\n  description = \"net\"",
    ));
    let _ = client
        .apply()
        .failed_with("terraform import opentaco_unit.NAME 'net/prod'");
    let _ = client
        .run(&["import", "-input=false", "opentaco_unit.it", "net/nowhere"])
        .failed_with("non-existent");
    let _ = client
        .run(&["import", "-input=false", "opentaco_unit.it", "a//b"])
        .failed_with("empty segment");
    let _ = client
        .run(&["import", "-input=false", "opentaco_unit.it", "/net/prod/"])
        .worked();
    is_settled(&client);
    assert_eq!(attributes(&client, "opentaco_unit.it")["description"], "net");
}

#[test]
fn what_cannot_be_is_told_before_anything_is_asked() {
    // Nobody listens there: all of this is known without.
    let client = dev_client("").with("OPENTACO_ENDPOINT", "http://127.0.0.1:9");
    let access = |rule: &str| {
        format!(
            "resource \"opentaco_permission\" \"it\" {{\n  name = \"p\"\n  rules = [\n    {{ {rule} }}\n  ]\n}}\n"
        )
    };
    let edge = "resource \"opentaco_dependency\" \"it\" {\n  from_unit_id = \"a//b\"\n  from_output = \"x\"\n  to_unit_id = \"c\"\n}\n";
    let assignment =
        "resource \"opentaco_role_assignment\" \"it\" {\n  member = \"ada\"\n  role = \"admin\"\n}\n";
    for (resources, told, line) in [
        (unit("a//b", ""), "empty segment", "id = \"a//b\""),
        (unit("/a/b/", ""), "That unit is written `a/b`", "id = \"/a/b/\""),
        (unit("__opentaco_mine", ""), "reserved", "id = "),
        (
            unit("a", "labels = { \"\" = \"x\" }"),
            "cannot be empty",
            "labels = {",
        ),
        (unit("a", "labels = { x = null }"), "cannot be null", "labels = {"),
        (
            unit("a", "labels = { for n in range(65) : \"l${n}\" => \"x\" }"),
            "at most 64 labels, and these are 65",
            "labels = {",
        ),
        (
            unit(
                "a",
                "description = join(\"\", [for n in range(1000) : \"12345\"])",
            ),
            "at most 4096 bytes, and this one has 5000",
            "description = ",
        ),
        (
            access("actions = [\"unit.wriet\"], units = [\"**\"]"),
            "`unit.wriet` is no action",
            "In `rules[0].actions`",
        ),
        (
            access("actions = [\"unit.read\"], units = [\"[a\"]"),
            "no pattern",
            "In `rules[0].units`",
        ),
        (
            access("actions = [\"unit.read\"]"),
            "`**` is all of them",
            "In `rules[0].units`",
        ),
        (
            access("actions = []"),
            "at least one action",
            "In `rules[0].actions`",
        ),
        (
            access("effect = \"maybe\", actions = [\"*\"], units = [\"**\"]"),
            "neither `allow` nor `deny`",
            "In `rules[0].effect`",
        ),
        (edge.to_owned(), "empty segment", "from_unit_id = \"a//b\""),
        (assignment.to_owned(), "write `user:ada`", "member = \"ada\""),
    ] {
        configure(&client, &resources);
        let ran = client.run(&["validate"]).failed_with(told);
        assert!(
            ran.printed.contains(line),
            "`{line}` is not named:\n{}",
            ran.printed
        );
    }
}

#[test]
fn who_may_do_what_is_managed() {
    let house = House::new();
    house.done(
        Method::POST,
        "/v1/rbac/init",
        &json!({"administrators": ["user:ada"]}),
    );
    let access = |name: &str, rule: &str, note: &str, member: &str| {
        format!(
            "resource \"opentaco_permission\" \"it\" {{\n  name = \"{name}\"\n  rules = [\n    {{ {rule} }},\n    {{ effect = \"deny\", actions = [\"unit.write\"], units = [\"shop/prod\"] }},\n  ]\n}}\n\
             resource \"opentaco_role\" \"it\" {{\n  name = \"{name}er\"\n  description = \"{note}\"\n  permissions = [opentaco_permission.it.name, \"reader\"]\n}}\n\
             resource \"opentaco_service_account\" \"it\" {{\n  name = \"nightly\"\n  description = \"{note}\"\n}}\n\
             resource \"opentaco_role_assignment\" \"it\" {{\n  for_each = {{\n    one = \"{member}\"\n    two = \"service:${{opentaco_service_account.it.name}}\"\n  }}\n  member = each.value\n  role = opentaco_role.it.name\n}}\n"
        )
    };
    let write = "actions = [\"unit.write\", \"unit.read\"], units = [\"shop/**\"]";
    let client = house.client(&access("shop", write, "one", "group:platform"));
    let _ = applied(&client, "5 added, 0 changed, 0 destroyed");
    let told = house.get("/v1/rbac/permissions/shop");
    assert_eq!(told["rules"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(told["rules"][1]["effect"], "deny", "{told}");
    assert_eq!(
        house.get("/v1/rbac/roles/shoper")["permissions"],
        json!(["reader", "shop"])
    );
    let holders = house.get("/v1/rbac/users").to_string();
    assert!(
        holders.contains("group:platform") && holders.contains("service:nightly"),
        "{holders}"
    );
    assert_eq!(
        attributes(&client, "opentaco_role_assignment.it[\"one\"]")["id"],
        "group:platform/shoper"
    );

    // Changed in place, but for the account, of which the service changes nothing, and another member.
    let outputs =
        "actions = [\"unit.read-outputs\"], units = [\"shop/*\"], outputs = [\"vpc_*\"], sensitive = true";
    configure(&client, &access("shop", outputs, "two", "user:bob"));
    let _ = applied(&client, "2 added, 2 changed, 2 destroyed");
    let told = house.get("/v1/rbac/permissions/shop");
    assert_eq!(
        (&told["rules"][0]["outputs"], &told["rules"][0]["sensitive"]),
        (&json!(["vpc_*"]), &json!(true))
    );
    assert!(!house.get("/v1/rbac/users").to_string().contains("group:platform"));

    // What was changed by hand is changed back, and what was taken away is given again.
    house.done(
        Method::PUT,
        "/v1/rbac/roles/shoper",
        &json!({"permissions": ["reader"]}),
    );
    house.done(
        Method::DELETE,
        "/v1/rbac/users/user%3Abob/roles/shoper",
        &Value::Null,
    );
    house.done(Method::DELETE, "/v1/auth/service-accounts/nightly", &Value::Null);
    let _ = applied(&client, "2 added, 1 changed, 0 destroyed");

    // Another name is another one.
    configure(&client, &access("shops", outputs, "two", "user:bob"));
    let _ = applied(&client, "4 added, 0 changed, 4 destroyed");
    assert_eq!(
        house.ask(Method::GET, "/v1/rbac/roles/shoper", &Value::Null).0,
        404
    );

    // Imported into an empty state: nothing is to be done then.
    fs::remove_file(client.directory().join("terraform.tfstate")).unwrap();
    let _ = client
        .apply()
        .failed_with("terraform import opentaco_permission.NAME 'shops'");
    let _ = fs::remove_file(client.directory().join("terraform.tfstate"));
    for (address, id) in [
        ("opentaco_permission.it", "shops"),
        ("opentaco_role.it", "shopser"),
        ("opentaco_service_account.it", "nightly"),
        ("opentaco_role_assignment.it[\"one\"]", "user:bob/shopser"),
        ("opentaco_role_assignment.it[\"two\"]", "service:nightly/shopser"),
    ] {
        let _ = client.run(&["import", "-input=false", address, id]).worked();
    }
    is_settled(&client);

    let _ = client.run(&["destroy", "-auto-approve", "-input=false"]).worked();
    for path in ["/v1/rbac/permissions/shops", "/v1/rbac/roles/shopser"] {
        assert_eq!(house.ask(Method::GET, path, &Value::Null).0, 404, "{path}");
    }
    assert_eq!(house.get("/v1/auth/service-accounts")["count"], 0);
    assert!(!house.get("/v1/rbac/users").to_string().contains("shopser"));
}

#[test]
fn units_and_what_their_states_hand_out_are_looked_at() {
    let house = House::new();
    let digits = "9007199254740993.000000000000000000001";
    let state = format!(
        r#"{{"version":4,"terraform_version":"1.11.4","serial":7,"lineage":"l","resources":[],"outputs":{{
            "vpc":{{"value":"vpc-1","type":"string"}},
            "zones":{{"value":["a","b"],"type":["set","string"]}},
            "net":{{"value":{{"cidr":"10.0.0.0/8","mask":8}},"type":["object",{{"cidr":"string","mask":"number"}}]}},
            "exact":{{"value":{digits},"type":"number"}},
            "password":{{"value":"hunter2","type":"string","sensitive":true}}}}}}"#
    );
    house.done(
        Method::POST,
        "/v1/units",
        &json!({"id": "net/prod", "labels": {"tier": "gold"}, "description": "d"}),
    );
    house.done(
        Method::POST,
        "/v1/units",
        &json!({"id": "net/dev", "labels": {"tier": "iron"}}),
    );
    house.write_state("net/prod", &state);
    house.done(
        Method::POST,
        "/v1/units/net__prod/lock",
        &json!({"id": "held", "who": "alice@laptop"}),
    );
    let client = house.client(
        r#"
data "opentaco_unit" "it" { id = "net/prod" }
data "opentaco_units" "all" { prefix = "net/" }
data "opentaco_units" "gold" {
  prefix = "net/"
  labels = { tier = "gold" }
}
data "opentaco_outputs" "it" { unit_id = "net/prod" }
output "unit" { value = data.opentaco_unit.it }
output "all" { value = data.opentaco_units.all.units[*].id }
output "gold" { value = data.opentaco_units.gold.units[*].id }
output "vpc" { value = data.opentaco_outputs.it.values.vpc }
output "zones" { value = contains(data.opentaco_outputs.it.values.zones, "b") }
output "mask" { value = data.opentaco_outputs.it.values.net.mask + 1 }
output "exact" { value = tostring(data.opentaco_outputs.it.values.exact) }
output "names" { value = keys(data.opentaco_outputs.it.values) }
output "password" {
  value     = data.opentaco_outputs.it.sensitive_values.password
  sensitive = true
}
"#,
    );
    let ran = client.apply().worked();
    assert!(!ran.printed.contains("hunter2"), "{}", ran.printed);
    let told = outputs(&client);
    let value = |name: &str| &told[name]["value"];
    assert_eq!(value("all"), &json!(["net/dev", "net/prod"]));
    assert_eq!(value("gold"), &json!(["net/prod"]));
    assert_eq!(
        (value("vpc"), value("zones"), value("mask")),
        (&json!("vpc-1"), &json!(true), &json!(9))
    );
    assert_eq!(value("exact"), digits);
    assert_eq!(value("names"), &json!(["exact", "net", "vpc", "zones"]));
    assert_eq!(value("password"), "hunter2");
    let unit = value("unit");
    assert_eq!(
        (
            &unit["serial"],
            &unit["lineage"],
            &unit["locked"],
            &unit["lock"]["who"],
            &unit["description"]
        ),
        (
            &json!(7),
            &json!("l"),
            &json!(true),
            &json!("alice@laptop"),
            &json!("d")
        )
    );
    assert_eq!(unit["version"], house.get("/v1/units/net__prod")["version"]);

    // A sensitive output is not shown by accident.
    configure(
        &client,
        "data \"opentaco_outputs\" \"it\" {\n  unit_id = \"net/prod\"\n}\noutput \"all\" {\n  value = data.opentaco_outputs.it\n}\n",
    );
    let _ = client.run(&["plan", "-input=false"]).failed_with("sensitive");
    for (resources, told) in [
        (
            "data \"opentaco_unit\" \"it\" {\n  id = \"no/where\"\n}\n",
            "Cannot look at the unit `no/where`",
        ),
        (
            "data \"opentaco_outputs\" \"it\" {\n  unit_id = \"net/dev\"\n}\n",
            "Cannot read the outputs of `net/dev`",
        ),
    ] {
        configure(&client, resources);
        let ran = client.run(&["plan", "-input=false"]).failed_with(told);
        assert!(
            ran.printed.contains("id = \""),
            "the attribute is not named:\n{}",
            ran.printed
        );
    }
}

#[test]
fn the_provider_is_told_where_and_as_whom_to_ask() {
    let house = House::new();
    let url = house.service.url();
    let look = "data \"opentaco_units\" \"all\" {}\n";
    let block = |lines: &str| format!("provider \"opentaco\" {{\n{lines}\n}}\n{look}");

    // By its block, before the environment.
    let client = dev_client(&block(&format!(
        "  endpoint = \"{url}\"\n  token = \"{ROOT_TOKEN}\""
    )))
    .with("OPENTACO_ENDPOINT", "http://127.0.0.1:9")
    .with("OPENTACO_TOKEN", "wrong");
    let _ = client.apply().worked();

    // By a token that nobody knows: the attribute is wrong, and the reader hears what to do.
    configure(&client, &block(&format!("  endpoint = \"{url}\"")));
    let ran = client.apply().failed_with("not known here");
    assert!(
        ran.printed.contains("OPENTACO_TOKEN") && ran.printed.contains("taco login"),
        "{}",
        ran.printed
    );

    // By nobody, and by whoever is logged in with `taco login`.
    let client = dev_client(look).with("OPENTACO_ENDPOINT", &url);
    let _ = client.apply().failed_with("taco login");
    let login = json!({"servers": {url.as_str(): {
        "principal": "ada", "access_token": ROOT_TOKEN, "expires": "2100-01-01T00:00:00Z",
        "refresh_token": "r", "refresh_expires": "2100-01-01T00:00:00Z",
    }}});
    let kept = client.directory().join("home/.config/opentaco");
    fs::create_dir_all(&kept).unwrap();
    fs::write(kept.join("credentials.json"), login.to_string()).unwrap();
    let _ = client.apply().worked();

    // A login that is over cannot be gone on with, and says so.
    let over = login.to_string().replace("2100", "2000");
    fs::write(kept.join("credentials.json"), over).unwrap();
    let _ = client.apply().failed_with("log in again with `taco login`");

    // Where nobody listens.
    let client = dev_client(look).with("OPENTACO_ENDPOINT", "http://127.0.0.1:9");
    let _ = client
        .apply()
        .failed_with("the service at http://127.0.0.1:9 cannot be reached");

    // By what is not known yet.
    let client = dev_client(
        "resource \"terraform_data\" \"it\" {}\nprovider \"opentaco\" {\n  endpoint = \"http://${terraform_data.it.id}\"\n}\ndata \"opentaco_units\" \"all\" {}\n",
    );
    let ran = client
        .apply()
        .failed_with("needs `endpoint`, which is not known yet");
    assert!(
        ran.printed
            .contains("endpoint = \"http://${terraform_data.it.id}\""),
        "{}",
        ran.printed
    );
    for (lines, told) in [
        ("  endpoint = \"localhost\"", "is not an address"),
        ("  token = \"a b\"", "a token is one line"),
    ] {
        configure(&client, &block(lines));
        let _ = client.run(&["validate"]).failed_with(told);
    }
}

#[test]
fn the_provider_trusts_an_authority_that_it_is_told_of() {
    let home = tempfile::tempdir().unwrap();
    let house = House::around(Service::on_disk_over_tls(home.path()), home);
    let client = house.client("data \"opentaco_units\" \"all\" {}\n");
    let _ = client.apply().failed_with("ca_file");
    let file = house.home.path().join("authority.pem");
    fs::write(&file, house.service.authority().unwrap()).unwrap();
    let client = client.with("OPENTACO_CA_FILE", file.to_str().unwrap());
    let _ = client.apply().worked();
}

/// Every resource that there is, once; the dependency is between the two units.
fn everything(name: &str, note: &str) -> String {
    format!(
        "resource \"opentaco_unit\" \"from\" {{\n  id          = \"{name}/from\"\n  description = \"{note}\"\n}}\n\
         resource \"opentaco_unit\" \"to\" {{\n  id = \"{name}/to\"\n}}\n\
         resource \"opentaco_dependency\" \"it\" {{\n  from_unit_id = opentaco_unit.from.id\n  from_output  = \"vpc\"\n  to_unit_id   = opentaco_unit.to.id\n}}\n\
         resource \"opentaco_permission\" \"it\" {{\n  name  = \"{name}\"\n  rules = [{{ actions = [\"unit.read\"], units = [\"{name}/**\"] }}]\n}}\n\
         resource \"opentaco_role\" \"it\" {{\n  name        = \"{name}\"\n  description = \"{note}\"\n  permissions = [opentaco_permission.it.name]\n}}\n\
         resource \"opentaco_service_account\" \"it\" {{\n  name        = \"{name}\"\n  description = \"{note}\"\n}}\n\
         resource \"opentaco_role_assignment\" \"it\" {{\n  member = \"service:${{opentaco_service_account.it.name}}\"\n  role   = opentaco_role.it.name\n}}\n"
    )
}

/// Every resource is made, changed, changed by hand and back, made anew under another name, forgotten and imported, and
/// removed; in between nothing is to be done. `block` stands before all of it.
fn from_the_first_day_to_the_last(house: &House, client: &Client, block: &str) {
    let configured = |name, note| configure(client, &format!("{block}{}", everything(name, note)));
    house.done(
        Method::POST,
        "/v1/rbac/init",
        &json!({"administrators": ["user:ada"]}),
    );
    configured("shop", "one");
    let _ = applied(client, "7 added, 0 changed, 0 destroyed");
    let unit = |name: &str| house.get(&format!("/v1/units/{name}%2Ffrom"));
    assert_eq!(unit("shop")["description"], "one");
    assert_eq!(house.get("/v1/graph")["edges"].as_array().unwrap().len(), 1);

    // The service changes nothing of an account, so that one is made anew.
    configured("shop", "two");
    let _ = applied(client, "1 added, 2 changed, 1 destroyed");
    assert_eq!(unit("shop")["description"], "two");

    let by_hand = json!({"description": "by hand"});
    house.done(Method::PATCH, "/v1/units/shop%2Ffrom", &by_hand);
    house.done(
        Method::PUT,
        "/v1/rbac/roles/shop",
        &json!({"permissions": ["reader"]}),
    );
    house.done(Method::DELETE, "/v1/auth/service-accounts/shop", &Value::Null);
    let _ = applied(client, "1 added, 2 changed, 0 destroyed");
    assert_eq!(unit("shop")["description"], "two");

    configured("other", "two");
    let _ = applied(client, "7 added, 0 changed, 7 destroyed");
    assert_eq!(
        house.ask(Method::GET, "/v1/units/shop%2Ffrom", &Value::Null).0,
        404
    );

    for (address, id) in [
        ("opentaco_unit.from", "other/from"),
        ("opentaco_unit.to", "other/to"),
        ("opentaco_permission.it", "other"),
        ("opentaco_role.it", "other"),
        ("opentaco_service_account.it", "other"),
        ("opentaco_role_assignment.it", "service:other/other"),
        ("opentaco_dependency.it", "other/from.vpc->other/to.vpc"),
    ] {
        let _ = client.run(&["state", "rm", address]).worked();
        let _ = client.run(&["import", "-input=false", address, id]).worked();
    }
    is_settled(client);

    let _ = client.run(&["destroy", "-auto-approve", "-input=false"]).worked();
    assert_eq!(house.get("/v1/graph")["edges"], json!([]));
    assert_eq!(house.get("/v1/auth/service-accounts")["count"], 0);
    assert_eq!(
        house.ask(Method::GET, "/v1/units/other%2Ffrom", &Value::Null).0,
        404
    );
    assert_eq!(
        house.ask(Method::GET, "/v1/rbac/roles/other", &Value::Null).0,
        404
    );
}

#[test]
fn every_resource_lives_its_life_with_a_provider_from_a_mirror() {
    let house = House::new();
    let client = house
        .service
        .client("__opentaco_system", BLOCK)
        .with("OPENTACO_ENDPOINT", &house.service.url())
        .with("OPENTACO_TOKEN", ROOT_TOKEN);
    mirror(&client);
    from_the_first_day_to_the_last(&house, &client.init(), "");
}

#[test]
fn the_provider_is_installed_from_a_mirror() {
    let house = House::new();
    let client = house.client(&unit("from/a/mirror", ""));
    mirror(&client);
    let client = client.init();
    let _ = applied(&client, "1 added, 0 changed, 0 destroyed");
    // The other client's registry, in the words of this one: both names lead to the same files.
    let other = BLOCK.replace("digger/opentaco", "registry.opentofu.org/digger/opentaco");
    client.resources(&format!(
        "{other}data \"opentaco_unit\" \"it\" {{\n  id = \"from/a/mirror\"\n}}\n"
    ));
    fs::remove_file(client.directory().join("terraform.tfstate")).unwrap();
    let _ = client.init().apply().worked();
}

/// Lays the provider where both clients look for what they would get of their registries.
pub(crate) fn mirror(client: &Client) {
    let mirror = client.directory().join("mirror");
    for host in ["registry.terraform.io", "registry.opentofu.org"] {
        let folder = mirror.join(host).join("digger/opentaco/0.1.0").join(platform());
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{BINARY}_v0.1.0"));
        fs::hard_link(tools::built(BINARY), &file)
            .or_else(|_| fs::copy(tools::built(BINARY), &file).map(drop))
            .unwrap();
    }
    let rules = format!(
        "provider_installation {{\n  filesystem_mirror {{\n    path = \"{}\"\n  }}\n}}\n",
        mirror.display()
    );
    client.write("clirc", &rules);
}

fn platform() -> String {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    format!("{system}_{machine}")
}

/// A state of `net/prod` with this many outputs, of which one has another value.
fn network(serial: usize, outputs: usize, other: Option<usize>) -> String {
    let outputs: serde_json::Map<_, _> = (0..outputs)
        .map(|number| {
            let value = match other == Some(number) {
                true => format!("other {number}"),
                false => format!("value {number}"),
            };
            (format!("out{number}"), json!({"value": value, "type": "string"}))
        })
        .collect();
    json!({
        "version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "net",
        "outputs": outputs, "resources": [],
    })
    .to_string()
}

#[test]
fn two_hundred_dependencies_are_declared_in_one_apply_and_followed_from_then_on() {
    let house = House::new();
    house.write_state("net/prod", &network(1, 200, None));
    house.write_state("app/prod", &http::state(1, "before"));
    let edges = |count: usize, to: &str| {
        format!(
            "{BLOCK}resource \"opentaco_dependency\" \"it\" {{\n  for_each     = toset([for n in range({count}) : \"out${{n}}\"])\n  \
             from_unit_id = \"net/prod\"\n  from_output  = each.value\n  to_unit_id   = \"{to}\"\n}}\n"
        )
    };
    let client = house
        .service
        .client("__opentaco_system", &edges(200, "app/prod"))
        .with("OPENTACO_ENDPOINT", &house.service.url())
        .with("OPENTACO_TOKEN", ROOT_TOKEN);
    mirror(&client);
    let client = client.init();
    // What follows from the ends is known before anything is made.
    let ends = EdgeEnds::new("net/prod", "out7", "app/prod", "out7");
    let planned = client.run(&["plan", "-input=false"]).worked();
    assert!(
        planned.printed.contains(ends.id().as_str()),
        "{}",
        planned.printed
    );
    let _ = applied(&client, "200 added, 0 changed, 0 destroyed");
    let seventh = || attributes(&client, "opentaco_dependency.it[\"out7\"]");
    let made = seventh();
    assert_eq!(made["id"], ends.id().as_str());
    assert_eq!(
        (&made["status"], &made["to_input"], &made["out_digest"]),
        (&json!("pending"), &json!("out7"), &Value::Null)
    );
    assert!(
        made["in_digest"].is_string() && made["last_in_at"].is_string(),
        "{made}"
    );

    // The target takes all values; then the source gets another one. Neither is anything for Terraform to do.
    let looking = house.client("data \"opentaco_unit_status\" \"it\" {\n  unit_id = \"app/prod\"\n}\noutput \"it\" {\n  value = data.opentaco_unit_status.it\n}\n");
    let told = || {
        let _ = looking.apply().worked();
        outputs(&looking)["it"]["value"].clone()
    };
    let red = told();
    assert_eq!(
        (&red["status"], &red["incoming_pending"], &red["incoming_ok"]),
        (&json!("red"), &json!(200), &json!(0))
    );
    house.write_state("app/prod", &http::state(2, "after"));
    let green = told();
    assert_eq!(
        (&green["status"], &green["incoming_ok"]),
        (&json!("green"), &json!(200))
    );
    house.write_state("net/prod", &network(2, 200, Some(7)));
    let red = told();
    assert_eq!(
        (&red["status"], &red["incoming_pending"], &red["incoming_ok"]),
        (&json!("red"), &json!(1), &json!(199))
    );
    let pending: Vec<_> = red["incoming"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|edge| edge["status"] == "pending")
        .collect();
    assert_eq!(
        (pending.len(), &pending[0]["id"], &pending[0]["from_output"]),
        (1, &json!(ends.id()), &json!("out7"))
    );
    is_settled(&client);
    // The service keeps the attributes in the state itself: they are right without any refresh.
    let kept = seventh();
    assert_eq!(kept["status"], "pending");
    assert!(
        kept["out_digest"] == made["in_digest"] && kept["in_digest"] != made["in_digest"],
        "{kept}"
    );
    assert!(
        kept["out_version"].is_string() && kept["in_by"].is_string(),
        "{kept}"
    );

    // What leaves the state is an edge no more, and is found again by its ends and by its id.
    let _ = client
        .run(&[
            "state",
            "rm",
            "opentaco_dependency.it[\"out7\"]",
            "opentaco_dependency.it[\"out8\"]",
        ])
        .worked();
    assert_eq!(told()["incoming_ok"], 198);
    let eighth = EdgeEnds::new("net/prod", "out8", "app/prod", "out8")
        .id()
        .to_string();
    for (address, id) in [("out7", ends.to_string()), ("out8", eighth)] {
        let address = format!("opentaco_dependency.it[\"{address}\"]");
        let _ = client.run(&["import", "-input=false", &address, &id]).worked();
    }
    is_settled(&client);
    // Nobody knows any more which values the target has taken of these two.
    let red = told();
    assert_eq!(
        (&red["incoming_ok"], &red["incoming_pending"]),
        (&json!(198), &json!(2))
    );

    // Another end is another edge.
    client.resources(&edges(2, "app/dev"));
    let _ = applied(&client, "2 added, 0 changed, 200 destroyed");
    assert_eq!(told()["incoming"], json!([]));
    let _ = client.run(&["destroy", "-auto-approve", "-input=false"]).worked();
    assert_eq!(house.get("/v1/graph")["edges"], json!([]));
}

#[test]
fn the_client_is_attached_to_a_provider_that_runs_already() {
    let house = House::new();
    let log = house.home.path().join("provider");
    let mut command = Command::new(tools::built(BINARY));
    command.arg("--debug");
    let mut provider = Process::start(command, &log);
    let said = provider.until("how to attach", || {
        let printed = fs::read_to_string(&log).ok()?;
        printed.ends_with('\n').then_some(printed)
    });
    let line = said.trim().strip_prefix("TF_REATTACH_PROVIDERS='").unwrap();
    let value = line.strip_suffix('\'').unwrap();
    let attach: Value = serde_json::from_str(value).unwrap();
    let about = &attach["registry.terraform.io/digger/opentaco"];
    assert_eq!(*about, attach["registry.opentofu.org/digger/opentaco"]);
    assert_eq!(
        (&about["Pid"], &about["ProtocolVersion"], &about["Test"]),
        (&json!(provider.id()), &json!(6), &json!(true))
    );
    let socket = about["Addr"]["String"].as_str().unwrap().to_owned();

    // The environment of the client is not that of the provider: the block says where.
    let url = house.service.url();
    let block = format!("provider \"opentaco\" {{\n  endpoint = \"{url}\"\n  token = \"{ROOT_TOKEN}\"\n}}\n");
    let client = house
        .service
        .client("__opentaco_system", &format!("{BLOCK}{block}"));
    let client = client.with("TF_REATTACH_PROVIDERS", value).init();
    from_the_first_day_to_the_last(&house, &client, &block);

    provider.signal("TERM");
    assert!(provider.wait().success());
    assert!(!Path::new(&socket).exists());
}

#[test]
fn a_person_who_starts_the_provider_is_told_what_it_is() {
    let ran = Command::new(tools::built(BINARY))
        .env_remove("TF_PLUGIN_MAGIC_COOKIE")
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stdout.is_empty());
    assert!(String::from_utf8_lossy(&ran.stderr).contains("--debug"));
}

#[test]
fn an_interrupt_at_the_terminal_is_for_the_client_to_hear() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("log");
    let mut command = Command::new(tools::built(BINARY));
    command
        .env_remove("PLUGIN_CLIENT_CERT")
        .env("PLUGIN_PROTOCOL_VERSIONS", "5,6")
        .env(
            "TF_PLUGIN_MAGIC_COOKIE",
            "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
        );
    let mut provider = Process::start(command, &log);
    let line = provider.until("its line", || {
        let printed = fs::read_to_string(&log).ok()?;
        printed.ends_with('\n').then_some(printed)
    });
    let parts: Vec<_> = line.trim_end().split('|').collect();
    let [_, _, _, socket, _, _] = parts[..] else {
        panic!("{line} has other parts");
    };
    assert_eq!(line, format!("1|6|unix|{socket}|grpc|\n"));
    provider.signal("INT");
    // It goes on to answer: what HTTP/2 begins with is answered with what the server has to say first.
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "no settings, but {frame:?}");
    provider.signal("TERM");
    assert!(provider.wait().success());
    assert!(!Path::new(socket).exists());
}

#[test]
fn what_the_pages_of_the_provider_show_is_a_configuration() {
    let folder = tools::repository().join("docs/provider");
    let example = |page: &Path| {
        let page = fs::read_to_string(page).unwrap();
        let (_, rest) = page.split_once("```terraform\n").unwrap();
        rest.split_once("```").unwrap().0.to_owned()
    };
    let mut shown = example(&folder.join("index.md"));
    for below in ["resources", "data-sources"] {
        for entry in fs::read_dir(folder.join(below)).unwrap() {
            shown.push_str(&example(&entry.unwrap().path()));
        }
    }
    assert_eq!(shown.matches("resource \"opentaco_").count(), 7, "{shown}");
    let client = dev_client("");
    client.resources(&shown);
    let _ = client.run(&["validate"]).worked();
}
