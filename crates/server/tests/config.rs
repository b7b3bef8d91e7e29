//! Flags, variables and the help.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use opentaco_control::StoreConfig;
use opentaco_server::config::{Asked, Auth, Config, ConfigError, FLAGS, understand};
use opentaco_server::keys;
use opentaco_server::logging::LogFormat;
use opentaco_server::logins::Logins;

fn asked(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Asked, ConfigError> {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    understand(&arguments, &|name| {
        variables.get(name).map(|value| (*value).to_owned())
    })
}

fn config(arguments: &[&str], variables: &[(&str, &str)]) -> Config {
    match asked(arguments, variables).unwrap() {
        Asked::Serve(config) => *config,
        other => panic!("{other:?}"),
    }
}

fn refusal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    asked(arguments, variables).unwrap_err().to_string()
}

fn help() -> String {
    match asked(&["--help"], &[]).unwrap() {
        Asked::Print(help) => help,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_help_is_what_was_read_and_found_good() {
    let expected = include_str!("help.txt");
    assert!(
        help() == expected,
        "if this is meant: opentacosvc help > crates/server/tests/help.txt\n\n{}",
        help()
    );
}

#[test]
fn the_help_shows_every_flag_in_both_spellings_with_its_variable_and_default() {
    let help = help();
    for flag in FLAGS {
        let line = help
            .lines()
            .find(|line| line.starts_with(&format!("  -{}, --{}", flag.name, flag.name)));
        let line = line.unwrap_or_else(|| panic!("-{} is not in the help", flag.name));
        let derived = format!("OPENTACO_{}", flag.name.replace('-', "_").to_uppercase());
        assert!(
            flag.variables[0] == derived || flag.variables[0] == "OPENTACO_LOG",
            "{}",
            flag.variables[0]
        );
        assert!(
            line.contains(&format!("[{}", flag.variables[0])) && line.contains(flag.default),
            "{line}"
        );
    }
}

#[test]
fn the_help_fits_a_terminal() {
    let long: Vec<String> = help()
        .lines()
        // What a flag and its variable are called has to be said, however long it is.
        .filter(|line| line.chars().count() > if line.starts_with("  -") { 128 } else { 118 })
        .map(str::to_owned)
        .collect();
    assert_eq!(long, [""; 0]);
}

#[test]
fn every_way_to_ask_for_help_or_the_version_works() {
    for arguments in [
        &["help"][..],
        &["-h"],
        &["-help"],
        &["--help"],
        &["doctor", "--help"],
        &["-port", "1", "-help"],
    ] {
        assert!(
            matches!(asked(arguments, &[]), Ok(Asked::Print(text)) if text == help()),
            "{arguments:?}"
        );
    }
    for arguments in [&["version"][..], &["-V"], &["-version"], &["--version"]] {
        assert!(
            matches!(asked(arguments, &[]), Ok(Asked::Print(text)) if text.starts_with("opentacosvc 0."))
        );
    }
}

#[test]
fn nothing_said_is_local_disk_on_loopback_with_auth() {
    let config = config(&[], &[]);
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert!(matches!(config.store, StoreConfig::Local { .. }));
    assert!(matches!(config.auth, Auth::KeptToken));
    assert!(!config.shared && !config.fallback_memory && !config.single_replica);
    assert_eq!(
        (config.versions_max, config.versions_min_age),
        (100, Duration::from_secs(86_400))
    );
    assert_eq!(config.bodies.one_bytes_max, 1 << 30);
    assert_eq!(config.bodies.in_flight_bytes_max, 256 << 20);
    assert_eq!(
        (config.logging.format, config.logging.filter.as_str()),
        (LogFormat::Text, "info")
    );
}

#[test]
fn one_dash_or_two_a_space_or_an_equals_sign_all_say_the_same() {
    for arguments in [
        &["-port", "9090"][..],
        &["--port", "9090"],
        &["-port=9090"],
        &["--port=9090"],
    ] {
        assert_eq!(config(arguments, &[]).listen[0].port(), 9090, "{arguments:?}");
    }
    for arguments in [
        &["-single-replica"][..],
        &["--single-replica"],
        &["-single-replica=true"],
    ] {
        assert!(config(arguments, &[]).single_replica, "{arguments:?}");
    }
    assert!(!config(&["-single-replica=false"], &[]).single_replica);
    assert_eq!(
        config(&["-port", "1", "-port", "2"], &[]).listen[0].port(),
        2,
        "the last one counts"
    );
    assert_eq!(config(&["serve", "-port", "3"], &[]).listen[0].port(), 3);
    assert_eq!(config(&["-port", "4", "serve"], &[]).listen[0].port(), 4);
}

#[test]
fn a_flag_wins_over_its_variable_and_an_empty_variable_is_none() {
    let port =
        |arguments: &[&str], value: &str| config(arguments, &[("OPENTACO_PORT", value)]).listen[0].port();
    assert_eq!(port(&[], "1"), 1);
    assert_eq!(port(&["-port", "2"], "1"), 2);
    assert_eq!(port(&[], ""), 8080);
    assert!(!config(&["-auth-disable=no"], &[("OPENTACO_AUTH_DISABLE", "yes")]).single_replica);
    assert!(matches!(
        config(&[], &[("OPENTACO_AUTH_DISABLE", "1")]).auth,
        Auth::Disabled
    ));
    let kept = config(&["-auth-disable=no"], &[("OPENTACO_AUTH_DISABLE", "yes")]).auth;
    assert!(matches!(kept, Auth::KeptToken));
}

#[test]
fn what_does_not_parse_is_shown_with_where_it_came_from() {
    for (arguments, variables, texts) in [
        (&["-port", "70000"][..], &[][..], &["-port", "70000", "65535"][..]),
        (&[], &[("OPENTACO_PORT", "http")], &["OPENTACO_PORT", "`http`"]),
        (
            &[],
            &[("OPENTACO_HOST", "not a host")],
            &["OPENTACO_HOST", "`not a host`"],
        ),
        (
            &[],
            &[("OPENTACO_MAX_VERSIONS", "0")],
            &["OPENTACO_MAX_VERSIONS", "`0`"],
        ),
        (
            &[],
            &[("OPENTACO_VERSIONS_MIN_AGE", "1 fortnight")],
            &["OPENTACO_VERSIONS_MIN_AGE", "fortnight", "24h"],
        ),
        (
            &["-max-body-size=huge"],
            &[],
            &["-max-body-size", "`huge`", "1GiB"],
        ),
        (
            &[],
            &[("OPENTACO_LOG", "opentaco=loud")],
            &["OPENTACO_LOG", "opentaco=loud"],
        ),
        (&["-log-format", "xml"], &[], &["-log-format", "`xml`", "json"]),
        (&["-auth-disable=maybe"], &[], &["-auth-disable", "`maybe`"]),
        (&["-storge", "memory"], &[], &["--storge", "--storage"]),
        (&["-port"], &[], &["--port"]),
        (&["launch"], &[], &["launch"]),
    ] {
        let refusal = refusal(arguments, variables);
        for text in texts {
            assert!(
                refusal.contains(text),
                "{arguments:?} {variables:?}: no {text} in {refusal}"
            );
        }
    }
}

#[test]
fn a_root_token_is_never_shown() {
    for canary in ["canary", "canary with a space in it"] {
        let refusal = refusal(&[], &[("OPENTACO_ROOT_TOKEN", canary)]);
        assert!(
            refusal.contains("OPENTACO_ROOT_TOKEN") && !refusal.contains("canary"),
            "{refusal}"
        );
    }
    let config = config(&[], &[("OPENTACO_ROOT_TOKEN", "canary-that-is-long-enough")]);
    assert!(matches!(config.auth, Auth::Token(_)));
    assert!(!format!("{config:?}").contains("canary"));
}

#[test]
fn a_root_token_comes_from_one_place_only() {
    let token = ("OPENTACO_ROOT_TOKEN", "a-token-that-is-long-enough");
    let refusal = refusal(&["-root-token-file", "/run/token"], &[token]);
    assert!(
        refusal.contains("OPENTACO_ROOT_TOKEN") && refusal.contains("-root-token-file"),
        "{refusal}"
    );
    let file = config(&[], &[("OPENTACO_ROOT_TOKEN_FILE", "/run/token")]).auth;
    assert!(matches!(file, Auth::TokenFile(path) if path.to_str() == Some("/run/token")));
}

#[test]
fn a_bucket_that_others_reach_is_known_to_be_shared() {
    assert!(config(&[], &[("OPENTACO_S3_BUCKET", "b")]).shared);
    assert!(!config(&["-storage", "memory"], &[("OPENTACO_S3_BUCKET", "b")]).shared);
}

#[test]
fn tls_takes_a_certificate_and_its_key_or_neither() {
    assert_eq!(config(&[], &[]).tls, None);
    let both = config(&["-tls-cert", "/c.pem"], &[("OPENTACO_TLS_KEY", "/k.pem")]);
    let files = both.tls.unwrap();
    assert_eq!(
        (files.certificate.to_str(), files.key.to_str()),
        (Some("/c.pem"), Some("/k.pem"))
    );
    let refused = refusal(&["-tls-cert", "/c.pem"], &[]);
    assert!(
        refused.contains("-tls-key") && refused.contains("OPENTACO_TLS_KEY"),
        "{refused}"
    );
    let refused = refusal(&[], &[("OPENTACO_TLS_KEY", "/k.pem")]);
    assert!(
        refused.contains("OPENTACO_TLS_KEY is set") && refused.contains("-tls-cert"),
        "{refused}"
    );
}

#[test]
fn numbers_are_told_on_a_port_of_their_own_beside_the_main_one() {
    assert_eq!(config(&[], &[]).metrics, None);
    let config = config(&["-host", "127.0.0.2"], &[("OPENTACO_METRICS_PORT", "9090")]);
    assert_eq!(config.metrics.unwrap(), ["127.0.0.2:9090".parse().unwrap()]);
    assert_eq!(config.listen, ["127.0.0.2:8080".parse().unwrap()]);
    assert!(refusal(&["-metrics-port", "many"], &[]).contains("-metrics-port"));
}

/// Variables that name a file of configuration with this content.
fn auth_file(directory: &tempfile::TempDir, text: &str) -> String {
    let file = directory.path().join("auth.yaml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn the_example_of_a_file_about_logins_is_one_that_the_service_takes() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/auth.yaml");
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().to_str().unwrap();
    let config = config(&["-auth-config", file, "-data-dir", data_dir], &[]);
    let provider = config.identity.provider.as_ref().unwrap();
    assert_eq!(provider.issuer.issuer, "https://login.example.com");
    assert_eq!(config.identity.ci.len(), 2);
    assert_eq!(config.identity.ci[0].rules.len(), 2);
    let logins = Logins::open(&config).unwrap();
    assert_eq!(logins.mode(), "root token, logins, API tokens, CI jobs");
    assert_eq!(logins.told().client_id.as_deref(), Some("opentaco"));
}

#[test]
fn flags_and_variables_win_over_the_file_and_a_misspelt_word_in_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let text = "provider: {issuer: https://one.example.com, client_id: one, groups_claim: teams}\n";
    let file = auth_file(&directory, text);
    let variables = [
        ("OPENTACO_AUTH_CONFIG", file.as_str()),
        ("OPENTACO_AUTH_ISSUER", "https://two.example.com"),
        ("OPENTACO_AUTH_JWKS_URL", "https://two.example.com/keys"),
    ];
    let provider = config(&["-auth-client-id", "three"], &variables)
        .identity
        .provider;
    let provider = provider.unwrap();
    assert_eq!(provider.issuer.issuer, "https://two.example.com");
    assert_eq!(
        provider.issuer.jwks_uri.as_deref(),
        Some("https://two.example.com/keys")
    );
    assert_eq!(provider.login.client_id, "three");
    assert_eq!(provider.login.groups_claim, "teams");
    assert_eq!(provider.redirect_uris, ["http://127.0.0.1:8585/callback"]);
    for (text, word) in [
        ("provider: {isuer: https://a.example.com}", "isuer"),
        (
            "ci: [{issuer: https://a.example.com, audience: a, rules: [{when: {}, principle: x}]}]",
            "principle",
        ),
        ("provider: [", "auth.yaml"),
    ] {
        let file = auth_file(&directory, text);
        let refusal = refusal(&[], &[("OPENTACO_AUTH_CONFIG", &file)]);
        assert!(
            refusal.contains(word) && refusal.contains("OPENTACO_AUTH_CONFIG"),
            "{refusal}"
        );
    }
}

#[test]
fn half_a_provider_and_a_key_without_its_secret_are_refused_with_what_is_missing() {
    for (variables, missing) in [
        (
            &[("OPENTACO_AUTH_ISSUER", "https://a.example.com")][..],
            "OPENTACO_AUTH_CLIENT_ID",
        ),
        (&[("OPENTACO_AUTH_CLIENT_ID", "taco")], "OPENTACO_AUTH_ISSUER"),
        (&[("OPENTACO_STS_KID", "one")], "OPENTACO_STS_HMAC_one"),
        (
            &[("OPENTACO_TOKENS_ACCESS_TTL", "0s")],
            "OPENTACO_TOKENS_ACCESS_TTL",
        ),
        (&[("OPENTACO_TOKENS_KID", "a/b")], "OPENTACO_TOKENS_KID"),
    ] {
        let refusal = refusal(&[], variables);
        assert!(refusal.contains(missing), "{refusal}");
    }
}

#[test]
fn on_a_shared_bucket_people_log_in_with_a_key_of_the_operators_or_the_service_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().to_str().unwrap();
    let bucket = [
        "-s3-bucket",
        "states",
        "-s3-region",
        "eu-west-1",
        "-data-dir",
        data_dir,
    ];
    let provider = [
        ("OPENTACO_AUTH_ISSUER", "https://a.example.com"),
        ("OPENTACO_AUTH_CLIENT_ID", "taco"),
    ];
    let refused = Logins::open(&config(&bucket, &provider)).unwrap_err().to_string();
    assert!(refused.contains("opentacosvc keys new"), "{refused}");
    Logins::open(&config(&bucket, &[])).expect("the root token is enough");
    assert_eq!(
        std::fs::read_dir(data_dir).unwrap().count(),
        0,
        "no replica keeps a key of its own"
    );

    let key = directory.path().join("key.pem");
    let told = keys::make(Some(&key)).unwrap();
    assert!(told.contains("key.pem") && !told.contains("PRIVATE"), "{told}");
    assert_eq!(
        std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let before = std::fs::read_to_string(&key).unwrap();
    assert!(keys::make(Some(&key)).is_err(), "a key that is there stays");
    assert_eq!(std::fs::read_to_string(&key).unwrap(), before);
    let key = [
        provider[0],
        provider[1],
        ("OPENTACO_TOKENS_PRIVATE_KEY_PEM_PATH", key.to_str().unwrap()),
    ];
    Logins::open(&config(&bucket, &key)).expect("it is a key that was made for this");
}

#[test]
fn a_new_key_is_asked_for_by_two_words() {
    assert!(matches!(asked(&["keys", "new"], &[]), Ok(Asked::NewKey(None))));
    let out = asked(&["keys", "new", "-out", "a.pem"], &[]).unwrap();
    assert!(matches!(out, Asked::NewKey(Some(file)) if file.to_str() == Some("a.pem")));
    assert!(asked(&["keys"], &[]).is_err());
    assert!(
        keys::make(None)
            .unwrap()
            .starts_with("-----BEGIN PRIVATE KEY-----")
    );
}
