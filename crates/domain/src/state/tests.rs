//! Evidence for what the reader of states promises.

use proptest::prelude::*;

use super::*;

const TERRAFORMS: &str = r#"{
  "version": 4,
  "terraform_version": "1.11.4",
  "serial": 7,
  "lineage": "1b3a2b6e-6c1a-4d5b-8f0e-3a1f6f0f0a11",
  "outputs": {"serial": {"value": "not this one", "type": "string"}},
  "resources": [{"serial": 99, "lineage": "nor this one"}],
  "check_results": null
}
"#;

/// As OpenTofu writes it where encryption is on: what a backend needs stays outside, the rest is sealed.
const ENCRYPTED: &str = r#"{"serial":3,"lineage":"1b3a2b6e","meta":{"key_provider.pbkdf2.mine":"eyJzYWx0Ijoi"},"encrypted_data":"3q2+7w==","encryption_version":"v0"}"#;

fn read(text: &str) -> StateSummary {
    StateSummary::read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn serial(text: &str) -> Option<u64> {
    read(text).serial
}

fn changed(text: &str, serial: u64) -> String {
    let changed = with_serial(text.as_bytes(), serial).unwrap_or_else(|error| panic!("{text}: {error}"));
    String::from_utf8(changed).unwrap()
}

#[test]
fn a_state_of_terraform_says_its_serial_lineage_and_version() {
    let expected = StateSummary {
        serial: Some(7),
        lineage: Some("1b3a2b6e-6c1a-4d5b-8f0e-3a1f6f0f0a11".to_owned()),
        terraform_version: Some("1.11.4".to_owned()),
        encrypted: false,
        outputs: [("serial".to_owned(), Digest::of(r#""not this one""#).ok())].into(),
    };
    assert_eq!(read(TERRAFORMS), expected);
}

#[test]
fn an_encrypted_state_of_opentofu_says_that_it_is_one() {
    let expected = StateSummary {
        serial: Some(3),
        lineage: Some("1b3a2b6e".to_owned()),
        terraform_version: None,
        encrypted: true,
        outputs: OutputDigests::new(),
    };
    assert_eq!(read(ENCRYPTED), expected);
    let without_serial = r#"{"meta":{},"encrypted_data":"3q2+7w==","encryption_version":"v0"}"#;
    assert_eq!(
        read(without_serial),
        StateSummary {
            encrypted: true,
            ..StateSummary::default()
        }
    );
    assert!(!read(r#"{"outputs":{"encrypted_data":"a resource may well call something that"}}"#).encrypted);
}

#[test]
fn a_field_that_is_missing_or_odd_is_none() {
    assert_eq!(read("{}"), StateSummary::default());
    for odd in ["null", "true", "[7]", "{\"a\":7}"] {
        let text = format!(r#"{{"serial":{odd},"lineage":{odd},"terraform_version":{odd}}}"#);
        assert_eq!(read(&text), StateSummary::default(), "{text}");
    }
    assert_eq!(
        read(r#"{"lineage":7,"terraform_version":1.5,"serial":"7"}"#),
        StateSummary::default()
    );
    assert_eq!(read(r#"{"lineage":"","serial":0}"#).lineage.as_deref(), Some(""));
    assert_eq!(
        read(r#"{"lineage":"\ud800"}"#).lineage,
        None,
        "half a character is no text"
    );
    assert_eq!(read(r#"{"lineage":"a\u002db"}"#).lineage.as_deref(), Some("a-b"));
}

#[test]
fn a_serial_is_a_whole_number_of_64_bits_or_none() {
    assert_eq!(serial(r#"{"serial":18446744073709551615}"#), Some(u64::MAX));
    let huge = format!(r#"{{"serial":1{}}}"#, "0".repeat(10_000));
    for none in [
        r#"{"serial":18446744073709551616}"#,
        r#"{"serial":-1}"#,
        r#"{"serial":-0}"#,
        r#"{"serial":7.0}"#,
        r#"{"serial":7e0}"#,
        r#"{"serial":1e999999999}"#,
        &huge,
    ] {
        assert_eq!(serial(none), None);
    }
}

#[test]
fn numbers_no_computer_can_hold_do_not_stop_the_reader() {
    let digits = "9".repeat(100_000);
    let text = format!(r#"{{"a":{digits}.{digits}e{digits},"b":-1e400,"serial":7}}"#);
    assert_eq!(serial(&text), Some(7));
}

#[test]
fn a_field_too_long_for_a_head_is_none() {
    let of = |bytes: usize| format!(r#"{{"lineage":"{}"}}"#, "l".repeat(bytes));
    assert_eq!(
        read(&of(STATE_FIELD_BYTES_MAX))
            .lineage
            .map(|lineage| lineage.len()),
        Some(STATE_FIELD_BYTES_MAX)
    );
    assert_eq!(read(&of(STATE_FIELD_BYTES_MAX + 1)).lineage, None);
}

#[test]
fn of_a_repeated_key_the_last_counts_and_null_changes_nothing() {
    assert_eq!(serial(r#"{"serial":1,"serial":2}"#), Some(2));
    assert_eq!(serial(r#"{"serial":1,"serial":"two"}"#), None);
    assert_eq!(serial(r#"{"serial":1,"serial":null}"#), Some(1));
    assert_eq!(serial(r#"{"serial":1,"Serial":2}"#), Some(2));
}

#[test]
fn an_escape_in_a_key_is_the_letter_it_stands_for() {
    assert_eq!(serial(r#"{"\u0073erial":7}"#), Some(7));
    assert_eq!(serial(r#"{"\u0053ERIA\u004c":7}"#), Some(7));
    assert_eq!(
        serial(r#"{"seri\u0000al":7,"\ud800serial":8,"serial\\":9,"\"serial":10}"#),
        None
    );
    assert!(read(r#"{"encrypted\u005fdata":""}"#).encrypted);
    assert_eq!(changed(r#"{"\u0073erial":7}"#, 8), r#"{"\u0073erial":8}"#);
}

#[test]
fn nesting_ten_thousand_deep_is_read_under_every_key() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    for value in [deep("[", "]"), deep("{\"serial\":", "}"), deep("[{\"a\":", "}]")] {
        for key in ["resources", "serial", "lineage", "terraform_version"] {
            let text = format!(r#"{{"{key}":{value},"terraform_version":"1.9.0"}}"#);
            assert_eq!(read(&text).terraform_version.as_deref(), Some("1.9.0"), "{key}");
            assert_eq!(serial(&changed(&text, 9)), Some(9), "{key}");
        }
    }
    let unclosed = format!(r#"{{"resources":{}"#, "[".repeat(10_000));
    assert_eq!(
        StateSummary::read(unclosed.as_bytes()),
        Err(StateError::Truncated {
            bytes: unclosed.len()
        })
    );
}

#[test]
fn bytes_that_are_not_one_object_are_refused_with_the_reason() {
    let refusals: [(&[u8], StateError); 21] = [
        (b"", StateError::Empty),
        (b" \r\n\t", StateError::Empty),
        (b"[]", StateError::NotAnObject),
        (b"null", StateError::NotAnObject),
        (b"7", StateError::NotAnObject),
        (b"\"a secret\"", StateError::NotAnObject),
        (b"<html>", StateError::NotAnObject),
        (b"\xef\xbb\xbf{}", StateError::NotAnObject),
        (b"\x0c{}", StateError::NotAnObject),
        (b"{", StateError::Truncated { bytes: 1 }),
        (b"{\"serial\"", StateError::Truncated { bytes: 9 }),
        (b"{\"serial\":7", StateError::Truncated { bytes: 11 }),
        (b"{\"serial\":7,", StateError::Truncated { bytes: 12 }),
        (b"{\"a\":\"\xff\"}", StateError::NotUtf8 { at: 6 }),
        (b"{} {}", StateError::NotJson { line: 1, column: 4 }),
        (b"{}\n\nx", StateError::NotJson { line: 3, column: 1 }),
        (b"{\"serial\":07}", StateError::NotJson { line: 1, column: 12 }),
        (b"{\"a\":1,}", StateError::NotJson { line: 1, column: 8 }),
        (b"{\"a\nb\":1}", StateError::NotJson { line: 1, column: 3 }),
        (b"{\"a\":\"a\nb\"}", StateError::NotJson { line: 1, column: 7 }),
        (b"{a:1}", StateError::NotJson { line: 1, column: 2 }),
    ];
    for (bytes, expected) in refusals {
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(StateSummary::read(bytes), Err(expected.clone()), "{shown:?}");
        assert_eq!(with_serial(bytes, 1), Err(expected), "{shown:?}");
    }
}

#[test]
fn every_way_to_cut_a_state_off_is_noticed() {
    let whole = TERRAFORMS.trim_end();
    for bytes in 1..whole.len() {
        assert_eq!(
            StateSummary::read(&whole.as_bytes()[..bytes]),
            Err(StateError::Truncated { bytes })
        );
    }
}

#[test]
fn no_error_quotes_the_state() {
    for text in [
        r#"{"password":hunter2}"#,
        r#""hunter2""#,
        r#"{"hunter2":1 "hunter2"}"#,
        r#"{"hunter2"#,
    ] {
        let error = StateSummary::read(text.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
    }
}

#[test]
fn another_serial_leaves_every_other_byte_as_it_was() {
    let cases = [
        (
            TERRAFORMS.to_owned(),
            TERRAFORMS.replace("\"serial\": 7,", "\"serial\": 18446744073709551615,"),
        ),
        (
            r#"{"serial":1}"#.to_owned(),
            r#"{"serial":18446744073709551615}"#.to_owned(),
        ),
        (
            "{ \"serial\"\t:\r\n 1 , \"a\":1e400}\n".to_owned(),
            "{ \"serial\"\t:\r\n 18446744073709551615 , \"a\":1e400}\n".to_owned(),
        ),
        (
            r#"{"serial":"7 \" }"}"#.to_owned(),
            r#"{"serial":18446744073709551615}"#.to_owned(),
        ),
        (
            r#"{"serial":[{"serial":1}],"z":0}"#.to_owned(),
            r#"{"serial":18446744073709551615,"z":0}"#.to_owned(),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(changed(&text, u64::MAX), expected);
    }
}

#[test]
fn a_state_without_a_serial_gets_one_first_thing() {
    assert_eq!(changed("{}", 7), r#"{"serial":7}"#);
    assert_eq!(changed(" \n{ \n}\n", 7), " \n{\"serial\":7 \n}\n");
    assert_eq!(
        changed("{\n  \"version\": 4\n}", 7),
        "{\"serial\":7,\n  \"version\": 4\n}"
    );
    assert_eq!(
        changed(r#"{"a":{"serial":1}}"#, 7),
        r#"{"serial":7,"a":{"serial":1}}"#
    );
}

#[test]
fn a_state_with_several_serials_gets_the_new_one_under_each() {
    assert_eq!(
        changed(r#"{"serial":1,"a":2,"serial":30}"#, 7),
        r#"{"serial":7,"a":2,"serial":7}"#
    );
    assert_eq!(
        changed(r#"{"SERIAL":1,"serial":null}"#, 7),
        r#"{"SERIAL":7,"serial":7}"#
    );
}

#[test]
fn an_encrypted_state_keeps_its_serial() {
    assert_eq!(with_serial(ENCRYPTED.as_bytes(), 4), Err(StateError::Encrypted));
}

/// White space as JSON allows it.
fn gap() -> impl Strategy<Value = String> + Clone {
    "[ \t\r\n]{0,3}"
}

/// Any JSON value, as text: numbers of any size, strings with any escapes, white space anywhere.
fn value() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,6})?";
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        number.prop_map(|number| number),
        string(),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let element = (gap(), inner.clone(), gap())
            .prop_map(|(before, value, after)| before + &value + &after)
            .boxed();
        let member = (gap(), string(), gap(), element.clone())
            .prop_map(|(before, key, after, value)| format!("{before}{key}{after}:{value}"));
        prop_oneof![
            prop::collection::vec(element, 0..5).prop_map(|elements| format!("[{}]", elements.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// Any JSON string, as text.
fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[^\"\\\\\\p{Cc}]{0,6}",
        "\\\\u[0-9a-fA-F]{4}",
        "\\\\[\"\\\\/bfnrt]",
        Just("serial".to_owned()),
        Just("}".to_owned()),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// A key that is none of ours, whatever its case.
fn other_key() -> impl Strategy<Value = String> {
    prop_oneof![
        "\"x[^\"\\\\\\p{Cc}]{0,6}\"",
        "\"serial[0-9_ ]\"",
        Just("\"\"".to_owned()),
        "\"x\\\\u[0-9a-fA-F]{4}\""
    ]
}

/// One spelling of the key `serial`.
fn serial_key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("\"serial\""),
        1 => Just("\"Serial\""),
        1 => Just("\"\\u0073erial\""),
        1 => Just("\"seria\\u006C\""),
        1 => Just("\"ſerial\""),
    ]
    .prop_map(str::to_owned)
}

/// A top-level member: whether it is a serial, what stands before its value, the value, what stands behind it.
type Member = (bool, String, String, String);

fn member() -> impl Strategy<Value = Member> {
    let key = prop_oneof![
        2 => other_key().prop_map(|key| (false, key)),
        1 => serial_key().prop_map(|key| (true, key)),
    ];
    (gap(), key, gap(), gap(), value(), gap()).prop_map(
        |(before, (is_serial, key), colon, start, value, after)| {
            (is_serial, format!("{before}{key}{colon}:{start}"), value, after)
        },
    )
}

fn document(members: &[Member], serial: Option<u64>) -> String {
    let spelled = members
        .iter()
        .map(|(is_serial, before, value, after)| match (is_serial, serial) {
            (true, Some(serial)) => format!("{before}{serial}{after}"),
            _ => format!("{before}{value}{after}"),
        });
    format!("{{{}}}", spelled.collect::<Vec<_>>().join(","))
}

proptest! {
    #[test]
    fn any_object_is_read_and_its_last_serial_counts(members in prop::collection::vec(member(), 0..6)) {
        let text = document(&members, None);
        let mut serials = members.iter().filter(|(is_serial, _, value, _)| *is_serial && value != "null");
        let expected = serials.next_back().and_then(|(_, _, value, _)| value.parse::<u64>().ok());
        prop_assert_eq!(serial(&text), expected, "{}", text);
    }

    #[test]
    fn another_serial_changes_the_serials_of_any_object_and_nothing_else(
        members in prop::collection::vec(member(), 1..6), before in gap(), after in gap(), new: u64,
    ) {
        let text = format!("{before}{}{after}", document(&members, None));
        let expected = if members.iter().any(|(is_serial, ..)| *is_serial) {
            format!("{before}{}{after}", document(&members, Some(new)))
        } else {
            text.replacen('{', &format!("{{\"serial\":{new},"), 1)
        };
        let changed = changed(&text, new);
        prop_assert_eq!(&changed, &expected);
        prop_assert_eq!(serial(&changed), Some(new));
    }

    #[test]
    fn another_serial_leaves_what_else_a_state_says(
        lineage in "[^\\p{Cc}]{0,20}", version in "[0-9.]{0,8}", old: u64, new: u64,
    ) {
        let text = serde_json::json!({"lineage": lineage, "serial": old, "terraform_version": version}).to_string();
        let before = read(&text);
        prop_assert_eq!(before.lineage.as_deref(), Some(lineage.as_str()));
        prop_assert_eq!(before.serial, Some(old));
        prop_assert_eq!(read(&changed(&text, new)), StateSummary { serial: Some(new), ..before });
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_both_functions_agree(bytes: Vec<u8>, in_braces: bool) {
        let bytes = if in_braces { [b"{", bytes.as_slice(), b"}"].concat() } else { bytes };
        match (StateSummary::read(&bytes), with_serial(&bytes, 1)) {
            (Ok(summary), Err(StateError::Encrypted)) => prop_assert!(summary.encrypted),
            (read, changed) => prop_assert_eq!(read.err(), changed.err()),
        }
    }
}

#[test]
fn the_outputs_of_a_state_are_known_by_their_digests() {
    let digests = |outputs: &str| read(&format!(r#"{{"version":4,"outputs":{outputs}}}"#)).outputs;
    let of = |value: &str| Digest::of(value).ok();
    let found = digests(
        r#"{"id":{"value":9007199254740993,"type":"number"},"none":{"type":"string"},"deep":{"type":["list","string"],"value":["<a>"],"sensitive":true}}"#,
    );
    assert_eq!(found["id"], of("9007199254740993"));
    assert_eq!(found["none"], of("null"));
    assert_eq!(found["deep"], of(r#"["\u003ca\u003e"]"#));
    // A value without a digest is an output all the same.
    assert_eq!(
        digests(r#"{"odd":{"value":"\ud800"}}"#),
        [("odd".to_owned(), None)].into()
    );
    assert_eq!(
        digests(r#"{"odd":1,"x":{"value":2}}"#),
        [("odd".to_owned(), None), ("x".to_owned(), of("2"))].into()
    );
    let long = format!("\"{}\"", "a".repeat(OUTPUT_DIGEST_BYTES_MAX));
    assert_eq!(
        digests(&format!(r#"{{"long":{{"value":{long}}}}}"#))["long"],
        None
    );
    for none in ["{}", "null", "[]", "7"] {
        assert_eq!(digests(none), OutputDigests::new(), "{none}");
    }
}
