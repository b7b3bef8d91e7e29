//! The command tree: what can be typed. Help, man pages, completions and the reference are made from it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, ArgGroup, Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::engine::ArgValueCompleter;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use opentaco_domain::access::document::MemberError;
use opentaco_domain::access::rule::{Actions, Pattern};
use opentaco_domain::access::{Member, Name};
use opentaco_domain::audit::Outcome;
use opentaco_domain::{Action, Clock as _, LockId, SystemClock, UnitId, UnitPrefix, VersionId};

use crate::complete;
use crate::error::{self, Failure, Kind};

/// The flag that asks for JSON; looked for by hand where a command line cannot be understood.
const JSON: &str = "json";

/// State control for Terraform and OpenTofu: units, their states, locks and histories.
#[derive(Debug, Parser)]
#[command(name = "taco", version, propagate_version = false, max_term_width = 100)]
#[command(after_help = exit_codes())]
#[command(disable_help_subcommand = true)]
pub struct Taco {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Address of the service [env: OPENTACO_SERVER] [default: http://localhost:8080]
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub server: Option<String>,
    /// Token to ask with; it is sent to that service and to no other [env: OPENTACO_TOKEN]
    #[arg(long, global = true)]
    pub token: Option<String>,
    /// Certificates to trust beside the system's, in PEM [env: OPENTACO_CA_FILE]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// Answer in JSON, errors too
    #[arg(long = JSON, global = true)]
    pub json: bool,
    /// Tell what is asked of the service; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Work with units: one state each, its lock and its history
    #[command(subcommand)]
    Unit(Unit),
    /// Log in by the browser; every command asks as you from then on
    Login(Login),
    /// End the login at this service, and forget it
    Logout,
    /// Show who you are to the service
    Whoami,
    /// Print credentials for S3 clients, as `credential_process` of an AWS profile reads them
    Creds(Creds),
    /// Run a command, such as terraform, that asks as you
    Exec(Exec),
    /// Work with API tokens, which programs ask with
    #[command(subcommand)]
    Token(TokenVerb),
    /// Work with service accounts: names for programs
    #[command(subcommand)]
    ServiceAccount(ServiceAccount),
    /// Say who may do what: roles, permissions, and who holds them
    #[command(subcommand)]
    Rbac(Rbac),
    /// See how units depend on each other: what is stale, in which order to apply, how far a change reaches
    #[command(subcommand)]
    Graph(GraphVerb),
    /// Work with the Terraform provider of OpenTaco
    #[command(subcommand)]
    Provider(ProviderVerb),
    /// Read who did what, and verify that nobody has changed it
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Show the states that the service finds in its bucket, and what to paste to use them
    Adopt(Adopt),
    /// Print a script that completes commands and unit ids in your shell
    Completions(Completions),
    /// Print the manual page, or write all of them into a directory
    Man(Man),
    /// Print the version
    Version(Version),
}

/// Verbs on units.
#[derive(Debug, Subcommand)]
pub enum Unit {
    /// Create a unit without a state
    Create(Create),
    /// List units
    #[command(alias = "list")]
    Ls(Ls),
    /// Show what is true of a unit
    #[command(visible_aliases = ["show", "describe"])]
    Info(One),
    /// Delete a unit; `undelete` brings it back within thirty days
    #[command(visible_aliases = ["delete", "remove"])]
    Rm(Rm),
    /// Download a state
    Pull(Pull),
    /// Upload a state
    Push(Push),
    /// Take the lock of a unit, and remember it in `.taco/`
    Lock(Lock),
    /// Give the lock of a unit back
    Unlock(Unlock),
    /// Lock a unit and download its state
    Acquire(Acquire),
    /// Upload a state and give the lock back; may be repeated
    Release(Release),
    /// Show the history of a unit
    Versions(Versions),
    /// Make an old version the current one again
    Restore(Restore),
    /// Bring a deleted unit back, with its last state
    Undelete(One),
    /// Show what differs between two states
    Diff(Diff),
    /// Work with writes that were refused, and kept
    #[command(subcommand)]
    Rejected(Rejected),
    /// Show the outputs of a state
    Outputs(Outputs),
    /// Change labels, description, or protection from deletion
    Label(Label),
    /// Print the backend block that keeps a configuration's state in this unit
    Backend(Backend),
    /// Show which units need another apply, because an output that they take has changed
    #[command(after_help = STATUS_EXAMPLES)]
    Status(Status),
}

/// How to log in.
#[derive(Debug, Args)]
pub struct Login {
    /// Ask for the password again, whoever is logged in at the provider
    #[arg(long)]
    pub force_login: bool,
    /// The provider, if it is not the one that the service names
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub issuer: Option<String>,
    /// What the provider knows taco as, if the service does not say it
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The provider's authorization endpoint, if its discovery is not enough
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub auth_url: Option<String>,
    /// The provider's token endpoint, if its discovery is not enough
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub token_url: Option<String>,
    /// Print the address, and open no browser
    #[arg(long)]
    pub no_browser: bool,
}

/// Credentials for S3 clients.
#[derive(Debug, Args)]
pub struct Creds {
    /// The job that they are for; whoever asks again with the same goes on as the same holder of a lock [env: OPENTACO_SESSION] [default: the process that asks]
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
}

/// A command that is to ask as somebody.
#[derive(Debug, Args)]
pub struct Exec {
    /// The command and its arguments, behind `--`
    #[arg(last = true, required = true, num_args = 1.., value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// Verbs on API tokens.
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token, and print it this once
    Create(TokenCreate),
    /// List tokens, without their secrets
    #[command(alias = "list")]
    Ls,
    /// End a token
    Revoke(TokenRevoke),
}

/// A token that is to be made.
#[derive(Debug, Args)]
pub struct TokenCreate {
    /// What it is for
    pub name: String,
    /// The service account that it is for; without it, it is yours
    #[arg(long, value_name = "NAME")]
    pub service_account: Option<String>,
    /// It reaches no further than this role; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<Name>,
    /// For how many days it is good, up to 366 [default: 90]
    #[arg(long, value_name = "DAYS")]
    pub days: Option<u32>,
}

/// A token that is to end.
#[derive(Debug, Args)]
pub struct TokenRevoke {
    /// Its id, as `taco token ls` shows it
    pub id: String,
    /// Saying yes beforehand.
    #[command(flatten)]
    pub yes: Yes,
}

/// Verbs on service accounts.
#[derive(Debug, Subcommand)]
pub enum ServiceAccount {
    /// Make a service account
    Create(ServiceAccountCreate),
    /// List service accounts
    #[command(alias = "list")]
    Ls,
    /// Remove a service account, and end every token of it
    Rm(ServiceAccountRm),
}

/// A service account that is to be made.
#[derive(Debug, Args)]
pub struct ServiceAccountCreate {
    /// Its name
    pub name: String,
    /// What people say of it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub description: String,
}

/// A service account that is to go.
#[derive(Debug, Args)]
pub struct ServiceAccountRm {
    /// Its name
    pub name: String,
    /// Saying yes beforehand.
    #[command(flatten)]
    pub yes: Yes,
}

/// Verbs on the audit.
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Show the last events, oldest first; with --follow, go on with what happens
    Tail(AuditTail),
    /// Find events, newest first
    Search(AuditSearch),
    /// Read the audit from end to end, and tell what was changed or removed
    Verify(AuditVerify),
}

