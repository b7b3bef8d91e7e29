//! Which store, and what it takes to reach it.

use std::path::{Path, PathBuf};

use opentaco_control::{
    AzureConfig, AzureCredentials, GcsConfig, GcsCredentials, S3Config, Secret, StoreConfig,
};

use super::given::Given;
use super::{ConfigError, Environment};

/// The store that is asked for by name; else the one whose bucket is named; else local disk.
pub(super) fn choose(
    given: &Given,
    environment: Environment<'_>,
    data_dir: &Path,
) -> Result<StoreConfig, ConfigError> {
    let named = given.text("storage");
    let implied = [
        ("s3-bucket", "s3"),
        ("gcs-bucket", "gcs"),
        ("azure-container", "azure"),
    ];
    let implied = implied
        .iter()
        .find(|(flag, _)| given.text(flag).is_some())
        .map(|(_, store)| *store);
    match named.or(implied).unwrap_or("local") {
        "memory" => Ok(StoreConfig::Memory),
        // In a directory of its own: beside it stands what is ours, and a unit may be called `root-token`.
        "local" => Ok(StoreConfig::Local {
            directory: data_dir.join("bucket"),
            prefix: None,
        }),
        "s3" => s3(given).map(StoreConfig::S3),
        "gcs" => gcs(given, environment).map(StoreConfig::Gcs),
        "azure" => azure(given, environment).map(StoreConfig::Azure),
        _ => Err(given.refuse("storage", "none of local, s3, gcs, azure and memory")),
    }
}

fn s3(given: &Given) -> Result<S3Config, ConfigError> {
    let virtual_hosted = match given.text("s3-virtual-hosted") {
        Some(_) => Some(given.switch("s3-virtual-hosted")?),
        None => None,
    };
    Ok(S3Config {
        bucket: required(given, "s3-bucket", "OPENTACO_S3_BUCKET")?,
        prefix: given.owned("s3-prefix"),
        region: given.owned("s3-region"),
        endpoint: given.owned("s3-endpoint"),
        virtual_hosted,
        credentials: None,
    })
}

fn gcs(given: &Given, environment: Environment<'_>) -> Result<GcsConfig, ConfigError> {
    let endpoint = given.owned("gcs-endpoint");
    let credentials = match environment("GOOGLE_APPLICATION_CREDENTIALS").filter(|file| !file.is_empty()) {
        Some(file) => GcsCredentials::File(PathBuf::from(file)),
        // An endpoint of one's own is an emulator, and they know nobody.
        None if endpoint.is_some() => GcsCredentials::Anonymous,
        None => GcsCredentials::Default,
    };
    Ok(GcsConfig {
        bucket: required(given, "gcs-bucket", "OPENTACO_GCS_BUCKET")?,
        prefix: given.owned("gcs-prefix"),
        endpoint,
        credentials,
    })
}

fn azure(given: &Given, environment: Environment<'_>) -> Result<AzureConfig, ConfigError> {
    Ok(AzureConfig {
        account: required(given, "azure-account", "OPENTACO_AZURE_ACCOUNT")?,
        container: required(given, "azure-container", "OPENTACO_AZURE_CONTAINER")?,
        prefix: given.owned("azure-prefix"),
        endpoint: given.owned("azure-endpoint"),
        credentials: azure_credentials(given, environment)?,
    })
}

/// By the variables that Azure's own tools use, the most particular one first.
fn azure_credentials(given: &Given, environment: Environment<'_>) -> Result<AzureCredentials, ConfigError> {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    if given.switch("azure-use-cli")? {
        return Ok(AzureCredentials::Cli);
    }
    if let Some(key) = variable("AZURE_STORAGE_KEY") {
        return Ok(AzureCredentials::AccessKey(Secret::new(key)));
    }
    if let Some(signature) = variable("AZURE_STORAGE_SAS_TOKEN") {
        return Ok(AzureCredentials::SharedAccessSignature(Secret::new(signature)));
    }
    let (client_id, tenant_id) = (variable("AZURE_CLIENT_ID"), variable("AZURE_TENANT_ID"));
    Ok(
        match (
            client_id,
            tenant_id,
            variable("AZURE_CLIENT_SECRET"),
            variable("AZURE_FEDERATED_TOKEN_FILE"),
        ) {
            (Some(client_id), Some(tenant_id), Some(secret), _) => AzureCredentials::ClientSecret {
                tenant_id,
                client_id,
                client_secret: Secret::new(secret),
            },
            (Some(client_id), Some(tenant_id), None, Some(file)) => AzureCredentials::WorkloadIdentity {
                tenant_id,
                client_id,
                token_file: PathBuf::from(file),
            },
            (Some(client_id), _, _, _) => AzureCredentials::ManagedIdentity { client_id },
            (None, _, _, _) => AzureCredentials::Machine,
        },
    )
}

