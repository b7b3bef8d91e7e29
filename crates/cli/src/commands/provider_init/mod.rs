//! `taco provider init`: a workspace that declares units and dependencies.
//!
//! First it looks whether anything is in the way, then it asks the service, and only then it writes. A token is in
//! none of the files.

mod install;
mod scaffold;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use opentaco_domain::UnitId;
use opentaco_domain::unit::GRAPH_UNIT;
use opentaco_sdk::SdkError;
use opentaco_sdk::api::CreateUnit;
use serde_json::json;

use self::install::Installation;
use self::scaffold::{File, Upkeep, Workspace};
use crate::args;
use crate::context::{Context, variable};
use crate::error::{Failure, Kind};
use crate::output::one_line;

/// Where it is written if nobody says where.
const DIRECTORY: &str = "opentaco-config";

pub(super) async fn run(context: &Context, args: args::ProviderInit) -> Result<(), Failure> {
    let directory = args.directory.or(args.dir).unwrap_or_else(|| DIRECTORY.into());
    let place = Place::of(&directory)?;
    let (system_unit, graph) = system_unit(context, args.system_unit, args.no_create).await?;
    let workspace = Workspace {
        server: &context.server,
        system_unit: &system_unit,
        directory: place.absolute_text()?,
    };
    let files = workspace.files();
    let installation = Installation::below(&place.absolute, install::find());
    place.refuse_if_in_the_way(&files, &installation)?;
    let created = match args.no_create {
        true => None,
        false => Some(create(context, &system_unit).await?),
    };
    fs::create_dir_all(&place.absolute).map_err(|error| Failure::file("create", &directory, &error))?;
    let mut kept = Vec::new();
    for File { name, text, upkeep } in &files {
        let path = place.absolute.join(name);
        if *upkeep == Upkeep::Theirs && !args.force && differs(&path, text) {
            kept.push(*name);
            continue;
        }
        write(&path, &directory.join(name), text)?;
    }
    let replaced = installation.replaces();
    let installed = installation.install()?;
    installation.link()?;
    let credentials = credentials(context, graph.is_some() || created.is_some()).await;
    let steps = steps(context, &directory, credentials);
    let output = context.output;
    if output.is_json() {
        let names: Vec<&str> = files.iter().map(|file| file.name).collect();
        output.json(&json!({
            "directory": place.absolute,
            "files": names,
            "kept": kept,
            "system_unit": system_unit,
            "created": created == Some(true),
            "provider": installed,
            "next": steps,
        }))?;
    } else {
        output.said(&one_line(&format!(
            "wrote a workspace into {}",
            directory.display()
        )));
        if created == Some(true) {
            output.said(&format!("created `{system_unit}`"));
        }
        if !kept.is_empty() {
            let names: Vec<String> = kept.iter().map(|name| format!("`{name}`")).collect();
            output.said(&format!(
                "kept {} as it was; --force writes over what was kept",
                names.join(", ")
            ));
        }
        output.data(&format!("{}\n", steps.join("\n")))?;
    }
    if let Some(graph) = graph.filter(|graph| *graph != system_unit) {
        output.warn(&format!(
            "the graph of this service is in `{graph}`: of dependencies that are declared in `{system_unit}` it takes no notice"
        ));
    }
    if replaced && place.absolute.join(".terraform.lock.hcl").exists() {
        output.hint(
            "if terraform init finds another checksum than in .terraform.lock.hcl, the provider was replaced: delete that file",
        );
    }
    if installed.is_none() {
        output.warn(&format!(
            "there is no `{}` beside taco or on PATH, so terraform init will not find the provider",
            install::PROGRAM
        ));
        output.hint(&one_line(&format!(
            "`cargo install --path crates/provider` builds it; then `taco provider init {}` again installs it",
            in_shell(&directory)
        )));
    }
    Ok(())
}

/// The directory: as it was named, and where it is.
struct Place<'a> {
    named: &'a Path,
    absolute: PathBuf,
}

impl<'a> Place<'a> {
    fn of(named: &'a Path) -> Result<Self, Failure> {
        let cannot = |error: io::Error| Failure::file("write into", named, &error);
        let absolute = match fs::canonicalize(named) {
            Ok(path) if !path.is_dir() => return Err(cannot(io::ErrorKind::NotADirectory.into())),
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                without_links(&std::path::absolute(named).map_err(cannot)?)
            }
            Err(error) => return Err(cannot(error)),
        };
        Ok(Self { named, absolute })
    }

    /// Terraform's configuration is UTF-8, and one of the files names the directory.
    fn absolute_text(&self) -> Result<&str, Failure> {
        self.absolute.to_str().ok_or_else(|| {
            let what = format!("the path of `{}` is no UTF-8", self.named.display());
            Failure::new(Kind::Usage, what).hint("choose another directory")
        })
    }

    /// What is made anew each time takes the place of what was made before, and not of a directory or a link of
    /// somebody's. What was edited is in nobody's way: it is kept.
    fn refuse_if_in_the_way(&self, files: &[File], provider: &Installation) -> Result<(), Failure> {
        let ours = files.iter().map(|file| self.absolute.join(file.name));
        let in_the_way: Vec<PathBuf> = ours
            .filter(|path| fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()))
            .chain(provider.in_the_way())
            .map(|path| match path.strip_prefix(&self.absolute) {
                Ok(below) => self.named.join(below),
                Err(_) => path,
            })
            .collect();
        if in_the_way.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = in_the_way
            .iter()
            .map(|path| format!("`{}`", path.display()))
            .collect();
        let are = if names.len() == 1 { "is" } else { "are" };
        let what = format!("{} {are} in the way; nothing was written", names.join(", "));
        let mut failure = Failure::new(Kind::Conflict, what)
            .hint("move what is not of `taco provider init` out of the way");
        failure.details.insert("files".to_owned(), json!(in_the_way));
        Err(failure)
    }
}

