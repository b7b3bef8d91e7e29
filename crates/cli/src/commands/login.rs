//! `taco login`, `taco logout`, `taco whoami`: by the browser, to a service and back.
//!
//! ```text
//! taco ──▶ browser ──▶ provider        who are you? (PKCE: only whoever began may end it)
//!            │
//!            ▼
//! taco ◀── 127.0.0.1:8585/callback     a code, and the state that was sent along
//! taco ──▶ provider                    the code for an ID token, which names the nonce that was sent along
//! taco ──▶ service                     the ID token for a login, which is saved
//! ```

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use opentaco_domain::{Secret, Sha256};
use opentaco_sdk::api::auth::{AuthConfig, Exchange, Me, Revoke, Via};
use opentaco_sdk::stored::Login;
use opentaco_sdk::{SdkError, Token};
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::args;
use crate::context::Context;
use crate::error::{Failure, Kind};
use crate::output::Cell;

/// Where the provider sends the browser back to, unless the service says otherwise.
const CALLBACK: &str = "http://127.0.0.1:8585/callback";
/// How long somebody may take to log in.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long the provider may take to answer.
const PROVIDER_PATIENCE: Duration = Duration::from_secs(30);
/// How long a line of a request to the callback may be.
const LINE_BYTES_MAX: u64 = 16 * 1024;

/// Where to ask, and as what.
struct Provider {
    client_id: String,
    authorization: Url,
    token: Url,
    redirect: Url,
    scopes: String,
}

/// What is drawn for one login, and has to come back.
struct Drawn {
    state: String,
    nonce: String,
    verifier: String,
}

impl Drawn {
    fn new() -> Self {
        // Each has 244 random bits, and consists of letters and digits.
        let draw = || format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self {
            state: draw(),
            nonce: draw(),
            verifier: draw(),
        }
    }

    /// What the provider is shown of the verifier.
    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::of(self.verifier.as_bytes()).bytes())
    }
}

pub(super) async fn login(context: &Context, args: args::Login) -> Result<(), Failure> {
    let nobody = context.nobody()?;
    let config = nobody.auth_config().await.map_err(Failure::from)?;
    let http = context.http(PROVIDER_PATIENCE)?;
    let provider = provider(&http, &args, config).await?;
    let drawn = Drawn::new();
    let listener = listen(&provider.redirect).await?;
    let address = authorization_address(&provider, &drawn, args.force_login);
    context.output.note(&format!(
        "log in in your browser; if none opens, go to\n{address}"
    ));
    if !args.no_browser
        && let Err(error) = open::that_detached(address.as_str())
    {
        context
            .output
            .note(&format!("no browser could be opened: {error}"));
    }
    let code = context
        .interrupt
        .or(async {
            tokio::time::timeout(PATIENCE, code_of(&listener, &provider.redirect, &drawn.state))
                .await
                .unwrap_or_else(|_| {
                    Err(
                        Failure::new(Kind::Failure, "nobody logged in within five minutes")
                            .hint("run `taco login` again"),
                    )
                })
        })
        .await?;
    drop(listener);
    let id_token = id_token(&http, &provider, &drawn, &code).await?;
    let exchange = Exchange {
        id_token,
        nonce: Some(drawn.nonce),
    };
    let session = nobody.exchange(&exchange).await.map_err(|error| {
        let is_refused = matches!(error, SdkError::NotAuthenticated { .. });
        let failure = Failure::from(error);
        match is_refused {
            true => failure.hint("does the service trust this provider and client id? OPENTACO_AUTH_ISSUER and OPENTACO_AUTH_CLIENT_ID say which it does"),
            false => failure,
        }
    })?;
    let login = Login::from(session);
    context
        .credentials()?
        .save(&context.server, Some(login.clone()))?;
    if context.output.is_json() {
        return context.output.json(&json!({
            "principal": login.principal, "server": context.server.as_str(), "expires": login.refresh_expires
        }));
    }
    context
        .output
        .said(&format!("logged in to {} as {}", context.server, login.principal));
    Ok(())
}

