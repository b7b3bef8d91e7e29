//! The standard AWS chain (environment, profiles, SSO, processes, web identity, containers, instance metadata) as
//! `object_store` asks for credentials.
//!
//! `object_store` alone knows neither profiles nor SSO nor `credential_process`; `aws-config` knows them all, but answers
//! each question anew. Between the two stands a cache: credentials are used until shortly before they expire, and one
//! request at a time asks for new ones while the others go on with what is still good.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::default_provider::region::DefaultRegionChain;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use object_store::aws::AwsCredential;
use object_store::client::CredentialProvider;
use object_store::{Error, Result};
use opentaco_domain::Clock;
use tokio::time::timeout;

/// How long before the end of credentials new ones are asked for.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);
/// How long to go on with credentials that are still good after new ones could not be had.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(20);
/// How long the chain may take; a `credential_process` can hang, and IMDS takes seconds where there is none.
const CHAIN_PATIENCE: Duration = Duration::from_secs(30);

/// The region the environment or the profile names.
pub(crate) async fn region_of_environment() -> Option<String> {
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .region()
        .await
        .map(|region| region.to_string())
}

/// The same, or else the one this machine is in.
pub(crate) async fn region_of_chain() -> Option<String> {
    DefaultRegionChain::builder()
        .build()
        .region()
        .await
        .map(|region| region.to_string())
}

/// Credentials of an AWS provider, kept until shortly before they expire.
pub(crate) struct ChainCredentials {
    source: SharedCredentialsProvider,
    clock: Arc<dyn Clock>,
    kept: Mutex<Option<Kept>>,
    /// Held by the one who asks for new credentials.
    asking: tokio::sync::Mutex<()>,
}

/// Credentials, and when to think of new ones.
#[derive(Clone)]
struct Kept {
    credential: Arc<AwsCredential>,
    renew_at: Option<SystemTime>,
    expires_at: Option<SystemTime>,
}

impl ChainCredentials {
    /// Those of the standard chain.
    pub(crate) async fn standard(region: &str, clock: Arc<dyn Clock>) -> Self {
        let region = aws_config::Region::new(region.to_owned());
        let chain = DefaultCredentialsChain::builder().region(region).build().await;
        Self::of(SharedCredentialsProvider::new(chain), clock)
    }

    fn of(source: SharedCredentialsProvider, clock: Arc<dyn Clock>) -> Self {
        Self {
            source,
            clock,
            kept: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    fn kept(&self) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, kept: Kept) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
    }

    fn now(&self) -> SystemTime {
        self.clock.now().into()
    }

    async fn ask(&self) -> Result<Kept, CredentialsError> {
        let fresh = timeout(CHAIN_PATIENCE, self.source.provide_credentials())
            .await
            .map_err(|_| CredentialsError::provider_timed_out(CHAIN_PATIENCE))??;
        let expires_at = fresh.expiry();
        let credential = AwsCredential {
            key_id: fresh.access_key_id().to_owned(),
            secret_key: fresh.secret_access_key().to_owned(),
            token: fresh.session_token().map(str::to_owned),
        };
        let renew_at = expires_at.and_then(|end| end.checked_sub(RENEW_BEFORE));
        Ok(Kept {
            credential: Arc::new(credential),
            renew_at,
            expires_at,
        })
    }
}

impl Kept {
    fn is_fresh(&self, now: SystemTime) -> bool {
        self.renew_at.is_none_or(|at| now < at)
    }

    fn is_good(&self, now: SystemTime) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

#[async_trait]
impl CredentialProvider for ChainCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        let asking = match self.kept() {
            Some(kept) if kept.is_fresh(self.now()) => return Ok(kept.credential),
            Some(kept) if kept.is_good(self.now()) => match self.asking.try_lock() {
                Ok(asking) => asking,
                Err(_) => return Ok(kept.credential),
            },
            _ => self.asking.lock().await,
        };
        let kept = self.kept();
        if let Some(kept) = &kept
            && kept.is_fresh(self.now())
        {
            return Ok(Arc::clone(&kept.credential));
        }
        let answer = self.ask().await;
        let now = self.now();
        let kept = match (answer, kept) {
            (Ok(fresh), _) => fresh,
            (Err(error), Some(old)) if old.is_good(now) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no new AWS credentials; going on with the old ones, which are about to expire"
                );
                Kept {
                    renew_at: Some(now + TRY_AGAIN_AFTER),
                    ..old
                }
            }
            (Err(source), _) => {
                return Err(Error::Unauthenticated {
                    path: "AWS credentials".to_owned(),
                    source: Box::new(source),
                });
            }
        };
        self.keep(kept.clone());
        drop(asking);
        Ok(kept.credential)
    }
}

