//! In a pipe: data on standard output, messages on standard error, and no colours, tables, bars or questions.

use opentaco_testkit::tools;

use crate::support::{Desk, state};

/// A program of the shell that prints a part of a document: jq, or Python where there is none.
fn json(jq: &str, python: &str) -> String {
    match tools::on_path("jq") {
        Some(_) => format!("jq {jq}"),
        None => format!("python3 -c \"import json, sys; d = json.load(sys.stdin); print({python})\""),
    }
}

#[test]
fn what_is_pulled_into_a_pipe_is_the_state_and_nothing_else() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "hello"));
    desk.taco("unit push pipes/pull one.json").worked();
    let ran = desk
        .shell(&format!(
            "taco unit pull pipes/pull | {}",
            json("-r .outputs.o.value", "d['outputs']['o']['value']")
        ))
        .worked();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("hello\n", ""));
    let ran = desk.taco("unit pull pipes/pull").worked();
    assert_eq!(
        ran.stdout,
        state(1, "hello"),
        "byte for byte, without a line end of ours"
    );
}

#[test]
fn a_list_goes_through_jq_and_a_plain_one_through_cut() {
    let desk = Desk::new();
    for unit in ["pipes/list/a", "pipes/list/b"] {
        desk.taco(&format!("unit create {unit}")).worked();
    }
    let ran = desk
        .shell(&format!(
            "taco unit ls pipes/list/ --json | {}",
            json(
                "-r '.units[].id, .count'",
                "'\\n'.join([u['id'] for u in d['units']] + [str(d['count'])])"
            )
        ))
        .worked();
    assert_eq!(ran.stdout, "pipes/list/a\npipes/list/b\n2\n");
    let ran = desk.shell("taco unit ls pipes/list/ | cut -f 1").worked();
    assert_eq!(ran.stdout, "pipes/list/a\npipes/list/b\n");
    let ran = desk
        .shell(&format!(
            "taco unit ls pipes/nothing/ --json | {}",
            json("-c .units", "d['units']")
        ))
        .worked();
    assert_eq!(ran.stdout, "[]\n");
}

#[test]
fn an_output_goes_into_a_pipe_to_the_byte() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "a\\u001b[31mred\\u0007"));
    desk.taco("unit push pipes/bytes one.json").worked();
    let ran = desk.taco("unit outputs pipes/bytes o").worked();
    assert_eq!(ran.stdout, "a\u{1b}[31mred\u{7}\n");
}

#[test]
fn nothing_in_a_pipe_is_coloured_unless_that_is_asked_for() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "a"));
    desk.write("two.json", &state(2, "b"));
    let mut seen = 0;
    for line in [
        "unit push pipes/plain one.json",
        "unit push pipes/plain two.json",
        "unit ls pipes/",
        "unit info pipes/plain",
        "unit diff pipes/plain",
        "unit info pipes/nothing",
        "unit rm pipes/plain",
        "--help",
        "unit frobnicate",
    ] {
        let ran = desk.taco(line);
        assert!(
            !format!("{}{}", ran.stdout, ran.stderr).contains('\x1b'),
            "{line}: {ran:?}"
        );
        seen += ran.stdout.len() + ran.stderr.len();
    }
    assert!(seen > 1000);
    let ran = desk.taco("--color always unit diff pipes/plain").worked();
    assert!(ran.stdout.contains("\x1b["), "{ran:?}");
}

#[test]
fn messages_and_errors_never_reach_standard_output() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "a"));
    for (line, code) in [
        ("unit create pipes/quiet", 0),
        ("unit push pipes/quiet one.json", 0),
        ("unit pull pipes/quiet copy.json", 0),
        ("unit label pipes/quiet a=b", 0),
        ("unit rm pipes/quiet", 2),
        ("unit rm pipes/quiet --yes", 0),
        ("unit undelete pipes/quiet", 0),
        ("unit info pipes/nothing", 3),
        ("unit info pipes/nothing --json", 3),
        ("unit ls pipes/nothing", 0),
    ] {
        let ran = desk.taco(line).with(code);
        assert_eq!(ran.stdout, "", "{line}");
        assert_ne!(ran.stderr, "", "{line}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let desk = Desk::new();
    let ran = desk.shell("taco man | true").worked();
    assert_eq!(ran.stderr, "");
    desk.write("one.json", &state(1, &"x".repeat(1_000_000)));
    desk.taco("unit push pipes/long one.json").worked();
    let ran = desk.shell("taco unit pull pipes/long | head -c 10").worked();
    assert_eq!((ran.stdout.len(), ran.stderr.as_str()), (10, ""));
}

#[test]
fn a_state_comes_from_a_pipe_as_well() {
    let desk = Desk::new();
    desk.write("one.json", &state(1, "a"));
    desk.shell("taco unit push pipes/stdin - < one.json").worked();
    let ran = desk
        .shell(
            "taco unit pull pipes/stdin | sed 's/\"serial\":1/\"serial\":2/' | taco unit push pipes/stdin -",
        )
        .worked();
    assert!(ran.stderr.contains("pushed"), "{ran:?}");
    desk.shell("taco unit push pipes/fifo <(cat one.json)").worked();
    let ran = desk.taco("unit pull pipes/stdin").worked();
    assert_eq!(ran.stdout.matches("\"serial\":2").count(), 1);
}

#[test]
fn what_is_asked_of_the_service_is_told_with_v_and_never_the_token() {
    let desk = Desk::new();
    let ran = desk.taco("-vv unit ls pipes/verbose").worked();
    assert!(ran.stderr.contains("path=\"/v1/units\" status=200"), "{ran:?}");
    assert!(
        !ran.stderr.contains(opentaco_testkit::service::ROOT_TOKEN),
        "{ran:?}"
    );
    assert_eq!(ran.stdout, "");
}
