//! A graph that is none: nobody is told that all is well.

use opentaco_testkit::service::Service;

use crate::support::Desk;

#[test]
fn a_graph_that_cannot_be_read_is_an_error_with_its_reason_and_never_green() {
    let home = tempfile::tempdir().unwrap();
    let service = Service::start(home.path(), &["-storage", "memory"], &[]);
    let desk = Desk::at(&service.url());
    desk.write(
        "odd.json",
        r#"{"version":4,"serial":1,"lineage":"g","outputs":{},"resources":"odd"}"#,
    );
    desk.taco("unit push __opentaco_system odd.json").worked();
    desk.taco("unit create a").worked();
    for line in [
        "unit status",
        "unit status a",
        "unit status --exit-code",
        "unit status --watch",
        "graph show",
        "graph order",
        "graph impact a",
        "graph reconcile",
    ] {
        let ran = desk
            .taco(line)
            .with(4)
            .said("cannot be read: its resources are not as");
        assert_eq!(ran.stdout, "", "{line}");
        assert!(
            ran.stderr.contains("hint: `taco unit versions` of that unit"),
            "{ran:?}"
        );
    }
    let ran = desk.taco("unit status --json").with(4);
    assert!(ran.stderr.contains(r#""reason":"graph_unreadable""#), "{ran:?}");
    desk.write(
        "none.json",
        r#"{"version":4,"serial":2,"lineage":"g","outputs":{},"resources":[]}"#,
    );
    desk.taco("unit push __opentaco_system none.json").worked();
    assert_eq!(
        desk.taco("unit status a --exit-code")
            .worked()
            .stdout
            .lines()
            .nth(1),
        Some("status\tup to date")
    );
}