/// Which events.
#[derive(Debug, Args)]
pub struct AuditFilters {
    /// Only about this unit
    #[arg(long, add = ArgValueCompleter::new(complete::units))]
    pub unit: Option<UnitId>,
    /// Only about units whose id starts so
    #[arg(long, value_parser = UnitPrefix::parse)]
    pub prefix: Option<UnitPrefix>,
    /// Only by this principal, as in `alice@example.com`
    #[arg(long)]
    pub principal: Option<String>,
    /// Only of this action, as in `unit.write`
    #[arg(long)]
    pub action: Option<String>,
    /// Only with this outcome: `done`, `denied` or `refused`
    #[arg(long)]
    pub decision: Option<Outcome>,
}

/// The last events.
#[derive(Debug, Args)]
pub struct AuditTail {
    /// How many
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20)]
    pub lines: usize,
    /// Go on with what happens, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Which events.
    #[command(flatten)]
    pub filters: AuditFilters,
}

/// A search.
#[derive(Debug, Args)]
pub struct AuditSearch {
    /// Which events.
    #[command(flatten)]
    pub filters: AuditFilters,
    /// Only from this moment on: a time, a day, or how long ago, as in `2026-11-23T14:00:00Z`, `2026-11-23` or `90m`
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Only before this moment
    #[arg(long, value_name = "TIME")]
    pub until: Option<Moment>,
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub limit: usize,
}

