//! Every flag, in one table, and the help that is made from it.

use std::fmt::Write as _;

/// A flag of the command line.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What stands for its value in the help; none for a switch.
    pub value: Option<&'static str>,
    /// The variables that say the same, the first of them ours.
    pub variables: &'static [&'static str],
    /// What holds without it.
    pub default: &'static str,
    /// What it is for, in lines that fit a terminal.
    pub help: &'static str,
    group: Group,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Listening,
    Storage,
    S3,
    Gcs,
    Azure,
    Access,
    Login,
    Tokens,
    Audit,
    Keeping,
    Limits,
    Log,
}

const GROUPS: &[(Group, &str)] = &[
    (Group::Listening, "Where it listens"),
    (Group::Storage, "Where states rest"),
    (
        Group::S3,
        "Amazon S3 and what is compatible (credentials: environment, profile, SSO, process, IMDS)",
    ),
    (
        Group::Gcs,
        "Google Cloud Storage (credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud, the machine's)",
    ),
    (
        Group::Azure,
        "Azure Blob Storage (credentials: AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_CLIENT_ID with\nAZURE_TENANT_ID and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, else the machine's)",
    ),
    (Group::Access, "Who may come in"),
    (
        Group::Login,
        "Who people and jobs are: an OpenID Connect provider, and trusted CI issuers",
    ),
    (
        Group::Tokens,
        "Tokens of our own; `opentacosvc keys new` makes a key",
    ),
    (
        Group::Audit,
        "Who did what, kept in the bucket below __opentaco_audit/",
    ),
    (Group::Keeping, "What is kept, and for how long"),
    (Group::Limits, "How much clients may send"),
    (Group::Log, "The log, on standard error"),
];

const fn flag(
    group: Group,
    name: &'static str,
    value: &'static str,
    variables: &'static [&'static str],
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        value: Some(value),
        variables,
        default,
        help,
        group,
    }
}

const fn switch(
    group: Group,
    name: &'static str,
    variables: &'static [&'static str],
    help: &'static str,
) -> Flag {
    Flag {
        name,
        value: None,
        variables,
        default: "false",
        help,
        group,
    }
}