/// Asks the provider where to go, as far as neither the command line nor the service has said it.
async fn provider(
    http: &reqwest::Client,
    args: &args::Login,
    config: AuthConfig,
) -> Result<Provider, Failure> {
    let issuer = args.issuer.clone().or(config.issuer);
    let client_id = args.client_id.clone().or(config.client_id);
    let (Some(issuer), Some(client_id)) = (issuer, client_id) else {
        return Err(Failure::new(Kind::Usage, "nobody logs in at this service").hint(
            "its operator names a provider with OPENTACO_AUTH_ISSUER and OPENTACO_AUTH_CLIENT_ID; until then ask with a token: --token or OPENTACO_TOKEN",
        ));
    };
    let mut authorization = args.auth_url.clone().or(config.authorization_endpoint);
    let mut token = args.token_url.clone().or(config.token_endpoint);
    if authorization.is_none() || token.is_none() {
        let found = discover(http, &issuer).await?;
        authorization = authorization.or(Some(found.authorization_endpoint));
        token = token.or(Some(found.token_endpoint));
    }
    let address = |what: &str, text: Option<String>| {
        let text = text.unwrap_or_default();
        let url = Url::parse(&text).ok();
        url.filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| Failure::new(Kind::Usage, format!("the {what} `{text}` is no address")))
    };
    let redirect = config
        .redirect_uris
        .iter()
        .find(|uri| uri.starts_with("http://127.0.0.1:") || uri.starts_with("http://localhost:"))
        .map_or(CALLBACK, String::as_str);
    let scopes = match config.scopes.is_empty() {
        true => "openid profile email".to_owned(),
        false => config.scopes.join(" "),
    };
    Ok(Provider {
        client_id,
        authorization: address("authorization endpoint", authorization)?,
        token: address("token endpoint", token)?,
        redirect: address("redirect address", Some(redirect.to_owned()))?,
        scopes,
    })
}

#[derive(Deserialize)]
struct Discovered {
    authorization_endpoint: String,
    token_endpoint: String,
}

async fn discover(http: &reqwest::Client, issuer: &str) -> Result<Discovered, Failure> {
    let address = format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    );
    let failed = || {
        Failure::new(
            Kind::Unavailable,
            format!("the provider does not say where to log in, at {address}"),
        )
    };
    let hint = "is the issuer right? --auth-url and --token-url name its endpoints by hand";
    let answer = http.get(&address).send().await;
    let answer = answer
        .and_then(reqwest::Response::error_for_status)
        .map_err(|error| failed().because(&error).hint(hint))?;
    answer
        .json()
        .await
        .map_err(|error| failed().because(&error).hint(hint))
}

fn authorization_address(provider: &Provider, drawn: &Drawn, again: bool) -> Url {
    let mut address = provider.authorization.clone();
    {
        let mut query = address.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", provider.redirect.as_str())
            .append_pair("scope", &provider.scopes)
            .append_pair("state", &drawn.state)
            .append_pair("nonce", &drawn.nonce)
            .append_pair("code_challenge", &drawn.challenge())
            .append_pair("code_challenge_method", "S256");
        if again {
            query.append_pair("prompt", "login");
        }
    }
    address
}

async fn listen(redirect: &Url) -> Result<TcpListener, Failure> {
    let port = redirect.port().unwrap_or(80);
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        Failure::new(
            Kind::Failure,
            format!("cannot listen for the browser on 127.0.0.1:{port}"),
        )
        .because(&error)
        .hint("is another `taco login` waiting? End it, or whatever else listens there, and log in again")
    })
}

/// Waits for the browser to come back with what was sent along. Whoever comes without it is told so, and does not end it.
async fn code_of(listener: &TcpListener, redirect: &Url, state: &str) -> Result<String, Failure> {
    loop {
        let Ok((browser, _)) = listener.accept().await else {
            continue;
        };
        if let Some(verdict) = answer(browser, redirect, state).await {
            return verdict;
        }
    }
}

