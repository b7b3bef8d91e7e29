//! Over TLS: an authority of one's own is trusted where it is named, and nobody else.

use opentaco_testkit::service::Service;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::{Desk, state};

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_named_and_nobody_else() {
    let (ours, foreign) = (authority(), authority());
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ours).unwrap();
    let mut desk = Desk::new();
    desk.write("cert.pem", &certificate.pem());
    desk.write("key.pem", &key.serialize_pem());
    desk.write("ours.pem", &ours.pem());
    desk.write("foreign.pem", &foreign.pem());
    desk.write("one.json", &state(1, "a"));
    let path = |name: &str| desk.path().join(name).display().to_string();
    let (certificate, key) = (path("cert.pem"), path("key.pem"));
    let home = tempfile::tempdir().unwrap();
    let service = Service::start(
        home.path(),
        &["-storage", "memory", "-tls-cert", &certificate, "-tls-key", &key],
        &[],
    );
    desk.asks(&format!("https://127.0.0.1:{}", service.port()));

    desk.taco("unit push tls/shop one.json --ca-file ours.pem")
        .worked();
    let ran = desk.taco("unit pull tls/shop --ca-file ours.pem").worked();
    assert_eq!(ran.stdout, state(1, "a"));
    for line in ["unit ls", "unit ls --ca-file foreign.pem"] {
        desk.taco(line).with(1).said("is not trusted").said("--ca-file");
    }
    desk.taco("unit ls --ca-file key.pem")
        .with(2)
        .said("certificates");
    desk.asks(&format!("https://localhost:{}", service.port()));
    desk.taco("unit ls --ca-file ours.pem")
        .with(1)
        .said("by a name that its certificate has");
    desk.asks(&service.url());
    for line in ["unit ls", "unit info tls/shop"] {
        desk.taco(line).with(6).said("does not seem to speak plain HTTP");
    }
}

#[test]
fn a_certificate_that_vouches_for_itself_is_taken_by_its_file_unless_it_is_an_authoritys() {
    let mut desk = Desk::new();
    for (is_ca, code, said) in [
        (IsCa::ExplicitNoCa, 0, "no units"),
        (
            IsCa::Ca(BasicConstraints::Unconstrained),
            1,
            "basicConstraints=CA:FALSE",
        ),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.is_ca = is_ca;
        desk.write("cert.pem", &params.self_signed(&key).unwrap().pem());
        desk.write("key.pem", &key.serialize_pem());
        let path = |name: &str| desk.path().join(name).display().to_string();
        let (certificate, key) = (path("cert.pem"), path("key.pem"));
        let home = tempfile::tempdir().unwrap();
        let service = Service::start(
            home.path(),
            &["-storage", "memory", "-tls-cert", &certificate, "-tls-key", &key],
            &[],
        );
        desk.asks(&format!("https://127.0.0.1:{}", service.port()));
        desk.taco("unit ls --ca-file cert.pem").with(code).said(said);
    }
}
