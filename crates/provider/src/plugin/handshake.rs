//! How go-plugin starts a plugin: what it says in the environment, and the one line that it waits for.
//!
//! ```text
//! TF_PLUGIN_MAGIC_COOKIE     a word without which we were started by a person
//! PLUGIN_PROTOCOL_VERSIONS   what the client speaks: `5,6`
//! PLUGIN_CLIENT_CERT         its certificate in PEM: we speak TLS, with it and nobody else
//!
//! 1|6|unix|/tmp/…/plugin.sock|grpc|<our certificate in base64>
//! ```

use std::ffi::OsString;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// What Terraform and OpenTofu say to their providers. It is no secret: it tells that a plugin is wanted.
const COOKIE: (&str, &str) = (
    "TF_PLUGIN_MAGIC_COOKIE",
    "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2",
);
/// The version of the protocol that we speak.
pub const PROTOCOL: u32 = 6;
/// The version of the handshake itself.
const HANDSHAKE: u32 = 1;

/// What a client has asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The only certificate that may ask us; none to speak in plain.
    pub client: Option<CertificateDer<'static>>,
}

/// Why nothing is served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInvited {
    /// A person has started us.
    #[error(
        "This is a provider of Terraform and OpenTofu. They start it themselves; by hand it does nothing.\n\
         `terraform-provider-opentaco --debug` serves it for TF_REATTACH_PROVIDERS."
    )]
    ByHand,
    /// The client does not speak our version.
    #[error(
        "this provider speaks version {PROTOCOL} of the protocol, and the client only {spoken}: it is too old, or too new"
    )]
    OtherProtocol {
        /// What it speaks.
        spoken: String,
    },
    /// Its certificate is none.
    #[error("PLUGIN_CLIENT_CERT holds no certificate")]
    BadCertificate,
}

impl Invitation {
    /// What the environment says.
    ///
    /// # Errors
    /// If nobody wants a plugin there, or one that we are not.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, NotInvited> {
        let (name, word) = COOKIE;
        if variable(name).is_none_or(|said| said != word) {
            return Err(NotInvited::ByHand);
        }
        let text = |name| variable(name).map(|value| value.to_string_lossy().into_owned());
        // Empty, as with TF_DISABLE_PLUGIN_TLS, is none.
        let client = text("PLUGIN_CLIENT_CERT").filter(|pem| !pem.is_empty());
        if let Some(spoken) = text("PLUGIN_PROTOCOL_VERSIONS") {
            let ours = PROTOCOL.to_string();
            if !spoken.split(',').any(|version| version.trim() == ours) {
                return Err(NotInvited::OtherProtocol { spoken });
            }
        }
        let client = client
            .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| NotInvited::BadCertificate))
            .transpose()?;
        Ok(Self { client })
    }
}

/// The line that the client waits for.
#[must_use]
pub fn line(socket: &Path, certificate: Option<&CertificateDer<'_>>) -> String {
    let certificate = certificate
        .map(|der| STANDARD_NO_PAD.encode(der))
        .unwrap_or_default();
    format!(
        "{HANDSHAKE}|{PROTOCOL}|unix|{}|grpc|{certificate}\n",
        socket.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(said: &[(&str, &str)]) -> Result<Invitation, NotInvited> {
        Invitation::read(|name| {
            let said = said.iter().find(|(said, _)| *said == name);
            said.map(|(_, value)| (*value).into())
        })
    }

    #[test]
    fn whoever_does_not_say_the_word_is_a_person() {
        assert_eq!(read(&[]), Err(NotInvited::ByHand));
        assert_eq!(read(&[(COOKIE.0, "word")]), Err(NotInvited::ByHand));
        assert_eq!(read(&[COOKIE]), Ok(Invitation { client: None }));
    }

    #[test]
    fn a_client_of_other_versions_is_told_so() {
        for spoken in ["6", "5,6", "6,5"] {
            assert!(
                read(&[COOKIE, ("PLUGIN_PROTOCOL_VERSIONS", spoken)]).is_ok(),
                "{spoken}"
            );
        }
        for spoken in ["5", "16", ""] {
            let refused = read(&[COOKIE, ("PLUGIN_PROTOCOL_VERSIONS", spoken)]);
            assert!(
                matches!(refused, Err(NotInvited::OtherProtocol { .. })),
                "{spoken}"
            );
        }
    }

    #[test]
    fn a_certificate_that_is_none_is_refused() {
        assert_eq!(
            read(&[COOKIE, ("PLUGIN_CLIENT_CERT", "none")]),
            Err(NotInvited::BadCertificate)
        );
        let plain = read(&[COOKIE, ("PLUGIN_CLIENT_CERT", "")]);
        assert_eq!(plain, Ok(Invitation { client: None }));
    }

    #[test]
    fn the_line_has_the_certificate_without_padding() {
        let socket = Path::new("/tmp/x/plugin.sock");
        assert_eq!(line(socket, None), "1|6|unix|/tmp/x/plugin.sock|grpc|\n");
        let der = CertificateDer::from(vec![0xff]);
        assert_eq!(line(socket, Some(&der)), "1|6|unix|/tmp/x/plugin.sock|grpc|/w\n");
    }
}