/// What one request of a browser means; none if it is not the one that is waited for.
async fn answer(browser: TcpStream, redirect: &Url, state: &str) -> Option<Result<String, Failure>> {
    use tokio::io::AsyncReadExt as _;
    let mut browser = BufReader::new(browser).take(LINE_BYTES_MAX);
    let mut line = String::new();
    let reading = browser.read_line(&mut line);
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .ok()?
        .ok()?;
    let mut browser = browser.into_inner().into_inner();
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let asked = redirect.join(target).ok()?;
    if method != "GET" || asked.path() != redirect.path() {
        say(&mut browser, "404 Not Found", "Nothing is here.").await;
        return None;
    }
    let value = |name: &str| {
        let mut pairs = asked.query_pairs();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    if value("state").map(Secret::new) != Some(Secret::new(state)) {
        let text = "This is not the login that taco is waiting for. Close this page, and use the one that taco has opened.";
        say(&mut browser, "400 Bad Request", text).await;
        return None;
    }
    if let Some(error) = value("error") {
        let text = "You are not logged in: the provider refused it. taco says why; you may close this page.";
        say(&mut browser, "200 OK", text).await;
        let why = value("error_description").map_or(error.clone(), |why| format!("{error}: {why}"));
        let failure = Failure::new(Kind::NotAllowed, format!("the provider refused the login: {why}"));
        return Some(Err(failure));
    }
    let Some(code) = value("code") else {
        say(&mut browser, "400 Bad Request", "The provider sent no code.").await;
        return Some(Err(Failure::new(
            Kind::Failure,
            "the provider sent neither a code nor an error",
        )));
    };
    say(
        &mut browser,
        "200 OK",
        "You may close this page, and go on in the terminal.",
    )
    .await;
    Some(Ok(code))
}

async fn say(browser: &mut TcpStream, status: &str, text: &str) {
    let page = format!("<!doctype html><meta charset=\"utf-8\"><title>taco</title><p>{text}</p>\n");
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\nreferrer-policy: no-referrer\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    // A browser that is gone already does not need it.
    let _ = browser.write_all(answer.as_bytes()).await;
    let _ = browser.shutdown().await;
}

/// The code for an ID token.
async fn id_token(
    http: &reqwest::Client,
    provider: &Provider,
    drawn: &Drawn,
    code: &str,
) -> Result<Secret, Failure> {
    #[derive(Deserialize)]
    struct Answer {
        id_token: Option<String>,
        error: Option<String>,
        error_description: Option<String>,
    }
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", provider.redirect.as_str()),
        ("client_id", provider.client_id.as_str()),
        ("code_verifier", drawn.verifier.as_str()),
    ];
    let failed = |what: &str| Failure::new(Kind::Failure, format!("the provider gave no ID token: {what}"));
    let answer = http.post(provider.token.clone()).form(&form).send().await;
    let answer = answer.map_err(|error| failed("it does not answer").because(&error))?;
    let status = answer.status();
    let answer: Answer = answer
        .json()
        .await
        .map_err(|error| failed(&format!("its answer, {status}, cannot be read")).because(&error))?;
    if let Some(error) = answer.error {
        let why = answer
            .error_description
            .map_or(error.clone(), |why| format!("{error}: {why}"));
        return Err(failed(&why));
    }
    let token = answer.id_token.ok_or_else(|| {
        failed("there is none in its answer").hint("is `openid` among the scopes that the service asks for?")
    })?;
    Ok(Secret::new(token))
}

pub(super) async fn logout(context: &Context) -> Result<(), Failure> {
    let credentials = context.credentials()?;
    let Some(login) = credentials.login(&context.server)? else {
        if context.output.is_json() {
            return context.output.json(&json!({"logged_out": false}));
        }
        context
            .output
            .note(&format!("nobody is logged in to {}", context.server));
        return Ok(());
    };
    let ended = match context.logged_in() {
        Ok(client) => client.revoke(&Revoke::default()).await,
        Err(failure) => return Err(failure),
    };
    credentials.save(&context.server, None)?;
    let ended = match ended {
        // Over at the service, too.
        Ok(()) | Err(SdkError::NotAuthenticated { .. } | SdkError::Token(_)) => true,
        Err(error) => {
            context.output.warn(&format!(
                "the login is forgotten here, but the service could not be told: {error}"
            ));
            context.output.hint(&format!(
                "until {} it goes on for whoever has a copy of it; an administrator ends it",
                login.refresh_expires
            ));
            false
        }
    };
    if context.output.is_json() {
        return context
            .output
            .json(&json!({"logged_out": true, "revoked": ended}));
    }
    context.output.said(&format!(
        "{} is logged out of {}",
        login.principal, context.server
    ));
    Ok(())
}

