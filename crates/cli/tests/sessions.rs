//! Sessions as people type them: each verb, its JSON, its errors and its exit codes.
//!
//! `TRYCMD=overwrite cargo test -p opentaco-cli sessions` writes down what is answered now; what differs from run to run
//! is `[..]` then.

use std::time::Duration;

use crate::support::{FOREIGN, TACO, environment, service};

#[test]
fn every_session_goes_as_it_is_written_down() {
    let cases = trycmd::TestCases::new();
    cases
        .register_bin("taco", std::path::Path::new(TACO))
        .timeout(Duration::from_secs(60));
    for name in FOREIGN {
        // Trycmd cannot take a variable away; an empty one is as good as none to each of them.
        if std::env::var_os(name).is_some() {
            cases.env(*name, "");
        }
    }
    for (name, value) in environment() {
        cases.env(name, value);
    }
    cases.insert_var("[SERVER]", service().url()).unwrap();
    cases.case("tests/sessions/*.trycmd");
    cases.run();
}
