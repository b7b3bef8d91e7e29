//! What stands in `deploy/` is understood by the service and fits how it stops.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use opentaco_control::StoreConfig;
use opentaco_server::config::{Asked, Auth, Config, FLAGS, understand};
use opentaco_server::routes::is_open;
use opentaco_server::serve::Patience;
use serde_json::Value;

/// The secret token is a variable and no flag.
const NO_FLAG: &str = "OPENTACO_ROOT_TOKEN";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(file: &str) -> String {
    std::fs::read_to_string(repository().join("deploy").join(file)).unwrap()
}

/// Lines that say something.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A configuration as the service reads it from these variables alone.
fn configured(variables: &[(String, String)]) -> Config {
    let given = |name: &str| {
        let found = variables.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| value.clone())
    };
    match understand(&[], &given).unwrap() {
        Asked::Serve(config) => *config,
        other => panic!("{other:?}"),
    }
}

/// As long as the service may take to stop by itself.
fn until_stopped() -> Duration {
    2 * Patience::default().drain
}

#[test]
fn every_variable_that_is_named_is_one_of_the_services() {
    let known: BTreeSet<&str> = FLAGS
        .iter()
        .flat_map(|flag| flag.variables.iter().copied())
        .chain([NO_FLAG])
        .collect();
    let mut named = 0;
    for file in ["Containerfile", "opentacosvc.service", "kubernetes.yaml"] {
        let text = read(file);
        for rest in text.split("OPENTACO_").skip(1) {
            let end = rest
                .find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_')
                .unwrap_or(rest.len());
            let variable = format!("OPENTACO_{}", &rest[..end]);
            assert!(known.contains(variable.as_str()), "{file} names {variable}");
            named += 1;
        }
    }
    assert!(named > 10, "{named} variables are named");
}

#[test]
fn the_replicas_in_kubernetes_share_a_bucket_and_speak_tls() {
    let documents: Vec<Value> = serde_saphyr::from_multiple(&read("kubernetes.yaml")).unwrap();
    let of_kind = |kind: &str| {
        let mut found = documents.iter().filter(|document| document["kind"] == kind);
        let document = found.next().unwrap_or_else(|| panic!("no {kind}"));
        assert!(found.next().is_none(), "two of kind {kind}");
        document
    };
    let deployment = of_kind("Deployment");
    let pod = &deployment["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    let variables: Vec<_> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| {
            let name = variable["name"].as_str().unwrap().to_owned();
            let value = variable["value"].as_str().unwrap_or("what-the-secret-says");
            (name, value.to_owned())
        })
        .collect();
    let config = configured(&variables);
    assert!(matches!(config.store, StoreConfig::S3(_)) && config.shared);
    assert!(
        matches!(config.auth, Auth::Token(_)),
        "each replica would draw its own"
    );
    assert_eq!(config.listen, ["0.0.0.0:8080".parse().unwrap()]);
    assert_eq!(config.metrics.unwrap(), ["0.0.0.0:9090".parse().unwrap()]);

    let tls = config.tls.unwrap();
    let mounted = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    assert!(tls.certificate.starts_with(mounted) && tls.key.starts_with(mounted));

    let port = |name: &Value| {
        let ports = container["ports"].as_array().unwrap();
        let port = ports.iter().find(|port| port["name"] == *name);
        port.unwrap_or_else(|| panic!("no port {name}"))["containerPort"].clone()
    };
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        let asked = &container[probe]["httpGet"];
        assert_eq!(
            (&asked["path"], &asked["scheme"]),
            (&path.into(), &"HTTPS".into())
        );
        assert!(is_open(path), "{path} asks for a token");
        assert_eq!(port(&asked["port"]), 8080);
    }
    let service = of_kind("Service");
    assert_eq!(port(&service["spec"]["ports"][0]["targetPort"]), 8080);
    let scraped = &pod["metadata"]["annotations"]["prometheus.io/port"];
    assert_eq!(port(&"metrics".into()).to_string(), scraped.as_str().unwrap());

    let labels = &pod["metadata"]["labels"];
    assert!(labels.is_object());
    let disruption = &of_kind("PodDisruptionBudget")["spec"];
    for selected in [
        &deployment["spec"]["selector"]["matchLabels"],
        &disruption["selector"]["matchLabels"],
        &service["spec"]["selector"],
    ] {
        assert_eq!(selected, labels);
    }
    let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
    assert!(replicas >= 3 && disruption["minAvailable"].as_u64().unwrap() < replicas);

    let sleep = &container["lifecycle"]["preStop"]["sleep"]["seconds"];
    let grace = &pod["spec"]["terminationGracePeriodSeconds"];
    let stopped = Duration::from_secs(sleep.as_u64().unwrap()) + until_stopped();
    assert!(Duration::from_secs(grace.as_u64().unwrap()) > stopped);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
    let account = of_kind("ServiceAccount");
    assert_eq!(account["metadata"]["name"], pod["spec"]["serviceAccountName"]);
}

