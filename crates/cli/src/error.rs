//! How a command fails: what, why, what to try, and the exit code that says so to programs.

use std::fmt::Write as _;

use opentaco_sdk::SdkError;
use opentaco_sdk::stored::StoredError;
use serde_json::{Map, Value, json};

use crate::output::one_line;

/// Why a command ended as it did. The codes are stable: scripts branch on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything that has no code of its own.
    Failure,
    /// The command line cannot mean anything, or what it names cannot be read.
    Usage,
    /// There is no such unit, version or state.
    NotFound,
    /// Somebody holds the lock, or what is there is not what was expected.
    Conflict,
    /// The token is missing, unknown, or not enough.
    NotAllowed,
    /// The service, its bucket or the network does not answer.
    Unavailable,
    /// Ctrl-C.
    Interrupted,
}

/// What `diff --exit-code` ends with where there is a difference: no failure, and no code that a failure has.
pub const DIFFERENT: u8 = 7;

/// What `unit status --exit-code` ends with where a unit is to be applied, as `terraform plan -detailed-exitcode` does. It
/// shares the code of a command line that means nothing: a pipeline that is wrong must not pass for one that is clean.
pub const STALE: u8 = 2;

/// All exit codes in their order: each with its word in JSON, if it has one, and what it means.
#[must_use]
pub fn exit_codes() -> Vec<(u8, Option<&'static str>, &'static str)> {
    let failures = Kind::ALL.map(|kind| (kind.code(), Some(kind.word()), kind.meaning()));
    let mut codes = vec![
        (0, None, "It is done"),
        (DIFFERENT, None, "`taco unit diff --exit-code` found a difference"),
    ];
    codes.extend(failures);
    codes.sort_by_key(|(code, ..)| *code);
    codes
}

impl Kind {
    /// All of them, by code.
    pub const ALL: [Self; 7] = [
        Self::Failure,
        Self::Usage,
        Self::NotFound,
        Self::Conflict,
        Self::NotAllowed,
        Self::Unavailable,
        Self::Interrupted,
    ];

    /// The exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::NotAllowed => 5,
            Self::Unavailable => 6,
            Self::Interrupted => 130,
        }
    }

    /// In a word, as `--json` has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::NotAllowed => "not_allowed",
            Self::Unavailable => "unavailable",
            Self::Interrupted => "interrupted",
        }
    }

    /// What it means, for the reference.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Failure => {
                "It failed in a way that has no code of its own, such as a file that cannot be written"
            }
            Self::Usage => {
                "The command line cannot mean anything; of `taco unit status --exit-code`: a unit needs another apply, or might"
            }
            Self::NotFound => "There is no such unit, version or rejected write, or the unit has no state",
            Self::Conflict => "Somebody else holds the lock, or what is there is not what was expected",
            Self::NotAllowed => "The token is missing, unknown, or not enough",
            Self::Unavailable => {
                "The service, its bucket or the network does not answer; the same command may be repeated"
            }
            Self::Interrupted => "Interrupted by Ctrl-C",
        }
    }
}

/// What to try where somebody else seems to have answered.
const NOT_OURS: &str = "is that a service of OpenTaco? --server or OPENTACO_SERVER name another";

/// A command that failed.
#[derive(Debug)]
pub struct Failure {
    /// Which code it ends with.
    pub kind: Kind,
    /// What failed.
    pub message: String,
    /// Why, from the nearest cause to the last.
    pub causes: Vec<String>,
    /// What to try.
    pub hint: Option<String>,
    /// What programs want to know of it: holder, rejected id.
    pub details: Map<String, Value>,
    /// Whoever reads our output is gone: nothing failed, and nobody is told.
    pub unheard: bool,
}

impl Failure {
    /// A failure with one sentence.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            details: Map::new(),
            unheard: false,
        }
    }

    /// The same, with its cause.
    #[must_use]
    pub fn because(mut self, cause: &dyn std::error::Error) -> Self {
        let mut next = Some(cause);
        while let Some(error) = next {
            let text = error.to_string();
            if !self.message.contains(&text) && !self.causes.iter().any(|known| known.contains(&text)) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// The same, with what to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with what to try unless something is known already.
    #[must_use]
    pub fn or_hint(mut self, hint: impl FnOnce() -> Option<String>) -> Self {
        if self.hint.is_none() {
            self.hint = hint();
        }
        self
    }

    /// Whether a cause says so. Its type is three libraries below the SDK's; its words are what we have.
    fn blames(&self, words: &str) -> bool {
        self.causes.iter().any(|cause| cause.contains(words))
    }

    /// Something could not be done with a file.
    #[must_use]
    pub fn file(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let failure = Self::new(Kind::Failure, format!("cannot {doing} `{}`", path.display()));
        // An error of the system says why; one that a library has wrapped names a path that people do not know.
        match error.raw_os_error() {
            Some(_) => failure.because(error),
            None if error.kind() == std::io::ErrorKind::NotFound => {
                failure.because(&std::io::Error::other("there is no such directory"))
            }
            None => failure.because(&std::io::Error::from(error.kind())),
        }
    }

    /// Standard output could not be written.
    #[must_use]
    pub fn output(error: &std::io::Error) -> Self {
        let unheard = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self {
            unheard,
            ..Self::new(Kind::Failure, "cannot write to standard output").because(error)
        }
    }

    /// For people, in one line: what others have written into a lock or a state stands in some, and no more than
    /// letters of it reach a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.message.clone();
        for cause in &self.causes {
            let _ = write!(text, ": {cause}");
        }
        one_line(&text)
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut error = json!({"error": self.kind.word(), "code": self.kind.code(), "message": self.text()});
        if let Some(fields) = error.as_object_mut() {
            if let Some(hint) = &self.hint {
                fields.insert("hint".to_owned(), json!(hint));
            }
            fields.extend(self.details.clone());
        }
        error
    }
}