/// What is to be verified, and by which keys.
#[derive(Debug, Args)]
pub struct AuditVerify {
    /// Only what happened from this moment on; what is missing before it is not noticed
    #[arg(long, value_name = "TIME")]
    pub since: Option<Moment>,
    /// Public keys to verify by: a copy of /oidc/jwks.json that was kept elsewhere; the service's own without it. May be
    /// repeated
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub keys: Vec<PathBuf>,
}

/// A moment: a time, a day (its beginning in UTC), or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let day = || {
            let day: Date = text.parse().ok()?;
            Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
        };
        let ago = || {
            let span: Span = text.parse().ok()?;
            let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
            SystemClock.now().checked_sub(ago.abs()).ok()
        };
        let moment = text.parse().ok().or_else(day).or_else(ago);
        moment.map(Self).ok_or(
            "a time, as in 2026-11-23T14:00:00Z; a day, as in 2026-11-23; or how long ago, as in 90m or 7d",
        )
    }
}

/// Verbs on who may do what.
#[derive(Debug, Subcommand)]
pub enum Rbac {
    /// Name the first administrators, with the root token
    Init(RbacInit),
    /// Show what you hold
    Me,
    /// Work with who holds which role
    #[command(subcommand)]
    Users(RbacUsers),
    /// Work with roles
    #[command(subcommand)]
    Roles(RbacRoles),
    /// Work with permissions
    #[command(subcommand)]
    Permissions(RbacPermissions),
    /// Say whether somebody may do something, and why
    Test(RbacTest),
    /// Show or switch what the root token opens
    Root(RbacRoot),
}

/// Who is to be an administrator.
#[derive(Debug, Args)]
pub struct RbacInit {
    /// The first administrators, as in `user:ada@example.com`; at least one person
    #[arg(value_name = "MEMBER", required = true)]
    pub administrators: Vec<Member>,
}

/// Verbs on who holds which role.
#[derive(Debug, Subcommand)]
pub enum RbacUsers {
    /// List everybody who holds a role
    #[command(alias = "list")]
    Ls,
    /// Give somebody a role
    Assign(MemberAndRole),
    /// Take a role from somebody
    Revoke(RbacRevoke),
}

/// Somebody and a role.
#[derive(Debug, Args)]
pub struct MemberAndRole {
    /// Who: `user:NAME`, `group:NAME` or `service:NAME`
    pub member: Member,
    /// The role
    pub role: Name,
}

/// Taking a role.
#[derive(Debug, Args)]
pub struct RbacRevoke {
    /// From whom, and which.
    #[command(flatten)]
    pub held: MemberAndRole,
    /// Saying yes beforehand.
    #[command(flatten)]
    pub yes: Yes,
}

/// Verbs on roles.
#[derive(Debug, Subcommand)]
pub enum RbacRoles {
    /// List roles
    #[command(alias = "list")]
    Ls,
    /// Show a role
    Show(NameOnly),
    /// Make a role, or have it hold something else from now on
    Set(RoleSet),
    /// Remove a role, from everybody who holds it
    Rm(NameAndYes),
}

