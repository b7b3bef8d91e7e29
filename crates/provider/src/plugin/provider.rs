//! What a provider is to the plugin layer: a schema, and verbs for each kind of thing.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::diagnostic::Diagnostic;
use super::object::Object;
use super::schema::Schema;
use super::value::Value;

/// A provider.
pub trait Provider: Send + Sync + 'static {
    /// What its resources ask for things.
    type Client: Clone + Send + Sync + 'static;

    /// How it is configured.
    fn schema(&self) -> Schema;

    /// Its resources, by their type.
    fn resources(&self) -> BTreeMap<&'static str, Box<dyn Resource<Self::Client>>>;

    /// Its data sources, by their type.
    fn data_sources(&self) -> BTreeMap<&'static str, Box<dyn DataSource<Self::Client>>>;

    /// Understands a configuration.
    ///
    /// # Errors
    /// With what is wrong with it.
    fn configure(&self, configured: &Object) -> Result<Self::Client, Diagnostic>;
}

/// Why something was not done, and what there is nevertheless.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub why: Diagnostic,
    /// The resource as it was left behind; none if there is none.
    pub left: Option<Object>,
}

impl From<Diagnostic> for Failed {
    fn from(why: Diagnostic) -> Self {
        Self { why, left: None }
    }
}

/// What there is of a resource.
#[derive(Debug, Default)]
pub struct Found {
    /// The resource as it is; none if it is not there any more.
    pub object: Option<Object>,
    /// What whoever looks at it should know.
    pub warning: Option<Diagnostic>,
}

impl Found {
    /// It is not there any more.
    #[must_use]
    pub fn gone() -> Self {
        Self::default()
    }
}

impl From<Object> for Found {
    fn from(object: Object) -> Self {
        Self {
            object: Some(object),
            warning: None,
        }
    }
}

/// A kind of resource: a schema, and the verbs.
#[async_trait]
pub trait Resource<C>: Send + Sync {
    /// Its attributes.
    fn schema(&self) -> Schema;

    /// How it is imported: what an id looks like, with an example.
    fn import_id(&self) -> ImportId;

    /// What is wrong with a configuration beside of what its attributes tell one by one. What is not known yet is not
    /// wrong.
    fn check(&self, _configured: &Object) -> Vec<Diagnostic> {
        Vec::new()
    }

    /// Sets the attributes that follow from others.
    fn derive(&self, _planned: &mut Object) {}

    /// Whether another value of an attribute that [replaces](super::schema::Attribute::replacing) makes another resource,
    /// and is not the same in another spelling.
    fn is_another(&self, _attribute: &str, prior: &Value, planned: &Value) -> bool {
        prior != planned
    }

    /// Makes it. What is answered is what the service says of it; what was planned stays as it was planned.
    async fn create(&self, client: &C, planned: &Object) -> Result<Object, Failed>;

    /// Looks at it.
    async fn read(&self, client: &C, state: &Object) -> Result<Found, Diagnostic>;

    /// Changes it. As [`create`](Self::create).
    async fn update(&self, client: &C, prior: &Object, planned: &Object) -> Result<Object, Failed>;

    /// Removes it; one that is gone already is removed.
    async fn delete(&self, client: &C, prior: &Object) -> Result<(), Diagnostic>;

    /// Finds what is known by this id: enough of it to be read.
    async fn import(&self, client: &C, id: &str) -> Result<Object, Diagnostic>;
}

/// How a resource is imported.
#[derive(Debug, Clone, Copy)]
pub struct ImportId {
    /// What the id is, in Markdown, as the end of "It is imported by …".
    pub about: &'static str,
    /// One.
    pub example: &'static str,
}

/// A kind of data source: a schema, and one verb.
#[async_trait]
pub trait DataSource<C>: Send + Sync {
    /// Its attributes.
    fn schema(&self) -> Schema;

    /// Looks at it. What was configured stays as it was.
    async fn read(&self, client: &C, configured: &Object) -> Result<Object, Diagnostic>;
}
