//! `taco provider init`: whole or not at all, without a token in any file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use opentaco_testkit::service::{ROOT_TOKEN, Service};
use tempfile::TempDir;

use crate::support::{Desk, Ran, TACO};

/// What is installed, as Terraform calls this machine.
const PROGRAM: &str = "terraform-provider-opentaco";

/// A copy of `taco` without a provider beside it, whatever was built beside the original.
struct Alone {
    home: TempDir,
}

impl Alone {
    fn new() -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let taco = home.path().join("taco");
        fs::hard_link(TACO, &taco)
            .or_else(|_| fs::copy(TACO, &taco).map(drop))
            .unwrap();
        Self { home }
    }

    fn provider_in(directory: &Path, content: &str) -> PathBuf {
        let file = directory.join(PROGRAM);
        fs::create_dir_all(directory).unwrap();
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    fn runs(&self, desk: &Desk, words: &[&str], more: &[(&str, &str)]) -> Ran {
        let taco = self.home.path().join("taco");
        let mut command = desk.program(taco.to_str().unwrap(), words);
        command.env("PATH", "/usr/bin:/bin").envs(more.iter().copied());
        Ran::of(&command.output().unwrap())
    }
}

/// Every file below a directory, with what it holds; links with where they lead.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    fn gather(root: &Path, directory: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if let Ok(leads) = fs::read_link(&path) {
                found.insert(name, leads.into_os_string().into_encoded_bytes());
            } else if path.is_dir() {
                gather(root, &path, found);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    if directory.exists() {
        gather(directory, directory, &mut found);
    }
    found
}

fn installed(workspace: &Path) -> Vec<Vec<u8>> {
    files(workspace)
        .into_iter()
        .filter(|(name, _)| name.starts_with(".opentaco/providers/registry."))
        .inspect(|(name, _)| assert!(name.ends_with("_v0.1.0"), "{name}"))
        .map(|(_, content)| content)
        .collect()
}

#[test]
fn a_workspace_has_its_files_its_unit_and_the_provider_and_no_token() {
    let (desk, taco) = (Desk::new(), Alone::new());
    Alone::provider_in(taco.home.path(), "beside");
    let ran = taco
        .runs(&desk, &["provider", "init"], &[])
        .worked()
        .said("wrote a workspace into opentaco-config");
    assert_eq!(
        ran.stdout,
        "cd opentaco-config\n\
         export TF_CLI_CONFIG_FILE=\"$PWD/opentaco.tfrc\"\n\
         export TF_HTTP_USERNAME=taco TF_HTTP_PASSWORD=\"$OPENTACO_TOKEN\"\n\
         terraform init\n\
         terraform apply\n"
    );
    let workspace = desk.path().join("opentaco-config");
    let written = files(&workspace);
    for name in ["main.tf", "README.md", ".gitignore", "opentaco.tfrc"] {
        assert!(
            written.contains_key(name),
            "{name} is not in {:?}",
            written.keys()
        );
    }
    assert_eq!(written["terraform.d/plugins"], b"../.opentaco/providers");
    assert_eq!(installed(&workspace), [b"beside", b"beside"]);
    for (name, content) in written {
        assert!(
            !String::from_utf8_lossy(&content).contains(ROOT_TOKEN),
            "{name} has the token"
        );
    }
    desk.taco("unit info __opentaco_system").worked();
    // Once more it finds everything as it is.
    taco.runs(&desk, &["provider", "init"], &[]).worked();
}

#[test]
fn what_was_edited_is_kept_and_what_is_of_this_machine_is_made_anew() {
    let (desk, taco) = (Desk::new(), Alone::new());
    desk.write("main.tf", "mine");
    desk.write("README.md", "mine");
    desk.write("opentaco.tfrc", "of another machine");
    let line = ["provider", "init", ".", "--no-create"];
    taco.runs(&desk, &line, &[])
        .worked()
        .said("kept `main.tf`, `README.md` as it was");
    assert_eq!(
        (desk.read("main.tf"), desk.read("README.md")),
        ("mine".to_owned(), "mine".to_owned())
    );
    assert!(desk.read("opentaco.tfrc").contains("filesystem_mirror"));
    let forced = taco
        .runs(&desk, &[&line[..], &["--force"]].concat(), &[])
        .worked();
    assert!(!forced.stderr.contains("kept"), "{forced:?}");
    assert!(desk.read("main.tf").contains("/v1/backend/__opentaco_system\""));
}

#[test]
fn what_is_in_the_way_is_named_and_then_nothing_is_written() {
    let (desk, taco) = (Desk::new(), Alone::new());
    desk.write("mine", "mine");
    std::os::unix::fs::symlink("mine", desk.path().join("opentaco.tfrc")).unwrap();
    let before = files(desk.path());
    let line = ["provider", "init", ".", "--system-unit", "provider/in-the-way"];
    let ran = taco.runs(&desk, &line, &[]).with(4);
    assert_eq!(
        ran.stderr,
        "error: `./opentaco.tfrc` is in the way; nothing was written\n\
         hint: move what is not of `taco provider init` out of the way\n"
    );
    assert_eq!(files(desk.path()), before);
    desk.taco("unit info provider/in-the-way").with(3);
}