/// Verbs on permissions.
#[derive(Debug, Subcommand)]
pub enum RbacPermissions {
    /// List permissions
    #[command(alias = "list")]
    Ls,
    /// Show a permission
    Show(NameOnly),
    /// Make a permission, or have it say something else from now on
    Set(PermissionSet),
    /// Remove a permission that no role holds
    Rm(NameAndYes),
}

/// A role or a permission.
#[derive(Debug, Args)]
pub struct NameOnly {
    /// Its name
    pub name: Name,
}

/// A role or a permission that is to go.
#[derive(Debug, Args)]
pub struct NameAndYes {
    /// Its name
    pub name: Name,
    /// Saying yes beforehand.
    #[command(flatten)]
    pub yes: Yes,
}

/// What a role is to hold.
#[derive(Debug, Args)]
pub struct RoleSet {
    /// Its name
    pub name: Name,
    /// A permission that it holds; may be repeated
    #[arg(
        short,
        long = "permission",
        value_name = "PERMISSION",
        value_delimiter = ',',
        required = true
    )]
    pub permissions: Vec<Name>,
    /// What it is for
    #[arg(long, default_value = "", hide_default_value = true)]
    pub description: String,
}

/// What a permission is to say.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["allow", "deny", "file"]).required(true).multiple(true))]
pub struct PermissionSet {
    /// Its name
    pub name: Name,
    /// Actions that it grants, as in `unit.read,unit.write`
    #[arg(long, value_name = "ACTION", value_delimiter = ',')]
    pub allow: Vec<Actions>,
    /// Actions that it takes away, whatever other rules grant
    #[arg(long, value_name = "ACTION", value_delimiter = ',')]
    pub deny: Vec<Actions>,
    /// The units that this is about, as patterns: `myapp/prod`, `myapp/*`, `**`
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub on: Vec<Pattern>,
    /// For unit.read-outputs: which outputs, as patterns; all if none are named
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub outputs: Vec<Pattern>,
    /// For unit.read-outputs: sensitive outputs too
    #[arg(long)]
    pub sensitive: bool,
    /// What it is for
    #[arg(long)]
    pub description: Option<String>,
    /// Read rules in JSON from this file instead, `-` for standard input: `{"rules": [{"actions": […], "units": […]}]}`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["allow", "deny", "on", "outputs", "sensitive"])]
    pub file: Option<PathBuf>,
}

/// A question.
#[derive(Debug, Args)]
pub struct RbacTest {
    /// Who: `user:NAME`, `group:NAME`, `service:NAME`, or `me`
    pub who: Who,
    /// What, as in `unit.write`
    pub action: Action,
    /// To which unit
    #[arg(value_name = "UNIT", add = ArgValueCompleter::new(complete::units))]
    pub unit: Option<UnitId>,
    /// A group that they are in beside, as their identity provider would say; may be repeated
    #[arg(long = "group", value_name = "NAME")]
    pub groups: Vec<String>,
}

/// Whoever is asked about.
#[derive(Debug, Clone)]
pub enum Who {
    /// Whoever asks.
    Me,
    /// Somebody else.
    Member(Member),
}

impl std::str::FromStr for Who {
    type Err = MemberError;

    fn from_str(text: &str) -> Result<Self, MemberError> {
        match text {
            "me" => Ok(Self::Me),
            member => member.parse().map(Self::Member),
        }
    }
}

/// What is to become of the root token.
#[derive(Debug, Args)]
pub struct RbacRoot {
    /// Switch it; without a word, show it
    #[arg(value_enum)]
    pub switch: Option<Switch>,
    /// Saying yes beforehand.
    #[command(flatten)]
    pub yes: Yes,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It opens everything
    On,
    /// It opens nothing
    Off,
}

/// A unit.
#[derive(Debug, Args)]
pub struct One {
    /// The unit, as in `myapp/prod`
    #[arg(value_name = "UNIT", add = ArgValueCompleter::new(complete::units))]
    pub unit: UnitId,
}