pub(super) async fn whoami(context: &Context) -> Result<(), Failure> {
    let me: Me = context.client()?.me().await.map_err(Failure::from)?;
    if context.output.is_json() {
        return context.output.json(&me);
    }
    let via = match me.via {
        Via::Root => "the root token",
        Via::Anonymous => "nothing: nobody is asked who they are here",
        Via::Login => "a login",
        Via::ApiToken => "an API token",
        Via::Ci => "the token of a CI job",
    };
    let listed = |words: &[String]| match words.is_empty() {
        true => Cell::none(),
        false => Cell::text(words.join(", ")),
    };
    context.output.fields(vec![
        ("principal", Cell::text(me.principal.as_str())),
        ("server", Cell::text(context.server.as_str())),
        ("by", Cell::text(via)),
        ("email", Cell::maybe(me.email.as_ref())),
        ("groups", listed(&me.groups)),
        ("roles", listed(&me.roles)),
        ("until", context.output.time(me.expires)),
    ])
}

/// The token that other programs are to ask with: the one that was given, or that of the login.
pub(super) async fn token(context: &Context) -> Result<Token, Failure> {
    context.token().await?.ok_or_else(|| {
        Failure::new(
            Kind::NotAllowed,
            format!("nobody is logged in to {}", context.server),
        )
        .hint("log in with `taco login`, or pass a token with --token or OPENTACO_TOKEN")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_shown_a_hash_and_what_is_drawn_is_drawn_anew() {
        let drawn = Drawn {
            state: "s".to_owned(),
            nonce: "n".to_owned(),
            // The example of RFC 7636, appendix B.
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned(),
        };
        assert_eq!(drawn.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let (one, other) = (Drawn::new(), Drawn::new());
        assert!(one.verifier.len() >= 43 && one.verifier.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(one.verifier, other.verifier);
        assert_ne!(one.state, one.nonce);
    }

    fn provider_here(port: u16) -> Provider {
        let url = |text: &str| Url::parse(text).unwrap();
        Provider {
            client_id: "taco".to_owned(),
            authorization: url("https://idp.example.com/authorize?tenant=a"),
            token: url("https://idp.example.com/token"),
            redirect: url(&format!("http://127.0.0.1:{port}/callback")),
            scopes: "openid email".to_owned(),
        }
    }

    #[test]
    fn the_browser_is_sent_with_all_that_has_to_come_back_and_never_with_the_verifier() {
        let drawn = Drawn::new();
        let address = authorization_address(&provider_here(8585), &drawn, true);
        let value = |name: &str| {
            let mut pairs = address.query_pairs();
            pairs
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        assert_eq!(
            value("tenant").as_deref(),
            Some("a"),
            "what the endpoint has already stays"
        );
        assert_eq!(value("state"), Some(drawn.state.clone()));
        assert_eq!(value("nonce"), Some(drawn.nonce.clone()));
        assert_eq!(value("code_challenge"), Some(drawn.challenge()));
        assert_eq!(value("code_challenge_method").as_deref(), Some("S256"));
        assert_eq!(value("prompt").as_deref(), Some("login"));
        assert_eq!(
            value("redirect_uri").as_deref(),
            Some("http://127.0.0.1:8585/callback")
        );
        assert!(!address.as_str().contains(&drawn.verifier));
    }

    async fn visit(port: u16, target: &str) -> String {
        use tokio::io::AsyncReadExt as _;
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_the_browser_that_brings_back_the_state_ends_the_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let redirect = provider_here(port).redirect;
        let visits = async {
            for (target, status) in [
                ("/favicon.ico", "404"),
                ("/callback?code=stolen", "400"),
                ("/callback?code=stolen&state=guessed", "400"),
                ("/callback?error=access_denied&state=guessed", "400"),
                ("/callback?code=mine&state=drawn", "200"),
            ] {
                let answer = visit(port, target).await;
                assert!(
                    answer.starts_with(&format!("HTTP/1.1 {status}")),
                    "{target}: {answer}"
                );
                assert!(!answer.contains("stolen") && !answer.contains("mine"), "{answer}");
            }
        };
        let (code, ()) = tokio::join!(code_of(&listener, &redirect, "drawn"), visits);
        assert_eq!(code.unwrap(), "mine");
    }

    #[tokio::test]
    async fn a_provider_that_refuses_is_quoted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let redirect = provider_here(port).redirect;
        let target = "/callback?state=drawn&error=access_denied&error_description=not+today";
        let (code, _) = tokio::join!(code_of(&listener, &redirect, "drawn"), visit(port, target));
        let failure = code.unwrap_err();
        assert_eq!(failure.kind, Kind::NotAllowed);
        assert!(
            failure.message.contains("access_denied: not today"),
            "{failure:?}"
        );
    }
}
