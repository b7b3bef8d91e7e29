//! Raw settings: which flag or variable said what. Understood one by one by whoever needs them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::builder::styling::Styles;
use clap::{Arg, ArgAction};

use super::flags::{FLAGS, Flag, help};
use super::{ConfigError, Environment, values};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Serve,
    Doctor,
}

/// A command line, read.
pub(super) enum Read {
    Print(String),
    NewKey(Option<PathBuf>),
    Given(Command, Given),
}

/// Every setting that was given, by the name of its flag.
#[derive(Debug, Default)]
pub(super) struct Given(BTreeMap<&'static str, Setting>);

#[derive(Debug)]
struct Setting {
    value: String,
    /// The flag or variable that said so.
    origin: String,
}

/// Reads a command line and the variables of the flags that are not on it. A variable that is set to nothing is taken
/// for one that is not set, as in a compose file where it is passed on.
pub(super) fn read(arguments: &[String], environment: Environment<'_>) -> Result<Read, ConfigError> {
    let matches = command()
        .try_get_matches_from(normalized(arguments))
        .map_err(|error| ConfigError::new(without_prefix(&error.render().to_string())))?;
    let (word, matches) = match matches.subcommand() {
        Some((word, inner)) => (word, inner),
        None => ("serve", &matches),
    };
    if word == "help" || matches.get_flag("help") {
        return Ok(Read::Print(help()));
    }
    if word == "version" || matches.get_flag("version") {
        return Ok(Read::Print(format!(
            "opentacosvc {}\n",
            env!("CARGO_PKG_VERSION")
        )));
    }
    if word == "keys" {
        let out = matches
            .subcommand_matches("new")
            .and_then(|new| new.get_one::<String>("out"));
        return Ok(Read::NewKey(out.map(PathBuf::from)));
    }
    let settings = FLAGS.iter().filter_map(|flag| {
        let on_the_line = matches.get_one::<String>(flag.name);
        let value_and_origin = on_the_line.map(|value| (value.clone(), format!("-{}", flag.name)));
        let mut variables = flag.variables.iter();
        let (value, origin) = value_and_origin.or_else(|| {
            variables.find_map(|variable| {
                let value = environment(variable).filter(|value| !value.is_empty())?;
                Some((value, (*variable).to_owned()))
            })
        })?;
        Some((flag.name, Setting { value, origin }))
    });
    let command = if word == "doctor" {
        Command::Doctor
    } else {
        Command::Serve
    };
    Ok(Read::Given(command, Given(settings.collect())))
}

impl Given {
    /// What was said, as it was said.
    pub(super) fn text(&self, flag: &str) -> Option<&str> {
        self.0.get(flag).map(|setting| setting.value.as_str())
    }

    /// What was said, as an owned text.
    pub(super) fn owned(&self, flag: &str) -> Option<String> {
        self.text(flag).map(str::to_owned)
    }

    /// What was said, as a path.
    pub(super) fn path(&self, flag: &str) -> Option<PathBuf> {
        self.text(flag).map(PathBuf::from)
    }

    /// Whether a switch is on.
    pub(super) fn switch(&self, flag: &str) -> Result<bool, ConfigError> {
        Ok(self.parse(flag, values::switch)?.unwrap_or(false))
    }

    /// What was said, understood.
    pub(super) fn parse<T>(
        &self,
        flag: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(flag) else {
            return Ok(None);
        };
        parse(text).map(Some).map_err(|reason| self.refuse(flag, &reason))
    }

    /// Where a setting came from, or where it could.
    pub(super) fn origin(&self, flag: &str) -> String {
        self.0
            .get(flag)
            .map_or_else(|| format!("-{flag}"), |setting| setting.origin.clone())
    }

    /// Why a setting cannot be used.
    pub(super) fn refuse(&self, flag: &str, reason: &str) -> ConfigError {
        let value = self.text(flag).unwrap_or_default();
        ConfigError::new(format!("{} is `{value}`, which is {reason}", self.origin(flag)))
    }
}

fn command() -> clap::Command {
    let words = [
        clap::Command::new("serve"),
        clap::Command::new("doctor"),
        clap::Command::new("keys").subcommand_required(true).subcommand(
            clap::Command::new("new")
                .disable_help_flag(true)
                .disable_version_flag(true)
                .arg(Arg::new("out").long("out").action(ArgAction::Set)),
        ),
        clap::Command::new("help"),
        clap::Command::new("version"),
    ];
    clap::Command::new("opentacosvc")
        .styles(Styles::plain())
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .arg(
            Arg::new("help")
                .long("help")
                .short('h')
                .global(true)
                .action(ArgAction::SetTrue),
        )
        .arg(
            Arg::new("version")
                .long("version")
                .short('V')
                .global(true)
                .action(ArgAction::SetTrue),
        )
        .args(FLAGS.iter().map(argument))
        .subcommands(words.map(|word| word.disable_help_flag(true).disable_version_flag(true)))
}

fn argument(flag: &Flag) -> Arg {
    let argument = Arg::new(flag.name)
        .long(flag.name)
        .global(true)
        .action(ArgAction::Set);
    match flag.value {
        Some(value) => argument.value_name(value),
        None => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
    }
}

/// The command line with two dashes before every long flag that came with one, program name first.
fn normalized(arguments: &[String]) -> Vec<String> {
    let known =
        |name: &str| ["help", "version", "out"].contains(&name) || FLAGS.iter().any(|flag| flag.name == name);
    let mut normalized = vec!["opentacosvc".to_owned()];
    for argument in arguments {
        let name = argument.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
        let name = name.map(|rest| rest.split_once('=').map_or(rest, |(name, _)| name));
        // Anything of more than one letter can only be meant as a long flag: also a mistyped one, of which clap can then
        // say what was probably meant.
        match name {
            Some(name) if known(name) || name.len() > 1 => normalized.push(format!("-{argument}")),
            Some(_) | None => normalized.push(argument.clone()),
        }
    }
    normalized
}

fn without_prefix(text: &str) -> String {
    text.strip_prefix("error: ").unwrap_or(text).trim_end().to_owned()
}