/// Saying yes beforehand.
#[derive(Debug, Args)]
pub struct Yes {
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Why a lock is taken.
#[derive(Debug, Args)]
pub struct Reason {
    /// What to tell those who have to wait
    #[arg(
        short,
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,
}

/// How bytes that are kept become current again.
#[derive(Debug, Args)]
pub struct Reinstate {
    /// The lock to write under; the one saved in `.taco/` without it
    #[arg(long, value_name = "LOCK")]
    pub lock_id: Option<LockId>,
    /// Also if it is of another lineage
    #[arg(long)]
    pub force: bool,
    /// Whether it is meant.
    #[command(flatten)]
    pub yes: Yes,
}

/// `taco unit create`
#[derive(Debug, Args)]
pub struct Create {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// A label; may be given more than once
    #[arg(short, long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// What to say of it
    #[arg(
        short,
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub description: String,
}

/// `taco unit ls`
#[derive(Debug, Args)]
pub struct Ls {
    /// How their ids begin
    #[arg(default_value = "", hide_default_value = true, add = ArgValueCompleter::new(complete::units))]
    pub prefix: String,
    /// Only those with this label; may be given more than once
    #[arg(short, long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// At most so many
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub limit: Option<usize>,
}

/// `taco unit rm`
#[derive(Debug, Args)]
pub struct Rm {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// Whether it is meant.
    #[command(flatten)]
    pub yes: Yes,
}

/// `taco unit pull`
#[derive(Debug, Args)]
pub struct Pull {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// The file to write; standard output without it
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// A version of the history instead of the current state
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,
    /// Whether it is meant.
    #[command(flatten)]
    pub yes: Yes,
}

/// `taco unit push`
#[derive(Debug, Args)]
pub struct Push {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// The file to read; `-` for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The lock to write under; the one saved in `.taco/` without it
    #[arg(long, value_name = "LOCK")]
    pub lock_id: Option<LockId>,
    /// Only if this version is the current one
    #[arg(long, value_name = "VERSION")]
    pub if_match: Option<VersionId>,
    /// Also if it is of another lineage, or older than what is there
    #[arg(long)]
    pub force: bool,
    /// Whether it is meant.
    #[command(flatten)]
    pub yes: Yes,
}

/// `taco unit lock`
#[derive(Debug, Args)]
pub struct Lock {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// What others are told.
    #[command(flatten)]
    pub reason: Reason,
}

/// `taco unit unlock`
#[derive(Debug, Args)]
pub struct Unlock {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// The lock; the one saved in `.taco/` without it
    #[arg(value_name = "LOCK")]
    pub lock_id: Option<LockId>,
    /// Break the lock, whoever holds it
    #[arg(long, conflicts_with = "lock_id")]
    pub force: bool,
    /// Whether it is meant.
    #[command(flatten)]
    pub yes: Yes,
}

/// `taco unit acquire`
#[derive(Debug, Args)]
pub struct Acquire {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// The file to write; standard output without it
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// What others are told.
    #[command(flatten)]
    pub reason: Reason,
    /// Whether it is meant.
    #[command(flatten)]
    pub yes: Yes,
}

/// `taco unit release`
#[derive(Debug, Args)]
pub struct Release {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// The file to read; `-` for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Also if it is of another lineage, or older than what is there
    #[arg(long)]
    pub force: bool,
}

/// `taco unit versions`
#[derive(Debug, Args)]
pub struct Versions {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// At most so many, the newest
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub limit: Option<usize>,
}

/// `taco unit restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// The version, in full or as `versions` shows it; `previous` is the one before the current
    pub version: String,
    /// How it becomes current.
    #[command(flatten)]
    pub how: Reinstate,
}

