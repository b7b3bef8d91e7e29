//! What the service refuses, told to people who write configurations: what was tried, why not, and what to do.

use std::error::Error as _;

use opentaco_sdk::SdkError;
use opentaco_sdk::api::ErrorCode;

use crate::plugin::diagnostic::Diagnostic;

/// Something could not be done: `doing` ends the sentence "cannot …".
#[must_use]
pub fn refused(doing: &str, error: &SdkError) -> Diagnostic {
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !detail.contains(&text) {
            detail = format!("{detail}: {text}");
        }
        cause = error.source();
    }
    detail = match (hint(error), error) {
        // The service's words are for whoever speaks HTTP with it.
        (Some(hint), SdkError::NotAuthenticated { .. }) => format!("{hint}\n\nThe service says: {detail}"),
        (Some(hint), _) => format!("{detail}\n\n{hint}"),
        (None, _) => detail,
    };
    Diagnostic::new(format!("Cannot {doing}"), detail)
}

/// There is such a thing already: it can be taken over, and is not made a second time.
#[must_use]
pub fn already_there(kind: &str, what: &str, id: &str) -> Diagnostic {
    Diagnostic::new(
        format!("There is a {what} `{id}` already"),
        format!("If it is to be managed here, import it:\n\n    terraform import {kind}.NAME '{id}'"),
    )
}

fn hint(error: &SdkError) -> Option<String> {
    let code = error.refusal().and_then(|refusal| refusal.code);
    Some(match error {
        SdkError::Unreachable { .. } => {
            "Is the service running there? `endpoint` in the provider block, or OPENTACO_ENDPOINT, name another.".to_owned()
        }
        SdkError::Untrusted { .. } => {
            "If an authority of your own has signed it, name its certificates with `ca_file` in the provider block, or \
             with OPENTACO_CA_FILE."
                .to_owned()
        }
        SdkError::NotAuthenticated { .. } => {
            "The service does not know who is asking. Give a token that it knows: `token` in the provider block, or \
             OPENTACO_TOKEN. Without one, the provider asks as whoever is logged in with `taco login`."
                .to_owned()
        }
        SdkError::Locked { .. } => {
            let lock = &error.holder()?.id;
            format!("Its lock is `{lock}`. Wait until it is given back; `taco unit unlock` breaks it.")
        }
        SdkError::Unreadable { .. } => "Is that a service of OpenTaco? `endpoint` in the provider block names another.".to_owned(),
        _ if code == Some(ErrorCode::Protected) => {
            "Set `deletion_protection = false`, apply that, and remove it then. If it was to be replaced and should not be: \
             keep its `id` as it was, and if it is tainted, `terraform untaint` it."
                .to_owned()
        }
        _ => return error.hint(),
    })
}