impl fmt::Debug for ChainCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainCredentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use aws_credential_types::Credentials;
    use aws_credential_types::provider::future;
    use futures::future::join_all;
    use opentaco_domain::StoppedClock;
    use tokio::sync::Semaphore;

    use super::*;

    fn noon() -> Arc<StoppedClock> {
        Arc::new(StoppedClock::new("2026-11-22T12:00:00Z".parse().unwrap()))
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(count * 60)
    }

    fn in_minutes(clock: &StoppedClock, count: u64) -> SystemTime {
        SystemTime::from(clock.now()) + minutes(count)
    }

    /// A chain that gives these answers, one after the other, each when it is let.
    #[derive(Debug, Clone)]
    struct Script {
        answers: Arc<Mutex<VecDeque<Option<Credentials>>>>,
        gate: Arc<Semaphore>,
    }

    impl Script {
        fn new(answers: impl IntoIterator<Item = Option<Credentials>>) -> Self {
            let answers = answers.into_iter().collect();
            Self {
                answers: Arc::new(Mutex::new(answers)),
                gate: Arc::new(Semaphore::new(1000)),
            }
        }

        fn left(&self) -> usize {
            self.answers.lock().unwrap().len()
        }
    }

    impl ProvideCredentials for Script {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                self.gate.acquire().await.unwrap().forget();
                let answer = self
                    .answers
                    .lock()
                    .unwrap()
                    .pop_front()
                    .expect("the chain is asked no more than that");
                answer.ok_or_else(|| CredentialsError::not_loaded("the script says so"))
            })
        }
    }

    fn key(id: &str, expires: Option<SystemTime>) -> Option<Credentials> {
        Some(Credentials::new(
            id,
            "secret",
            Some(format!("token of {id}")),
            expires,
            "script",
        ))
    }

    fn chain(script: &Script, clock: &Arc<StoppedClock>) -> ChainCredentials {
        ChainCredentials::of(
            SharedCredentialsProvider::new(script.clone()),
            Arc::clone(clock) as Arc<dyn Clock>,
        )
    }

    async fn id(chain: &ChainCredentials) -> String {
        chain.get_credential().await.unwrap().key_id.clone()
    }

    #[tokio::test]
    async fn credentials_are_kept_until_five_minutes_before_their_end() {
        let clock = noon();
        let script = Script::new([key("first", Some(in_minutes(&clock, 60))), key("second", None)]);
        let chain = chain(&script, &clock);
        assert_eq!(id(&chain).await, "first");
        clock.advance(minutes(54));
        assert_eq!(id(&chain).await, "first");
        clock.advance(minutes(1));
        assert_eq!(id(&chain).await, "second");
    }

    #[tokio::test]
    async fn credentials_that_do_not_expire_are_asked_for_once() {
        let clock = noon();
        let script = Script::new([key("static", None)]);
        let chain = chain(&script, &clock);
        for _ in 0..3 {
            assert_eq!(id(&chain).await, "static");
            clock.advance(minutes(60 * 24 * 365));
        }
        assert_eq!(script.left(), 0);
    }

    #[tokio::test]
    async fn all_three_parts_of_a_temporary_key_are_passed_on() {
        let clock = noon();
        let chain = chain(&Script::new([key("id", None)]), &clock);
        let credential = chain.get_credential().await.unwrap();
        assert_eq!(credential.secret_key, "secret");
        assert_eq!(credential.token.as_deref(), Some("token of id"));
    }

    #[tokio::test]
    async fn a_failing_chain_matters_only_once_the_old_credentials_are_over() {
        let clock = noon();
        let script = Script::new([
            key("first", Some(in_minutes(&clock, 60))),
            None,
            None,
            key("second", None),
        ]);
        let chain = chain(&script, &clock);
        assert_eq!(id(&chain).await, "first");
        clock.advance(minutes(56));
        assert_eq!(
            id(&chain).await,
            "first",
            "the chain failed, they are good for four minutes more"
        );
        assert_eq!(id(&chain).await, "first", "and it is not asked again at once");
        assert_eq!(script.left(), 2);
        clock.advance(minutes(5));
        let over = chain.get_credential().await.unwrap_err();
        assert!(matches!(over, Error::Unauthenticated { .. }), "{over:?}");
        assert_eq!(id(&chain).await, "second");
    }

    #[tokio::test]
    async fn many_requests_at_once_ask_the_chain_once() {
        let clock = noon();
        let script = Script::new([key("only", Some(in_minutes(&clock, 60)))]);
        let chain = chain(&script, &clock);
        let ids = join_all((0..50).map(|_| id(&chain))).await;
        assert!(ids.iter().all(|id| id == "only"));
    }

    #[tokio::test]
    async fn while_one_request_asks_for_new_credentials_the_others_use_the_old() {
        let clock = noon();
        let script = Script::new([key("old", Some(in_minutes(&clock, 60))), key("new", None)]);
        let chain = chain(&script, &clock);
        assert_eq!(id(&chain).await, "old");
        clock.advance(minutes(57));
        script.gate.forget_permits(1000);
        let mut asking = std::pin::pin!(id(&chain));
        assert!(
            futures::poll!(&mut asking).is_pending(),
            "the chain takes its time"
        );
        assert_eq!(id(&chain).await, "old");
        script.gate.add_permits(1);
        assert_eq!(asking.await, "new");
        assert_eq!(id(&chain).await, "new");
    }

    #[tokio::test]
    async fn nothing_of_a_credential_is_printed() {
        let clock = noon();
        let chain = chain(&Script::new([key("id", None)]), &clock);
        chain.get_credential().await.unwrap();
        assert_eq!(format!("{chain:?}"), "ChainCredentials { .. }");
    }
}