/// `taco unit diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// A version, in full or as `versions` shows it, or `current`, or `previous` [default: previous]
    pub from: Option<String>,
    /// What to compare it with [default: current]
    pub to: Option<String>,
    /// Compare with this file instead; without FROM, the current version
    #[arg(short, long, value_hint = ValueHint::FilePath, conflicts_with = "to")]
    pub file: Option<PathBuf>,
    /// Exit with 7 if there is a difference, and with 0 if there is none
    #[arg(long)]
    pub exit_code: bool,
}

/// Verbs on refused writes.
#[derive(Debug, Subcommand)]
pub enum Rejected {
    /// List them
    #[command(alias = "list")]
    Ls(One),
    /// Download one
    Pull(RejectedPull),
    /// Make one the current state after all
    Promote(Promote),
}

/// `taco unit rejected pull`
#[derive(Debug, Args)]
pub struct RejectedPull {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// The refused write, as `rejected ls` shows it
    pub rejected: String,
    /// The file to write; standard output without it
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Whether it is meant.
    #[command(flatten)]
    pub yes: Yes,
}

/// `taco unit rejected promote`
#[derive(Debug, Args)]
pub struct Promote {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// The refused write, as `rejected ls` shows it
    pub rejected: String,
    /// How it becomes current.
    #[command(flatten)]
    pub how: Reinstate,
}

/// `taco unit outputs`
#[derive(Debug, Args)]
pub struct Outputs {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// One output: its value alone, a string without quotes
    pub name: Option<String>,
}

/// `taco unit label`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args(["labels", "description", "protected"]))]
pub struct Label {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// `NAME=VALUE` sets a label, `NAME-` takes it away
    #[arg(value_name = "LABEL", value_parser = label_change)]
    pub labels: Vec<LabelChange>,
    /// What to say of the unit
    #[arg(short, long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Whether deleting the unit is refused
    #[arg(long, value_name = "BOOL")]
    pub protected: Option<bool>,
}

/// What to do to a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelChange {
    /// It gets this value.
    Set(String, String),
    /// It goes.
    Remove(String),
}

/// `taco unit backend`
#[derive(Debug, Args)]
pub struct Backend {
    /// Which unit.
    #[command(flatten)]
    pub one: One,
    /// Which backend of Terraform
    #[arg(short = 't', long = "type", value_enum, default_value_t = BackendType::Http)]
    pub kind: BackendType,
}

/// A backend of Terraform's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendType {
    /// The http backend
    Http,
    /// The s3 backend
    S3,
}

/// `taco unit status`
#[derive(Debug, Args)]
pub struct Status {
    /// The unit, with each of its dependencies and why it is what it is; without it, all units
    #[arg(value_name = "UNIT", conflicts_with_all = ["prefix", "dependent"], add = ArgValueCompleter::new(complete::units))]
    pub unit: Option<UnitId>,
    /// Only units whose id starts so
    #[arg(long, value_parser = UnitPrefix::parse)]
    pub prefix: Option<UnitPrefix>,
    /// Only units that a dependency names
    #[arg(long)]
    pub dependent: bool,
    /// Exit with 2 if a unit needs another apply, or might, and with 0 if none does
    #[arg(long)]
    pub exit_code: bool,
    /// Look again every so many seconds, 5 unless you say, until Ctrl-C; show it anew whenever something has changed
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "5", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub watch: Option<u32>,
}

const STATUS_EXAMPLES: &str = "Examples:
  taco unit status                          all units
  taco unit status --prefix shop/           those of the shop
  taco unit status shop/prod                why the colour is what it is
  taco unit status --dependent --exit-code  for CI: 0 is clean, 2 is stale
  taco unit status --watch=10               look again every ten seconds";

