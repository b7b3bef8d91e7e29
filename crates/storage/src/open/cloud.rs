//! The three clouds, each with its client set up the same way.
//!
//! Every store is told to make each request once. `object_store` would repeat some by itself, conditional puts among
//! them: a put that took effect and whose answer was lost is then answered by "the condition does not hold", which is
//! told from a lost race only by reading back. The layer above reads back, knows what it asked for, and counts; below
//! it, a request is a request.

use std::sync::Arc;

use object_store::ClientOptions;
use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::StaticCredentialProvider;
use object_store::gcp::GoogleCloudStorageBuilder;
use opentaco_domain::SystemClock;

use super::listing::{ETags, Exact};
use super::{
    AzureConfig, AzureCredentials, GcsConfig, GcsCredentials, HttpCounts, OpenError, Opened, S3Config,
    Secret, normalized,
};
use crate::aws::{self, ChainCredentials};
use crate::store::Store;
use crate::transport::Connector;

/// Where a custom endpoint is taken to be when nobody says: the region every S3-compatible server accepts.
const REGION_ELSEWHERE: &str = "us-east-1";

pub(super) async fn s3(config: &S3Config, counts: Arc<HttpCounts>) -> Result<Opened, OpenError> {
    let prefix = normalized(config.prefix.as_deref())?;
    let endpoint = config.endpoint.as_deref().map(Endpoint::parse).transpose()?;
    let description = described("s3", &config.bucket, &prefix, config.endpoint.as_deref());
    let region = region(config).await?;
    let credentials: AwsCredentialProvider = match &config.credentials {
        Some(key) => Arc::new(StaticCredentialProvider::new(AwsCredential {
            key_id: key.access_key_id.clone(),
            secret_key: key.secret_access_key.expose().to_owned(),
            token: key.session_token.as_ref().map(|token| token.expose().to_owned()),
        })),
        None => Arc::new(ChainCredentials::standard(&region, Arc::new(SystemClock)).await),
    };
    // A bucket with dots in its name has no certificate at AWS.
    let virtual_hosted = config
        .virtual_hosted
        .unwrap_or(endpoint.is_none() && !config.bucket.contains('.'));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(region)
        .with_credentials(credentials)
        .with_virtual_hosted_style_request(virtual_hosted)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // A single delete is then one DELETE, which every compatible server knows; `POST ?delete` some do not.
        .with_disable_bulk_delete(true)
        .with_disable_tagging(true)
        .with_retry(once())
        .with_client_options(options(endpoint.as_ref()))
        .with_http_connector(Connector::new(Arc::clone(&counts)));
    if let Some(endpoint) = endpoint {
        // `object_store` takes the endpoint of a virtual host as it is, bucket included.
        let address = if virtual_hosted {
            endpoint.with_host_prefix(&config.bucket)
        } else {
            endpoint.address()
        };
        builder = builder.with_endpoint(address);
    }
    opened(builder.build(), ETags::Quoted, prefix, description, counts)
}

async fn region(config: &S3Config) -> Result<String, OpenError> {
    if let Some(region) = &config.region {
        return Ok(region.clone());
    }
    // At an endpoint of one's own, the metadata service of a machine has no say (and asking it where there is none
    // takes seconds).
    match config.endpoint {
        Some(_) => Ok(aws::region_of_environment()
            .await
            .unwrap_or_else(|| REGION_ELSEWHERE.to_owned())),
        None => aws::region_of_chain().await.ok_or_else(|| OpenError::Region {
            bucket: config.bucket.clone(),
        }),
    }
}

pub(super) fn gcs(config: &GcsConfig, counts: Arc<HttpCounts>) -> Result<Opened, OpenError> {
    let prefix = normalized(config.prefix.as_deref())?;
    let endpoint = config.endpoint.as_deref().map(Endpoint::parse).transpose()?;
    let description = described("gs", &config.bucket, &prefix, config.endpoint.as_deref());
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&config.bucket)
        .with_retry(once())
        .with_client_options(options(endpoint.as_ref()))
        .with_http_connector(Connector::new(Arc::clone(&counts)));
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(&endpoint.address());
    }
    builder = match &config.credentials {
        GcsCredentials::Default => builder,
        GcsCredentials::File(file) => builder.with_application_credentials(file.to_string_lossy()),
        GcsCredentials::ServiceAccount(key) => builder.with_service_account_key(key.expose()),
        GcsCredentials::Anonymous => builder.with_bearer_token("").with_skip_signature(true),
    };
    opened(builder.build(), ETags::Quoted, prefix, description, counts)
}

