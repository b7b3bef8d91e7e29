//! Large states: compared without being held.

use std::fmt::Write as _;
use std::io::Write as _;

use opentaco_testkit::service::Service;

use crate::support::Desk;

/// Larger than all the memory that the comparison is given.
const INSTANCES: usize = 60_000;

/// A state of some 50 MB, in which one resource differs by its version.
fn write_large(desk: &Desk, name: &str, serial: usize) -> u64 {
    let file = std::fs::File::create(desk.path().join(name)).unwrap();
    let mut file = std::io::BufWriter::new(file);
    write!(
        file,
        r#"{{"version":4,"serial":{serial},"lineage":"l","outputs":{{}},"resources":["#
    )
    .unwrap();
    let mut line = String::new();
    for at in 0..INSTANCES {
        line.clear();
        let marked = if at == INSTANCES / 2 { serial } else { 0 };
        let comma = if at == 0 { "" } else { "," };
        write!(
            line,
            r#"{comma}{{"mode":"managed","type":"t","name":"r{at}","provider":"p","instances":[{{"schema_version":0,"attributes":{{"id":"{at}","marked":{marked},"text":"{}"}},"sensitive_attributes":[]}}]}}"#,
            "lorem ipsum ".repeat(60)
        )
        .unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
    file.write_all(b"]}").unwrap();
    file.flush().unwrap();
    std::fs::metadata(desk.path().join(name)).unwrap().len()
}

#[test]
fn two_large_states_are_compared_in_less_memory_than_either_of_them_takes() {
    let desk = Desk::new();
    let bytes = write_large(&desk, "one.json", 1);
    write_large(&desk, "two.json", 2);
    desk.taco("unit push large/diff one.json").worked();
    desk.taco("unit push large/diff two.json").worked();
    let kilobytes = bytes / 1024;
    let ran = desk
        .shell(&format!("ulimit -d {kilobytes} && taco unit diff large/diff"))
        .worked();
    assert_eq!(
        ran.stdout,
        "~ (serial): 1 -> 2\n~ t.r30000\n    ~ marked: 1 -> 2\n"
    );
    let whole = "python3 -c 'import json; json.load(open(\"two.json\"))'";
    desk.shell(whole).worked();
    let ran = desk.shell(&format!("ulimit -d {kilobytes} && {whole}"));
    assert_ne!(
        ran.code, 0,
        "who holds it all does not get by with as much: {ran:?}"
    );
}

#[test]
fn a_large_state_is_restored_by_a_service_that_holds_it_once() {
    let home = tempfile::tempdir().unwrap();
    let mut service = Service::start(home.path(), &["-storage", "local"], &[]);
    let desk = Desk::at(&service.url());
    let bytes = write_large(&desk, "one.json", 1);
    desk.taco("unit push large/restored one.json").worked();
    write_large(&desk, "one.json", 2);
    desk.taco("unit push large/restored one.json").worked();
    desk.taco("unit restore large/restored previous").worked();
    let ran = desk.taco("unit info large/restored").worked();
    assert!(ran.stdout.contains("serial\t3\n"), "{ran:?}");
    let held = peak_bytes(service.process().id());
    assert!(held > bytes, "it is read whole: {held} of {bytes}");
    assert!(held < bytes * 2, "{held} bytes for a state of {bytes}");
}

/// The most memory that a process has had.
fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kilobytes = line.trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}