/// Verbs on the graph of dependencies.
#[derive(Debug, Subcommand)]
pub enum GraphVerb {
    /// Show units and what they take from each other; what is stale in full, the rest as counts
    #[command(after_help = SHOW_EXAMPLES)]
    Show(GraphShow),
    /// Print the order in which stale units can be applied, for people and for CI
    #[command(after_help = ORDER_EXAMPLES)]
    Order(GraphOrder),
    /// Show which units would have to be looked at if a unit, or one output of it, changed
    #[command(after_help = IMPACT_EXAMPLES)]
    Impact(GraphImpact),
    /// Compare every dependency with the states as they are, and mend what is not so
    #[command(after_help = RECONCILE_EXAMPLES)]
    Reconcile(GraphReconcile),
}

/// `taco graph reconcile`
#[derive(Debug, Args)]
pub struct GraphReconcile {
    /// A unit that has what it depends on already: an apply that changes nothing writes nothing, and cannot say so
    #[arg(long, value_name = "UNIT", add = ArgValueCompleter::new(complete::units))]
    pub taken_by: Option<UnitId>,
}

const RECONCILE_EXAMPLES: &str = "Examples:
  taco graph reconcile
  taco graph reconcile --taken-by shop/prod   after an apply of it that had nothing to change";

/// `taco graph show`
#[derive(Debug, Args)]
pub struct GraphShow {
    /// Only dependencies with a unit whose id starts so at one of their ends
    #[arg(long, value_parser = UnitPrefix::parse)]
    pub prefix: Option<UnitPrefix>,
    /// How to show it
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    pub format: GraphFormat,
    /// What is up to date in full, too
    #[arg(long)]
    pub all: bool,
}

/// How a graph is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A table
    Text,
    /// As the service tells it
    Json,
    /// A drawing for Graphviz
    Dot,
    /// A drawing for Markdown
    Mermaid,
}

const SHOW_EXAMPLES: &str = "Examples:
  taco graph show
  taco graph show --prefix shop/ --all
  taco graph show --format dot | dot -Tsvg > graph.svg
  taco graph show --format mermaid --prefix shop/";

/// `taco graph order`
#[derive(Debug, Args)]
pub struct GraphOrder {
    /// Only units whose id starts so; what they wait for is heeded all the same
    #[arg(long, value_parser = UnitPrefix::parse)]
    pub prefix: Option<UnitPrefix>,
    /// Only units of this wave, counted from 1
    #[arg(long, value_name = "NUMBER", value_parser = count)]
    pub wave: Option<usize>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = OrderFormat::Text)]
    pub format: OrderFormat,
}

/// How an order is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OrderFormat {
    /// A table
    Text,
    /// Waves, units, and what stands in a circle
    Json,
    /// A matrix for GitHub Actions, in one line
    Github,
    /// A child pipeline for GitLab, with a stage for each wave
    Gitlab,
}

const ORDER_EXAMPLES: &str = "Examples:
  taco graph order
  taco graph order --wave 1                 what can be applied now
  taco graph order --format github          {\"include\":[{\"unit\":\"shop/prod\",\"wave\":1,\"status\":\"red\"}]}
  taco graph order --format gitlab > apply.yml

It ends with 4 if units that depend on each other in a circle are stale: no order can be told for them.";

/// `taco graph impact`
#[derive(Debug, Args)]
pub struct GraphImpact {
    /// A unit, or one output of it behind a dot
    #[arg(value_name = "UNIT[.OUTPUT]", add = ArgValueCompleter::new(complete::units))]
    pub of: String,
    /// The output, where UNIT.OUTPUT is the name of another unit; then the dot is part of the unit
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
}

const IMPACT_EXAMPLES: &str = "Examples:
  taco graph impact network/prod            if any of its outputs changed
  taco graph impact network/prod.vpc_id     if this one changed
  taco graph impact a --output b            if it did, and there is a unit `a.b` as well";

/// Verbs on the provider.
#[derive(Debug, Subcommand)]
pub enum ProviderVerb {
    /// Write a workspace that declares units and dependencies, with the provider installed in it
    #[command(after_help = INIT_EXAMPLES)]
    Init(ProviderInit),
}

/// `taco provider init`
#[derive(Debug, Args)]
pub struct ProviderInit {
    /// The directory to write [default: opentaco-config]
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// The same as a flag; DIR goes before
    #[arg(long = "dir", value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// The unit that holds the graph, and the state of this workspace [default: what the service says]
    #[arg(long, value_name = "UNIT")]
    pub system_unit: Option<UnitId>,
    /// Write over main.tf, README.md and .gitignore, too: without it they are kept where they were edited
    #[arg(long)]
    pub force: bool,
    /// Do not create the system unit
    #[arg(long)]
    pub no_create: bool,
}

const INIT_EXAMPLES: &str = "Examples:
  taco provider init
  taco provider init . --server https://taco.example.com
  taco provider init platform --no-create   only the files";

/// `taco adopt`
#[derive(Debug, Args)]
pub struct Adopt {
    /// How the ids begin
    #[arg(default_value = "", hide_default_value = true, add = ArgValueCompleter::new(complete::units))]
    pub prefix: String,
}

/// `taco completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// For which shell
    #[arg(value_parser = ["bash", "elvish", "fish", "powershell", "zsh"])]
    pub shell: String,
}