pub(super) fn azure(config: &AzureConfig, counts: Arc<HttpCounts>) -> Result<Opened, OpenError> {
    let prefix = normalized(config.prefix.as_deref())?;
    let endpoint = config.endpoint.as_deref().map(Endpoint::parse).transpose()?;
    let place = format!("{}/{}", config.account, config.container);
    let description = described("azure", &place, &prefix, config.endpoint.as_deref());
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(&config.account)
        .with_container_name(&config.container)
        .with_disable_tagging(true)
        .with_retry(once())
        .with_client_options(options(endpoint.as_ref()))
        .with_http_connector(Connector::new(Arc::clone(&counts)));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.address());
    }
    builder = match &config.credentials {
        AzureCredentials::Machine => builder.with_credential_type("managed_identity"),
        AzureCredentials::ManagedIdentity { client_id } => builder
            .with_credential_type("managed_identity")
            .with_client_id(client_id),
        AzureCredentials::AccessKey(key) => builder.with_access_key(key.expose()),
        AzureCredentials::SharedAccessSignature(signature) => {
            builder.with_config(AzureConfigKey::SasKey, bare(signature))
        }
        AzureCredentials::ClientSecret {
            tenant_id,
            client_id,
            client_secret,
        } => builder.with_client_secret_authorization(client_id, client_secret.expose(), tenant_id),
        AzureCredentials::WorkloadIdentity {
            tenant_id,
            client_id,
            token_file,
        } => builder
            .with_credential_type("workload_identity")
            .with_tenant_id(tenant_id)
            .with_client_id(client_id)
            .with_federated_token_file(token_file.to_string_lossy()),
        AzureCredentials::Cli => builder.with_use_azure_cli(true),
    };
    opened(builder.build(), ETags::Bare, prefix, description, counts)
}

/// A shared access signature without the question mark it is often copied with.
fn bare(signature: &Secret) -> &str {
    signature.expose().trim_start_matches('?')
}

fn opened<S: Store>(
    built: object_store::Result<S>,
    etags: ETags,
    prefix: String,
    description: String,
    counts: Arc<HttpCounts>,
) -> Result<Opened, OpenError> {
    match built {
        Ok(store) => Ok(Opened {
            store: Arc::new(Exact::new(store, etags)),
            prefix,
            description,
            counts,
        }),
        Err(source) => Err(OpenError::Client { description, source }),
    }
}

/// Every request is made once.
fn once() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

/// Of these, [`Connector`] heeds only whether plain http is allowed; its own client has the time-outs.
fn options(endpoint: Option<&Endpoint<'_>>) -> ClientOptions {
    ClientOptions::new().with_allow_http(endpoint.is_some_and(|endpoint| endpoint.scheme == "http"))
}

fn described(scheme: &str, place: &str, prefix: &str, endpoint: Option<&str>) -> String {
    let slash = if prefix.is_empty() { "" } else { "/" };
    let at = endpoint
        .map(|endpoint| format!(" at {endpoint}"))
        .unwrap_or_default();
    format!("{scheme}://{place}{slash}{prefix}{at}")
}

/// An address that requests can be sent to.
#[derive(Debug)]
struct Endpoint<'a> {
    scheme: &'a str,
    /// Host, port, and what path there is, without a slash at its end.
    rest: &'a str,
}