/// Whether there is something else already.
fn differs(path: &Path, text: &str) -> bool {
    fs::symlink_metadata(path).is_ok() && fs::read(path).ok().as_deref() != Some(text.as_bytes())
}

/// The same path through no link, as far as it is there: what it is called after it was made.
fn without_links(path: &Path) -> PathBuf {
    let there = path
        .ancestors()
        .find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    match there {
        Some((above, real)) => real.join(path.strip_prefix(above).unwrap_or(Path::new(""))),
        None => path.to_owned(),
    }
}

/// The unit that was named, or the one that the service says. Where nothing is to be created the service need not answer.
///
/// With what the service says, if it has answered.
async fn system_unit(
    context: &Context,
    named: Option<UnitId>,
    alone: bool,
) -> Result<(UnitId, Option<UnitId>), Failure> {
    let told = context.client()?.info().await.map(|info| info.system_unit);
    match (named, told) {
        (Some(unit), told) => Ok((unit, told.ok())),
        (None, Ok(unit)) => Ok((unit.clone(), Some(unit))),
        (None, Err(_)) if alone => {
            context.output.note(&format!(
                "the service does not say which unit holds the graph; `{GRAPH_UNIT}` is taken"
            ));
            let unit = UnitId::parse(GRAPH_UNIT).expect("the graph's unit is a unit");
            Ok((unit, None))
        }
        (None, Err(error)) => Err(Failure::from(error)),
    }
}

/// Creates the unit that holds the graph, unless there is one: whether it was created now.
async fn create(context: &Context, unit: &UnitId) -> Result<bool, Failure> {
    let wanted = CreateUnit {
        id: unit.clone(),
        labels: BTreeMap::new(),
        description: "Dependencies between units".to_owned(),
    };
    match context.client()?.create_unit(&wanted).await {
        Ok(_) => Ok(true),
        Err(SdkError::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(Failure::from(error)
            .or_hint(|| Some("--no-create writes the files without it; nothing was written".to_owned()))),
    }
}

/// At once or not at all.
fn write(path: &Path, shown: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let cannot = |error: io::Error| Failure::file("write", shown, &error);
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = install::readable_by_all(directory, 0o644).map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)?;
    file.persist(path)
        .map(drop)
        .map_err(|refused| cannot(refused.error))
}

/// How the workspace's clients get a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Credentials {
    /// From a variable.
    Token,
    /// Somebody is logged in.
    Login,
    /// Nobody is, and the service answers all the same.
    Needless,
    /// Nobody is, and whether the service would mind was not asked.
    None,
}

async fn credentials(context: &Context, answered: bool) -> Credentials {
    if context.has_token() {
        return Credentials::Token;
    }
    match (context.token().await, answered) {
        (Ok(None), true) => Credentials::Needless,
        (Ok(None), false) => Credentials::None,
        (Ok(Some(_)) | Err(_), _) => Credentials::Login,
    }
}

/// What to type next, line by line.
fn steps(context: &Context, directory: &Path, credentials: Credentials) -> Vec<String> {
    let mut steps = Vec::new();
    if directory != Path::new(".") {
        steps.push(format!("cd {}", in_shell(directory)));
    }
    if let Some(file) = context.ca_file() {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let file = in_shell(&file);
        steps.push(format!("export OPENTACO_CA_FILE={file}"));
        steps.push(format!(
            "export TF_HTTP_CLIENT_CA_CERTIFICATE_PEM=\"$(cat {file})\""
        ));
    }
    // Where the user has a CLI configuration, Terraform does not look into `terraform.d` by itself.
    steps.push(format!(
        "export TF_CLI_CONFIG_FILE=\"$PWD/{}\"",
        scaffold::CLI_CONFIG
    ));
    let server = in_shell(Path::new(context.server.as_str()));
    let mut terraform = "terraform";
    match credentials {
        Credentials::Needless => {}
        Credentials::Token => {
            if variable("OPENTACO_TOKEN").is_none() {
                steps.push("export OPENTACO_TOKEN=…".to_owned());
            }
            steps.push("export TF_HTTP_USERNAME=taco TF_HTTP_PASSWORD=\"$OPENTACO_TOKEN\"".to_owned());
        }
        Credentials::Login | Credentials::None => {
            steps.push(format!("export OPENTACO_SERVER={server}"));
            if credentials == Credentials::None {
                steps.push("taco login".to_owned());
            }
            terraform = "taco exec -- terraform";
        }
    }
    steps.extend(["init", "apply"].map(|verb| format!("{terraform} {verb}")));
    steps
}

/// As one word of a shell.
fn in_shell(path: &Path) -> String {
    let text = path.to_string_lossy();
    let text = match text.starts_with('-') {
        true => format!("./{text}"),
        false => text.into_owned(),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:,@%=".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (path, word) in [
            ("opentaco-config", "opentaco-config"),
            ("a b/c", "'a b/c'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
            ("-x", "./-x"),
        ] {
            assert_eq!(in_shell(Path::new(path)), word);
        }
    }
}
