//! What is made from the command tree: the reference, and the manual.

use opentaco_cli::{args, man, reference};
use opentaco_testkit::tools;

use crate::support::Desk;

/// Set to have the reference written anew.
const UPDATE: &str = "OPENTACO_UPDATE_DOCS";

#[test]
fn the_reference_is_made_from_the_command_tree() {
    let path = tools::repository().join("docs/cli-reference.mdx");
    let fresh = reference::page();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, fresh).unwrap();
        return;
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == fresh,
        "docs/cli-reference.mdx is stale: run this test once with {UPDATE}=1"
    );
}

#[test]
fn every_command_has_a_page_in_the_manual() {
    fn names(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        found.push(path.to_owned());
        for below in command.get_subcommands() {
            names(below, &format!("{path}-{}", below.get_name()), found);
        }
    }
    let mut expected = Vec::new();
    names(&args::command(), "taco", &mut expected);
    assert!(expected.contains(&"taco-unit-rejected-promote".to_owned()));
    let home = tempfile::tempdir().unwrap();
    man::pages(home.path()).unwrap();
    for name in &expected {
        let page = std::fs::read_to_string(home.path().join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains(".SH SYNOPSIS"), "{name}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), expected.len());
    let page = Desk::new().taco("man").worked().stdout;
    assert!(page.contains("Exit codes"), "{page}");
}

#[test]
fn every_argument_says_what_it_is_for_and_every_command_too() {
    fn look(command: &clap::Command, path: &str) {
        assert!(command.get_about().is_some(), "{path}");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{path} {}", argument.get_id());
        }
        for below in command.get_subcommands() {
            look(below, &format!("{path} {}", below.get_name()));
        }
    }
    look(&args::command(), "taco");
}