fn required(given: &Given, flag: &str, variable: &str) -> Result<String, ConfigError> {
    given.owned(flag).ok_or_else(|| {
        let store = given.origin("storage");
        ConfigError::new(format!(
            "{store} asks for a store that needs -{flag} (or {variable}), and it is not set"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Asked, ConfigError, understand};
    use super::*;

    fn asked(arguments: &[&str], variables: &[(&str, &str)]) -> Result<StoreConfig, ConfigError> {
        let arguments: Vec<String> = ["doctor"]
            .iter()
            .chain(arguments)
            .map(|argument| (*argument).to_owned())
            .collect();
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        match understand(&arguments, &|name| {
            variables.get(name).map(|value| (*value).to_owned())
        })? {
            Asked::Doctor(store) => Ok(store),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_word_states_rest_on_local_disk_beside_nothing_of_ours() {
        let StoreConfig::Local { directory, prefix } = asked(&[], &[]).unwrap() else {
            panic!()
        };
        assert_eq!((directory, prefix), (PathBuf::from("opentaco-data/bucket"), None));
        let moved = asked(&["-data-dir", "/srv/taco"], &[("OPENTACO_DATA_DIR", "/var/taco")]).unwrap();
        let StoreConfig::Local { directory, .. } = moved else {
            panic!()
        };
        assert_eq!(directory, PathBuf::from("/srv/taco/bucket"));
    }

    #[test]
    fn naming_a_bucket_is_asking_for_its_store_and_a_store_by_name_wins() {
        assert!(matches!(
            asked(&[], &[("OPENTACO_S3_BUCKET", "b")]).unwrap(),
            StoreConfig::S3(_)
        ));
        assert!(matches!(
            asked(&["-gcs-bucket=b"], &[]).unwrap(),
            StoreConfig::Gcs(_)
        ));
        let azure = asked(&["--azure-container=c"], &[("AZURE_STORAGE_ACCOUNT", "a")]).unwrap();
        assert!(matches!(azure, StoreConfig::Azure(_)));
        let memory = asked(&["-storage", "memory"], &[("OPENTACO_S3_BUCKET", "b")]).unwrap();
        assert!(matches!(memory, StoreConfig::Memory));
    }

    #[test]
    fn a_store_without_its_bucket_is_refused_with_what_to_set() {
        let error = asked(&["-storage=s3"], &[]).unwrap_err().to_string();
        assert!(
            error.contains("-s3-bucket") && error.contains("OPENTACO_S3_BUCKET"),
            "{error}"
        );
        let error = asked(&[], &[("OPENTACO_STORAGE", "floppy")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("OPENTACO_STORAGE") && error.contains("floppy"),
            "{error}"
        );
    }

    #[test]
    fn the_s3_endpoint_is_ours_before_amazons_own_variables() {
        let endpoint = |variables: &[(&str, &str)]| {
            let StoreConfig::S3(s3) = asked(&["-s3-bucket", "b"], variables).unwrap() else {
                panic!()
            };
            (s3.endpoint, s3.virtual_hosted)
        };
        let ours = ("OPENTACO_S3_ENDPOINT", "http://ours");
        let service = ("AWS_ENDPOINT_URL_S3", "http://service");
        let all = ("AWS_ENDPOINT_URL", "http://all");
        assert_eq!(endpoint(&[ours, service, all]).0.as_deref(), Some("http://ours"));
        assert_eq!(endpoint(&[service, all]).0.as_deref(), Some("http://service"));
        assert_eq!(endpoint(&[all]).0.as_deref(), Some("http://all"));
        assert_eq!(endpoint(&[]), (None, None));
        assert_eq!(endpoint(&[("OPENTACO_S3_VIRTUAL_HOSTED", "no")]).1, Some(false));
    }

    #[test]
    fn azure_credentials_are_the_most_particular_that_are_set() {
        let credentials = |variables: &[(&str, &str)]| {
            let store = asked(&["-azure-container=c", "-azure-account=a"], variables).unwrap();
            let StoreConfig::Azure(azure) = store else {
                panic!()
            };
            azure.credentials
        };
        let (client, tenant) = (("AZURE_CLIENT_ID", "c"), ("AZURE_TENANT_ID", "t"));
        let (secret, file) = (
            ("AZURE_CLIENT_SECRET", "hush"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
        );
        assert!(matches!(credentials(&[]), AzureCredentials::Machine));
        assert!(matches!(
            credentials(&[client]),
            AzureCredentials::ManagedIdentity { .. }
        ));
        assert!(matches!(
            credentials(&[client, tenant, file]),
            AzureCredentials::WorkloadIdentity { .. }
        ));
        assert!(matches!(
            credentials(&[client, tenant, secret, file]),
            AzureCredentials::ClientSecret { .. }
        ));
        assert!(matches!(
            credentials(&[client, ("AZURE_STORAGE_KEY", "k")]),
            AzureCredentials::AccessKey(_)
        ));
        assert!(matches!(
            credentials(&[("OPENTACO_AZURE_USE_CLI", "1")]),
            AzureCredentials::Cli
        ));
        assert!(!format!("{:?}", credentials(&[client, tenant, secret])).contains("hush"));
    }
}