#[test]
fn a_unit_that_is_not_the_graphs_is_told_so() {
    let (desk, taco) = (Desk::new(), Alone::new());
    taco.runs(
        &desk,
        &["provider", "init", "--system-unit", "provider/other"],
        &[],
    )
    .worked()
    .said("warning: the graph of this service is in `__opentaco_system`")
    .said("declared in `provider/other` it takes no notice");
    let line = ["provider", "init", "--system-unit", "__opentaco_system"];
    let ran = taco
        .runs(&desk, &[&line[..], &["--force"]].concat(), &[])
        .worked();
    assert!(!ran.stderr.contains("takes no notice"), "{ran:?}");
}

#[test]
fn another_provider_takes_the_place_of_the_one_before() {
    let (desk, taco) = (Desk::new(), Alone::new());
    Alone::provider_in(taco.home.path(), "one");
    let line = ["provider", "init", "--no-create"];
    taco.runs(&desk, &line, &[]).worked();
    desk.write("opentaco-config/.terraform.lock.hcl", "");
    Alone::provider_in(taco.home.path(), "two");
    taco.runs(&desk, &line, &[])
        .worked()
        .said("the provider was replaced: delete that file");
    assert_eq!(installed(&desk.path().join("opentaco-config")), [b"two", b"two"]);
}

#[test]
fn the_provider_is_found_on_path_and_missed_in_so_many_words() {
    let (desk, taco) = (Desk::new(), Alone::new());
    let line = ["provider", "init", "here", "--dir", "there"];
    taco.runs(&desk, &line, &[])
        .worked()
        .said("there is no `terraform-provider-opentaco` beside taco or on PATH")
        .said("`cargo install --path crates/provider` builds it; then `taco provider init here` again installs it");
    let workspace = desk.path().join("here");
    assert!(workspace.join("main.tf").exists() && !desk.path().join("there").exists());
    assert!(installed(&workspace).is_empty());
    let elsewhere = desk.path().join("bin");
    Alone::provider_in(&elsewhere, "on path");
    let path = format!("/usr/bin:{}:/bin", elsewhere.display());
    let ran = taco.runs(&desk, &line, &[("PATH", &path)]).worked();
    assert!(!ran.stderr.contains("there is no"), "{ran:?}");
    assert_eq!(installed(&workspace), [b"on path", b"on path"]);
}

#[test]
fn a_service_that_does_not_answer_leaves_nothing_behind_unless_nothing_is_asked_of_it() {
    let (desk, taco) = (Desk::at("http://127.0.0.1:1"), Alone::new());
    taco.runs(&desk, &["provider", "init", "w"], &[]).with(6);
    assert!(!desk.path().join("w").exists());
    taco.runs(&desk, &["provider", "init", "--dir", "w", "--no-create"], &[])
        .worked();
    assert!(
        desk.read("w/main.tf")
            .contains("http://127.0.0.1:1/v1/backend/__opentaco_system")
    );
}

#[test]
fn a_directory_may_have_any_name() {
    let (desk, taco) = (Desk::new(), Alone::new());
    let name = "a b/\"${c}\" 'd'";
    let ran = taco
        .runs(&desk, &["provider", "init", name, "--no-create", "--json"], &[])
        .worked();
    assert!(
        ran.stdout.contains(r#""cd 'a b/\"${c}\" '\\''d'\\'''""#),
        "{ran:?}"
    );
    assert!(
        desk.read(&format!("{name}/opentaco.tfrc"))
            .contains(r#"/a b/\"${c}\" 'd'/.opentaco/providers""#)
    );
    // Through a link it is the same directory the second time, too.
    std::os::unix::fs::symlink(desk.path(), desk.path().join("link")).unwrap();
    for _ in 0..2 {
        taco.runs(&desk, &["provider", "init", "link/new", "--no-create"], &[])
            .worked();
    }
    desk.write("file", "");
    taco.runs(&desk, &["provider", "init", "file"], &[])
        .with(1)
        .said("cannot write into `file`");
}

#[test]
fn whoever_has_no_token_is_told_how_to_go_on() {
    let (mut desk, taco) = (Desk::new(), Alone::new());
    let home = desk.path().to_str().unwrap().to_owned();
    let nobody = [("OPENTACO_TOKEN", ""), ("HOME", &home), ("XDG_CONFIG_HOME", "")];
    let line = ["provider", "init", ".", "--no-create", "--force"];
    let ran = taco.runs(&desk, &line, &nobody).worked();
    let server = crate::support::service().url();
    assert_eq!(
        ran.stdout,
        format!(
            "export TF_CLI_CONFIG_FILE=\"$PWD/opentaco.tfrc\"\nexport OPENTACO_SERVER={server}\ntaco login\ntaco exec -- terraform init\ntaco exec -- terraform apply\n"
        )
    );
    // A service that asks nobody who they are needs no credentials.
    let open = tempfile::tempdir().unwrap();
    let open = Service::start(open.path(), &["-storage", "memory", "-auth-disable"], &[]);
    desk.asks(&open.url());
    let ran = taco.runs(&desk, &line, &nobody).worked();
    assert_eq!(
        ran.stdout,
        "export TF_CLI_CONFIG_FILE=\"$PWD/opentaco.tfrc\"\nterraform init\nterraform apply\n"
    );
}