impl<'a> Endpoint<'a> {
    fn parse(text: &'a str) -> Result<Self, OpenError> {
        let wrong = |reason| OpenError::Endpoint {
            endpoint: text.to_owned(),
            reason,
        };
        let (scheme, rest) = text
            .split_once("://")
            .ok_or(wrong("it must begin with http:// or https://"))?;
        if !matches!(scheme, "http" | "https") {
            return Err(wrong("it must begin with http:// or https://"));
        }
        let rest = rest.trim_end_matches('/');
        if rest.is_empty() || rest.starts_with([':', '/']) {
            return Err(wrong("it names no host"));
        }
        if rest.contains('@') {
            return Err(wrong("credentials do not belong into an address"));
        }
        if rest.contains(['?', '#']) || text.parse::<http::Uri>().is_err() {
            return Err(wrong("it must be host, port and path, and nothing else"));
        }
        Ok(Self { scheme, rest })
    }

    fn address(&self) -> String {
        format!("{}://{}", self.scheme, self.rest)
    }

    /// The address with the bucket in front of the host, if it is not there already.
    fn with_host_prefix(&self, bucket: &str) -> String {
        if self
            .rest
            .strip_prefix(bucket)
            .is_some_and(|rest| rest.starts_with('.'))
        {
            return self.address();
        }
        format!("{}://{bucket}.{}", self.scheme, self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::{S3Key, StoreConfig, open};

    #[test]
    fn an_endpoint_is_an_http_address_and_nothing_more() {
        for (text, address) in [
            ("http://127.0.0.1:7070", "http://127.0.0.1:7070"),
            ("https://minio.example/", "https://minio.example"),
            (
                "http://127.0.0.1:10000/devstoreaccount1",
                "http://127.0.0.1:10000/devstoreaccount1",
            ),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().address(), address);
        }
        for text in [
            "127.0.0.1:7070",
            "ftp://host",
            "http://",
            "http://:80",
            "http:///x",
            "https://h?x=1",
            "https://key:pw@h",
            "http://a b",
        ] {
            assert!(
                matches!(Endpoint::parse(text), Err(OpenError::Endpoint { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn a_virtual_host_is_the_bucket_before_the_endpoint_once() {
        let endpoint = Endpoint::parse("https://s3.example:9000").unwrap();
        assert_eq!(
            endpoint.with_host_prefix("states"),
            "https://states.s3.example:9000"
        );
        let endpoint = Endpoint::parse("https://states.s3.example").unwrap();
        assert_eq!(endpoint.with_host_prefix("states"), "https://states.s3.example");
    }

    #[tokio::test]
    async fn what_was_opened_says_where_it_is() {
        let key = S3Key {
            access_key_id: "id".to_owned(),
            secret_access_key: Secret::new("secret"),
            session_token: None,
        };
        let s3 = StoreConfig::S3(S3Config {
            bucket: "states".to_owned(),
            prefix: Some("/team/".to_owned()),
            region: Some("eu-central-1".to_owned()),
            endpoint: Some("http://127.0.0.1:9".to_owned()),
            credentials: Some(key),
            ..S3Config::default()
        });
        let gcs = StoreConfig::Gcs(GcsConfig {
            bucket: "states".to_owned(),
            credentials: GcsCredentials::Anonymous,
            ..GcsConfig::default()
        });
        let azure = StoreConfig::Azure(AzureConfig {
            account: "acme".to_owned(),
            container: "states".to_owned(),
            prefix: Some("team".to_owned()),
            credentials: AzureCredentials::AccessKey(Secret::new("c2VjcmV0")),
            ..AzureConfig::default()
        });
        for (config, description) in [
            (s3, "s3://states/team at http://127.0.0.1:9"),
            (gcs, "gs://states"),
            (azure, "azure://acme/states/team"),
        ] {
            assert_eq!(open(&config).await.unwrap().description, description);
        }
    }

    #[tokio::test]
    async fn what_does_not_add_up_to_a_store_is_an_error_that_names_it() {
        let config = StoreConfig::Azure(AzureConfig {
            account: "acme".to_owned(),
            container: "states".to_owned(),
            credentials: AzureCredentials::AccessKey(Secret::new("not base64!")),
            ..AzureConfig::default()
        });
        let error = open(&config).await.unwrap_err();
        assert_eq!(error.to_string(), "azure://acme/states could not be opened");
    }
}