impl From<StoredError> for Failure {
    fn from(error: StoredError) -> Self {
        let hint = error.hint();
        let failure = match &error {
            StoredError::File { doing, path, source } => Self::file(doing, path, source),
            StoredError::NotOurs { .. } => Self::new(Kind::Failure, error.to_string()),
        };
        Self { hint, ..failure }
    }
}

impl From<SdkError> for Failure {
    fn from(error: SdkError) -> Self {
        let kind = match &error {
            SdkError::Unreachable { .. }
            | SdkError::Unanswered { .. }
            | SdkError::CutOff { .. }
            | SdkError::TimedOut { .. }
            | SdkError::Unavailable { .. }
            | SdkError::Saved { .. } => Kind::Unavailable,
            SdkError::Locked { .. }
            | SdkError::LockOver { .. }
            | SdkError::Conflict { .. }
            | SdkError::AlreadyExists { .. } => Kind::Conflict,
            SdkError::NotFound { .. } | SdkError::NoState { .. } => Kind::NotFound,
            SdkError::NotAuthenticated { .. } | SdkError::Forbidden { .. } | SdkError::Token(_) => {
                Kind::NotAllowed
            }
            SdkError::Setup { .. } => Kind::Usage,
            SdkError::Untrusted { .. }
            | SdkError::Invalid { .. }
            | SdkError::Failed { .. }
            | SdkError::Redirected { .. }
            | SdkError::Unreadable { .. }
            | SdkError::Corrupt { .. }
            | SdkError::File { .. } => Kind::Failure,
        };
        let mut failure = Self::new(kind, error.to_string());
        if let Some(cause) = std::error::Error::source(&error) {
            failure = failure.because(cause);
        }
        failure.hint = match &error {
            SdkError::Unreachable { server, .. } if server.is_encrypted() && failure.blames("InvalidContentType") => {
                Some(format!("it does not seem to speak TLS; if that is so, write {server} with http://"))
            }
            SdkError::Unreachable { .. } => {
                Some("is the service running there? --server or OPENTACO_SERVER name another".to_owned())
            }
            SdkError::Unanswered { server, .. }
                if !server.is_encrypted() && failure.blames("invalid HTTP version") =>
            {
                Some(format!("it does not seem to speak plain HTTP; if that is so, write {server} with https://"))
            }
            SdkError::Untrusted { .. } if failure.blames("CaUsedAsEndEntity") => Some(
                "it is the certificate of an authority, which is not one of a service; make one with basicConstraints=CA:FALSE"
                    .to_owned(),
            ),
            SdkError::Untrusted { .. } if failure.blames("not valid for name") => {
                Some("ask for the service by a name that its certificate has".to_owned())
            }
            SdkError::Untrusted { .. } => Some(
                "if an authority of your own has signed it, name its certificates with --ca-file or OPENTACO_CA_FILE"
                    .to_owned(),
            ),
            SdkError::NotAuthenticated { .. } => {
                Some("log in with `taco login`, or pass a token that the service knows with --token or OPENTACO_TOKEN".to_owned())
            }
            SdkError::Unreadable { .. } => Some(NOT_OURS.to_owned()),
            SdkError::Saved { .. } => Some("repeat the command; nothing is lost".to_owned()),
            // Our own refusals have a word for why.
            other
                if other.refusal().is_some_and(|refusal| refusal.word.is_none())
                    && !matches!(other, SdkError::Unavailable { .. }) => Some(NOT_OURS.to_owned()),
            other => other.hint(),
        };
        if let Some(refusal) = error.refusal() {
            let mut tell = |name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    failure.details.insert(name.to_owned(), value);
                }
            };
            tell("reason", refusal.code.map(|code| json!(code.as_str())));
            tell("holder", refusal.holder.as_ref().map(|holder| json!(holder)));
            tell("rejected", refusal.rejected.as_ref().map(|id| json!(id)));
            tell("current", refusal.current.map(|version| json!(version)));
        }
        failure
    }
}
