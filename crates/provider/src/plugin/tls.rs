//! TLS with one peer: the certificate that the client has named, and no other.
//!
//! go-plugin makes a certificate for each start: self-signed, of an authority (`CA:true`), on the curve P-521. The usual
//! verifier refuses it (`CaUsedAsEndEntity`), and rightly so, if it were to be trusted for what it says. Here nothing is
//! believed that it says: it is *the* certificate, byte for byte, and whoever connects has to prove to hold its key.

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme, version,
};

/// What the client checks the name of our certificate against.
const NAME: &str = "localhost";

/// A server's side of TLS, and the certificate that it shows.
#[derive(Debug)]
pub struct Identity {
    /// How to answer.
    pub config: Arc<ServerConfig>,
    /// What the client is told to expect.
    pub certificate: CertificateDer<'static>,
}

/// No certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Of our own.
    #[error("no certificate can be made")]
    Certificate(#[from] rcgen::Error),
    /// It cannot be served with.
    #[error("TLS cannot be set up")]
    Setup(#[from] Error),
}

/// A fresh certificate, shown to whoever proves to be `client`.
///
/// # Errors
/// If there is no chance to be had for a key.
pub fn identity(client: CertificateDer<'static>) -> Result<Identity, TlsError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([NAME.to_owned()])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?.der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|text| Error::General(text.to_owned()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Pinned {
        certificate: client,
        provider: Arc::clone(&provider),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(vec![certificate.clone()], key)?;
    // gRPC in Go insists on it.
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Identity {
        config: Arc::new(config),
        certificate,
    })
}

/// Accepts one certificate.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match *shown == self.certificate {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, IsCa, PKCS_ECDSA_P521_SHA512};
    use rustls::pki_types::ServerName;
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    /// What go-plugin makes for itself: P-521, self-signed, an authority.
    struct Peer {
        certificate: CertificateDer<'static>,
        key: KeyPair,
    }

    impl Peer {
        fn new() -> Self {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap();
            let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let certificate = params.self_signed(&key).unwrap().der().clone();
            Self { certificate, key }
        }
    }

    /// Whether a client that shows this certificate, signs with this key and expects that server gets a word through.
    async fn gets_through(
        identity: &Identity,
        shown: Option<(&CertificateDer<'static>, &KeyPair)>,
        expected: &CertificateDer<'static>,
    ) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(expected.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
                let shown = CertifiedKey::new(vec![certificate.clone()], key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (near, far) = tokio::io::duplex(64 * 1024);
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.config));
        let server = async {
            let mut stream = acceptor.accept(far).await?;
            stream.write_all(b"hello").await?;
            stream.flush().await
        };
        let client = async {
            let name = ServerName::try_from(NAME).unwrap();
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, near).await?;
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).await?;
            Ok::<_, std::io::Error>(is_h2 && &heard == b"hello")
        };
        let (served, heard) = tokio::join!(server, client);
        served.is_ok() && heard.is_ok_and(|heard| heard)
    }

    #[tokio::test]
    async fn the_one_certificate_is_served_and_no_other_nor_none() {
        let (peer, other) = (Peer::new(), Peer::new());
        let identity = identity(peer.certificate.clone()).unwrap();
        let ours = &identity.certificate;
        assert!(gets_through(&identity, Some((&peer.certificate, &peer.key)), ours).await);
        assert!(!gets_through(&identity, Some((&other.certificate, &other.key)), ours).await);
        assert!(!gets_through(&identity, None, ours).await);
    }

    #[tokio::test]
    async fn to_show_the_certificate_is_not_enough_without_its_key() {
        let (peer, other) = (Peer::new(), Peer::new());
        let identity = identity(peer.certificate.clone()).unwrap();
        assert!(
            !gets_through(
                &identity,
                Some((&peer.certificate, &other.key)),
                &identity.certificate
            )
            .await
        );
    }

    #[tokio::test]
    async fn the_client_knows_us_by_the_certificate_of_the_handshake() {
        let peer = Peer::new();
        let [one, two] = [(); 2].map(|()| identity(peer.certificate.clone()).unwrap());
        assert!(!gets_through(&one, Some((&peer.certificate, &peer.key)), &two.certificate).await);
    }
}