/// `taco man`
#[derive(Debug, Args)]
pub struct Man {
    /// The directory to write all pages into
    #[arg(long, value_name = "DIRECTORY", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// `taco version`
#[derive(Debug, Args)]
pub struct Version {
    /// Ask the service for its version, too
    #[arg(long)]
    pub remote: bool,
}

/// The whole tree, for help, completions and pages.
#[must_use]
pub fn command() -> clap::Command {
    Taco::command()
}

fn exit_codes() -> String {
    let mut text = String::from("Exit codes:\n");
    for (code, _, meaning) in error::exit_codes() {
        text.push_str(&format!("  {code:>3}  {meaning}\n"));
    }
    text
}

/// What is wrong with a command line, for programs; none if they did not ask for JSON.
#[must_use]
pub fn refusal(error: &clap::Error, words: &[OsString]) -> Option<Failure> {
    let words = words.iter().take_while(|word| *word != "--");
    let wants_json = words
        .filter_map(|word| word.to_str())
        .any(|word| word.strip_prefix("--") == Some(JSON));
    if !wants_json || !error.use_stderr() {
        return None;
    }
    let text = error.render().to_string();
    let mut parts = text
        .split("\n\n")
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let what = parts.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    let tip = parts.find_map(|part| part.strip_prefix("tip: ").map(str::to_owned));
    let hint = tip.unwrap_or_else(|| "`--help` tells what can be said".to_owned());
    Some(Failure::new(Kind::Usage, what).hint(hint))
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 on is expected".to_owned()),
        Ok(count) => Ok(count),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a label is written `name=value`".to_owned()),
    }
}

fn label_change(text: &str) -> Result<LabelChange, String> {
    if let Ok((name, value)) = label(text) {
        return Ok(LabelChange::Set(name, value));
    }
    match text.strip_suffix('-') {
        Some(name) if !name.is_empty() => Ok(LabelChange::Remove(name.to_owned())),
        _ => Err("`name=value` sets a label, `name-` takes it away".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn labels_are_set_with_an_equals_sign_and_removed_with_a_dash() {
        let set = |name: &str, value: &str| LabelChange::Set(name.to_owned(), value.to_owned());
        assert_eq!(label_change("a=b=c"), Ok(set("a", "b=c")));
        assert_eq!(label_change("a="), Ok(set("a", "")));
        assert_eq!(label_change("a=-"), Ok(set("a", "-")));
        assert_eq!(label_change("a-"), Ok(LabelChange::Remove("a".to_owned())));
        for text in ["", "-", "=", "a", "=b"] {
            assert!(label_change(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_two_ends_share_a_code_and_all_failures_are_told() {
        let told = error::exit_codes();
        let codes: std::collections::BTreeSet<u8> = told.iter().map(|(code, ..)| *code).collect();
        assert_eq!(codes.len(), told.len());
        assert_eq!(told.len(), Kind::ALL.len() + 2, "done, and different");
    }
}