#[test]
fn the_image_is_made_of_what_is_in_the_tree_and_runs_as_nobody() {
    let text = read("Containerfile");
    let mut stages: Vec<Vec<(&str, &str)>> = Vec::new();
    for statement in statements(&text) {
        let (word, rest) = statement.split_once(' ').unwrap();
        if word == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().unwrap().push((word, rest));
    }
    let [build, run] = &stages[..] else {
        panic!("{} stages", stages.len())
    };
    let mut copied = 0;
    for (_, rest) in build.iter().filter(|(word, _)| *word == "COPY") {
        let paths: Vec<&str> = rest.split(' ').collect();
        for source in &paths[..paths.len() - 1] {
            assert!(
                repository().join(source).exists(),
                "{source} is not there to be copied"
            );
            copied += 1;
        }
    }
    assert!(copied >= 4);
    for member in ["crates", "e2e", "fuzz"] {
        let manifest = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains(&format!("\"{member}")),
            "{member} is no member any more"
        );
    }
    let toolchain = std::fs::read_to_string(repository().join("rust-toolchain.toml")).unwrap();
    let compiler = build[0].1.split(['/', ':', '-']).nth(3).unwrap();
    assert!(
        toolchain.contains(&format!("\"{compiler}.")),
        "{compiler} is not what {toolchain} says"
    );

    let of = |word: &str| {
        let mut all = run.iter().filter(|(found, _)| *found == word);
        let (_, rest) = all.next().unwrap_or_else(|| panic!("no {word}"));
        *rest
    };
    assert!(of("USER").split(':').all(|id| id.parse::<u32>().unwrap() > 0));
    let variables: Vec<_> = run
        .iter()
        .filter(|(word, _)| *word == "ENV")
        .map(|(_, rest)| rest.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let config = configured(&variables);
    assert_eq!(config.data_dir.to_str(), Some(of("VOLUME")));
    assert_eq!(config.listen[0].port().to_string(), of("EXPOSE"));
    assert!(
        !config.listen[0].ip().is_loopback(),
        "nobody outside could reach it"
    );
    assert_eq!(of("ENTRYPOINT"), "[\"/usr/local/bin/opentacosvc\"]");
}

#[test]
fn the_unit_of_systemd_gives_time_to_stop_and_takes_every_right() {
    let text = read("opentacosvc.service");
    let value = |key: &str| {
        let found = statements(&text).find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {key}"))
    };
    let stop = value("TimeoutStopSec").parse().unwrap();
    assert!(Duration::from_secs(stop) > until_stopped());
    assert_eq!(value("CapabilityBoundingSet"), "");
    assert_eq!(value("ProtectSystem"), "strict");
    let (variable, directory) = value("Environment").split_once('=').unwrap();
    assert_eq!(directory, format!("%S/{}", value("StateDirectory")));
    let config = configured(&[(variable.to_owned(), directory.to_owned())]);
    assert_eq!(config.data_dir.to_str(), Some(directory));

    let found = Command::new("systemd-analyze").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        println!("there is no systemd-analyze here, which would say more");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("opentacosvc.service");
    let installed = format!("ExecStart={}", value("ExecStart"));
    let built = format!("ExecStart={}", env!("CARGO_BIN_EXE_opentacosvc"));
    std::fs::write(&unit, text.replace(&installed, &built)).unwrap();
    for arguments in [
        &["verify"][..],
        // Exposure, from 0 to 100: what is left is that it has a network.
        &["security", "--offline=true", "--threshold=15"],
    ] {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .arg(&unit)
            .env("SYSTEMD_PAGER", "")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.is_empty(),
            "{arguments:?}: {said}"
        );
    }
}