/// All of them.
pub const FLAGS: &[Flag] = &[
    flag(
        Group::Listening,
        "host",
        "ADDRESS",
        &["OPENTACO_HOST"],
        "127.0.0.1",
        "The address to listen on. Set -tls-cert, or put a proxy that speaks TLS in front, before you listen to\nthe world.",
    ),
    flag(
        Group::Listening,
        "port",
        "PORT",
        &["OPENTACO_PORT"],
        "8080",
        "The port to listen on; 0 takes a free one. The first line of the log names it.",
    ),
    flag(
        Group::Listening,
        "s3-door-bucket",
        "NAME",
        &["OPENTACO_S3_DOOR_BUCKET"],
        "opentaco",
        "What the bucket is called that S3 clients see at /s3, whatever lies below.",
    ),
    flag(
        Group::Listening,
        "port-file",
        "FILE",
        &["OPENTACO_PORT_FILE"],
        "none",
        "A file to write the bound address to, once requests are answered there.",
    ),
    flag(
        Group::Listening,
        "tls-cert",
        "FILE",
        &["OPENTACO_TLS_CERT"],
        "none: plain HTTP",
        "The certificate in PEM, first of the chain that leads to its authority. Clients speak HTTP/1.1 or\nHTTP/2 then. Renewed files are taken over within seconds, at once on SIGHUP.",
    ),
    flag(
        Group::Listening,
        "tls-key",
        "FILE",
        &["OPENTACO_TLS_KEY"],
        "none",
        "The key of that certificate in PEM.",
    ),
    flag(
        Group::Listening,
        "metrics-port",
        "PORT",
        &["OPENTACO_METRICS_PORT"],
        "none",
        "A port for /metrics without a token and without TLS, on the same address; 0 takes a free one. On the\nmain port /metrics asks for a token.",
    ),
    flag(
        Group::Storage,
        "storage",
        "STORE",
        &["OPENTACO_STORAGE"],
        "local, or the store whose bucket is named",
        "local, s3, gcs, azure or memory. What is in memory is lost when the service ends.",
    ),
    flag(
        Group::Storage,
        "data-dir",
        "DIRECTORY",
        &["OPENTACO_DATA_DIR"],
        "./opentaco-data",
        "Our own files: the root token, and below bucket/ the states if they rest on local disk.",
    ),
    switch(
        Group::Storage,
        "single-replica",
        &["OPENTACO_SINGLE_REPLICA"],
        "Serve from a store without conditional writes. Safe only while this is the one process that ever\nwrites there. `opentacosvc doctor` tells whether you need it.",
    ),
    switch(
        Group::Storage,
        "fallback-memory",
        &["OPENTACO_FALLBACK_MEMORY"],
        "If the store cannot be opened, start all the same and keep states in memory, where they will be\nlost. Without it the service does not start.",
    ),
    flag(
        Group::S3,
        "s3-bucket",
        "NAME",
        &["OPENTACO_S3_BUCKET"],
        "none",
        "The bucket. Naming one is asking for -storage s3.",
    ),
    flag(
        Group::S3,
        "s3-prefix",
        "PREFIX",
        &["OPENTACO_S3_PREFIX"],
        "none",
        "What all keys in the bucket start with.",
    ),
    flag(
        Group::S3,
        "s3-region",
        "REGION",
        &["OPENTACO_S3_REGION"],
        "AWS_REGION, or the profile's",
        "The bucket's region.",
    ),
    flag(
        Group::S3,
        "s3-endpoint",
        "URL",
        &["OPENTACO_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
        "Amazon's",
        "Where to find a compatible store. Plain http is taken if you say http.",
    ),
    switch(
        Group::S3,
        "s3-virtual-hosted",
        &["OPENTACO_S3_VIRTUAL_HOSTED"],
        "Whether the bucket stands in the host name. Amazon wants it; other stores are asked by path unless\nyou say this.",
    ),
    flag(
        Group::Gcs,
        "gcs-bucket",
        "NAME",
        &["OPENTACO_GCS_BUCKET"],
        "none",
        "The bucket. Naming one is asking for -storage gcs.",
    ),
    flag(
        Group::Gcs,
        "gcs-prefix",
        "PREFIX",
        &["OPENTACO_GCS_PREFIX"],
        "none",
        "What all names in the bucket start with.",
    ),
    flag(
        Group::Gcs,
        "gcs-endpoint",
        "URL",
        &["OPENTACO_GCS_ENDPOINT"],
        "Google's",
        "An emulator. It is asked without credentials unless GOOGLE_APPLICATION_CREDENTIALS is set.",
    ),
    flag(
        Group::Azure,
        "azure-container",
        "NAME",
        &["OPENTACO_AZURE_CONTAINER"],
        "none",
        "The container. Naming one is asking for -storage azure.",
    ),
    flag(
        Group::Azure,
        "azure-account",
        "NAME",
        &["OPENTACO_AZURE_ACCOUNT", "AZURE_STORAGE_ACCOUNT"],
        "none",
        "The storage account.",
    ),
    flag(
        Group::Azure,
        "azure-prefix",
        "PREFIX",
        &["OPENTACO_AZURE_PREFIX"],
        "none",
        "What all names in the container start with.",
    ),
    flag(
        Group::Azure,
        "azure-endpoint",
        "URL",
        &["OPENTACO_AZURE_ENDPOINT"],
        "Azure's",
        "Another address of the account, an emulator's for example.",
    ),
    switch(
        Group::Azure,
        "azure-use-cli",
        &["OPENTACO_AZURE_USE_CLI"],
        "Be whoever `az login` logged in.",
    ),
    flag(
        Group::Access,
        "root-token-file",
        "FILE",
        &["OPENTACO_ROOT_TOKEN_FILE"],
        "root-token in the data directory",
        "A file with the root token: the one way in until people can log in. Clients send it as Bearer, or as\nthe password of Basic credentials with any user name. OPENTACO_ROOT_TOKEN sets the token itself.\nReplicas on one bucket need the same one. Without either, one is drawn and kept.",
    ),
    switch(
        Group::Access,
        "auth-disable",
        &["OPENTACO_AUTH_DISABLE"],
        "Let everybody do everything. For trying things out on your own machine.",
    ),
    flag(
        Group::Login,
        "auth-config",
        "FILE",
        &["OPENTACO_AUTH_CONFIG"],
        "none",
        "A file with the provider and the CI issuers whose jobs are let in, with their rules; see\nconfigs/auth.yaml. The flags below win over what stands there.",
    ),
    flag(
        Group::Login,
        "auth-issuer",
        "URL",
        &["OPENTACO_AUTH_ISSUER"],
        "none",
        "The provider where people log in, as it calls itself: https://login.example.com.",
    ),
    flag(
        Group::Login,
        "auth-client-id",
        "ID",
        &["OPENTACO_AUTH_CLIENT_ID"],
        "none",
        "What the provider knows this service as. `taco login` is a public client: there is no secret.",
    ),
    flag(
        Group::Login,
        "auth-auth-url",
        "URL",
        &["OPENTACO_AUTH_AUTH_URL"],
        "what the provider says",
        "Where a browser is sent, if the provider's discovery does not say it.",
    ),
    flag(
        Group::Login,
        "auth-token-url",
        "URL",
        &["OPENTACO_AUTH_TOKEN_URL"],
        "what the provider says",
        "Where a code is exchanged for tokens, if discovery does not say it.",
    ),
    flag(
        Group::Login,
        "auth-jwks-url",
        "URL",
        &["OPENTACO_AUTH_JWKS_URL"],
        "what the provider says",
        "Where the provider's public keys are, if discovery does not say it.",
    ),
    flag(
        Group::Login,
        "auth-groups-claim",
        "CLAIM",
        &["OPENTACO_AUTH_GROUPS_CLAIM"],
        "groups",
        "The claim of an ID token that lists somebody's groups.",
    ),
    flag(
        Group::Login,
        "auth-scopes",
        "SCOPES",
        &["OPENTACO_AUTH_SCOPES"],
        "openid profile email",
        "What is asked of the provider, with spaces or commas in between.",
    ),
    flag(
        Group::Login,
        "auth-redirect-uris",
        "URIS",
        &["OPENTACO_AUTH_REDIRECT_URIS"],
        "http://127.0.0.1:8585/callback",
        "Where the provider may send a browser back to, with spaces or commas in between.",
    ),
    switch(
        Group::Audit,
        "audit-sync",
        &["OPENTACO_AUDIT_SYNC"],
        "Answer a change only when its event is in the bucket. Without it events are written behind the answer,\nat most a second later; a process that is killed loses that second of them, not of states.",
    ),
    flag(
        Group::Login,
        "auth-rate-limit",
        "NUMBER",
        &["OPENTACO_AUTH_RATE_LIMIT"],
        "600",
        "Requests a minute for logins and tokens from one address; whoever sends more is told to wait.",
    ),
    flag(
        Group::Tokens,
        "tokens-private-key-pem-path",
        "FILE",
        &["OPENTACO_TOKENS_PRIVATE_KEY_PEM_PATH"],
        "kept",
        "The Ed25519 key that signs tokens and the audit, in PEM. Replicas need the same one. Without it, and\nunless the bucket is shared, one is made when it is needed and kept as tokens-key.pem in the data directory.",
    ),
    flag(
        Group::Tokens,
        "tokens-kid",
        "NAME",
        &["OPENTACO_TOKENS_KID"],
        "its thumbprint",
        "What that key is called.",
    ),
    flag(
        Group::Tokens,
        "tokens-verify-pem-paths",
        "FILES",
        &["OPENTACO_TOKENS_VERIFY_PEM_PATHS"],
        "none",
        "Keys that verify and do not sign: the one before, the next one. Public or private ones in PEM, with\ncommas in between; write name=FILE for a key that is not called by its thumbprint.",
    ),
    flag(
        Group::Tokens,
        "tokens-issuer",
        "NAME",
        &["OPENTACO_TOKENS_ISSUER"],
        "opentaco",
        "Who issues our tokens, in their own words. Services that share a key should not share this.",
    ),
    flag(
        Group::Tokens,
        "tokens-access-ttl",
        "DURATION",
        &["OPENTACO_TOKENS_ACCESS_TTL"],
        "1h",
        "How long an access token is good.",
    ),
    flag(
        Group::Tokens,
        "tokens-refresh-ttl",
        "DURATION",
        &["OPENTACO_TOKENS_REFRESH_TTL"],
        "720h",
        "How long a login lasts after its last use.",
    ),
    flag(
        Group::Tokens,
        "sts-kid",
        "NAMES",
        &["OPENTACO_STS_KID"],
        "kept",
        "The keys of S3 credentials, the one that makes them first. The secret of each, 32 bytes or more, stands\nin OPENTACO_STS_HMAC_<name>. Without it, where there is a key for tokens and the bucket is not\nshared, one is drawn and kept as sts-secret in the data directory.",
    ),
    flag(
        Group::Tokens,
        "sts-ttl",
        "DURATION",
        &["OPENTACO_STS_TTL"],
        "15m",
        "How long S3 credentials are good.",
    ),
    flag(
        Group::Keeping,
        "system-unit",
        "UNIT",
        &["OPENTACO_SYSTEM_UNIT"],
        "__opentaco_system",
        "The unit that holds the graph of dependencies. All replicas need the same one.",
    ),
    flag(
        Group::Keeping,
        "max-versions",
        "NUMBER",
        &["OPENTACO_MAX_VERSIONS"],
        "100",
        "Versions kept of each unit. The first and the last write of each lock outlive those in between.",
    ),
    flag(
        Group::Keeping,
        "versions-min-age",
        "DURATION",
        &["OPENTACO_VERSIONS_MIN_AGE"],
        "24h",
        "Nothing younger is dropped, however many there are.",
    ),
    flag(
        Group::Limits,
        "max-body-size",
        "SIZE",
        &["OPENTACO_MAX_BODY_SIZE"],
        "1GiB",
        "The largest state that is accepted.",
    ),
    flag(
        Group::Limits,
        "max-bodies-in-flight",
        "SIZE",
        &["OPENTACO_MAX_BODIES_IN_FLIGHT"],
        "256MiB",
        "Memory for all states that are being received. One larger than half of it is taken beside it, one at a time.",
    ),
    flag(
        Group::Log,
        "log-level",
        "LEVEL",
        &["OPENTACO_LOG"],
        "info",
        "error, warn, info, debug or trace; or by part, as in warn,opentaco::request=info.",
    ),
    flag(
        Group::Log,
        "log-format",
        "FORMAT",
        &["OPENTACO_LOG_FORMAT"],
        "text",
        "text, or json for an object a line.",
    ),
];

/// The help of `opentacosvc`.
pub(super) fn help() -> String {
    let mut help = "\
opentacosvc keeps the states of Terraform and OpenTofu in one bucket: locked, versioned, readable without it.

Usage:
  opentacosvc [flags]          serve
  opentacosvc doctor [flags]   ask the store whether two replicas may share it, tell what it said, and end
  opentacosvc keys new         make a key that signs tokens and print it, or with --out FILE put it there
  opentacosvc help             this text (-h, --help)
  opentacosvc version          the version (-V, --version)

Started without any flag it keeps states on local disk, draws a root token, and its first log line says
where both are. Then, in your configuration:

  terraform {
    backend \"http\" {
      address        = \"http://localhost:8080/v1/backend/myapp/prod\"
      lock_address   = \"http://localhost:8080/v1/backend/myapp/prod\"
      unlock_address = \"http://localhost:8080/v1/backend/myapp/prod\"
    }
  }

and in your shell TF_HTTP_USERNAME=root and TF_HTTP_PASSWORD=$(cat opentaco-data/root-token).

Every flag is written with one dash or two, with a space or = before its value, and has a variable that
says the same. A flag wins over its variable.
"
    .to_owned();
    for (group, title) in GROUPS {
        write!(help, "\n{title}\n").expect("a String takes all");
        for flag in FLAGS.iter().filter(|flag| flag.group == *group) {
            describe(&mut help, flag).expect("a String takes all");
        }
    }
    help.push_str(
        "
Exit codes
  0  it ended as asked; doctor: the store keeps its word
  1  it could not do what was asked; the last line says why
  2  it did not understand the flags or variables
  3  doctor: the store does not keep its word, so replicas must not share it
  4  doctor: the store could not be asked
",
    );
    help
}

fn describe(help: &mut String, flag: &Flag) -> std::fmt::Result {
    let Flag {
        name,
        value,
        variables,
        default,
        help: text,
        ..
    } = flag;
    let value = value.map(|value| format!(" <{value}>")).unwrap_or_default();
    let variables = variables.join(", ");
    writeln!(
        help,
        "  -{name}, --{name}{value}   [{variables}; default: {default}]"
    )?;
    for line in text.lines() {
        writeln!(help, "      {line}")?;
    }
    Ok(())
}
