//! The protocol's requests, answered with the provider's verbs.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::RwLock;

use serde_json::value::RawValue;
use tokio::sync::{Semaphore, watch};
use tonic::{Request, Response, Status};

use super::diagnostic::{self, Diagnostic};
use super::json;
use super::object::Object;
use super::plan::{Plan, plan};
use super::proto::tfplugin6::provider_server;
use super::proto::tfplugin6::{self as wire, DynamicValue};
use super::provider::{DataSource, Provider, Resource};
use super::schema::Schema;
use super::types::Type;

/// How many things are done at a time, however many the client asks for. Terraform asks for ten.
const AT_ONCE: usize = 16;

type Answer<T> = Result<Response<T>, Status>;

/// A provider that answers.
pub struct Service<P: Provider> {
    provider: P,
    schema: Schema,
    resources: BTreeMap<&'static str, Served<dyn Resource<P::Client>>>,
    data_sources: BTreeMap<&'static str, Served<dyn DataSource<P::Client>>>,
    client: RwLock<Option<P::Client>>,
    turns: Semaphore,
    stopped: watch::Sender<bool>,
}

/// A resource or a data source, with what its schema says.
struct Served<T: ?Sized> {
    schema: Schema,
    kind: Type,
    verbs: Box<T>,
}

impl<P: Provider> std::fmt::Debug for Service<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Service")
            .field("resources", &self.resources.keys())
            .field("data_sources", &self.data_sources.keys())
            .finish_non_exhaustive()
    }
}

impl<P: Provider> Service<P> {
    /// Has a provider answer.
    #[must_use]
    pub fn new(provider: P) -> Self {
        let resources = provider.resources().into_iter().map(|(name, verbs)| {
            let schema = verbs.schema();
            let kind = schema.value_type();
            (name, Served { schema, kind, verbs })
        });
        let data_sources = provider.data_sources().into_iter().map(|(name, verbs)| {
            let schema = verbs.schema();
            let kind = schema.value_type();
            (name, Served { schema, kind, verbs })
        });
        Self {
            schema: provider.schema(),
            resources: resources.collect(),
            data_sources: data_sources.collect(),
            provider,
            client: RwLock::new(None),
            turns: Semaphore::new(AT_ONCE),
            stopped: watch::Sender::new(false),
        }
    }

    fn resource(&self, name: &str) -> Result<&Served<dyn Resource<P::Client>>, Status> {
        self.resources
            .get(name)
            .ok_or_else(|| Status::invalid_argument(format!("there is no resource `{name}`")))
    }

    fn data_source(&self, name: &str) -> Result<&Served<dyn DataSource<P::Client>>, Status> {
        self.data_sources
            .get(name)
            .ok_or_else(|| Status::invalid_argument(format!("there is no data source `{name}`")))
    }

    fn client(&self) -> Result<P::Client, Status> {
        let client = self
            .client
            .read()
            .expect("nobody panics while a client is cloned");
        client
            .clone()
            .ok_or_else(|| Status::failed_precondition("the provider was not configured"))
    }

    /// Waits for a turn, and does it to its end. Once Terraform is interrupted nothing is begun.
    async fn in_turn<T>(&self, doing: impl Future<Output = T>) -> Result<T, Diagnostic> {
        let mut stopped = self.stopped.subscribe();
        let _turn = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return Err(interrupted()),
            turn = self.turns.acquire() => turn,
        };
        Ok(doing.await)
    }

    /// The same for what changes nothing: it ends when Terraform is interrupted.
    async fn until_stopped<T>(
        &self,
        doing: impl Future<Output = Result<T, Diagnostic>>,
    ) -> Result<T, Diagnostic> {
        let mut stopped = self.stopped.subscribe();
        tokio::select! {
            done = self.in_turn(doing) => done?,
            _ = stopped.wait_for(|stopped| *stopped) => Err(interrupted()),
        }
    }
}

fn interrupted() -> Diagnostic {
    Diagnostic::new("Interrupted", "Nothing was changed by this.")
}

fn read(value: Option<&DynamicValue>, kind: &Type) -> Result<Option<Object>, Status> {
    let bytes = value.map(|value| value.msgpack.as_slice()).unwrap_or_default();
    Object::read(bytes, kind).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn written(object: &Object, kind: &Type) -> Option<DynamicValue> {
    Some(DynamicValue {
        msgpack: object.write(kind),
        json: Vec::new(),
    })
}

fn nothing() -> Option<DynamicValue> {
    Some(DynamicValue {
        msgpack: vec![0xc0],
        json: Vec::new(),
    })
}

fn written_or_nothing(object: Option<&Object>, kind: &Type) -> Option<DynamicValue> {
    object.map_or_else(nothing, |object| written(object, kind))
}

fn told(diagnostics: impl IntoIterator<Item = Diagnostic>) -> Vec<wire::Diagnostic> {
    diagnostics.into_iter().map(Into::into).collect()
}

fn capabilities() -> wire::ServerCapabilities {
    wire::ServerCapabilities {
        plan_destroy: false,
        // Terraform asks for the schema once, and starts us three more times for a command.
        get_provider_schema_optional: true,
        move_resource_state: false,
        generate_resource_config: false,
    }
}

fn names<'a>(names: impl Iterator<Item = &'a &'static str>) -> Vec<wire::get_metadata::Named> {
    names
        .map(|name| wire::get_metadata::Named {
            type_name: (*name).to_owned(),
        })
        .collect()
}

/// A state as it stands in a file, read by our schema.
fn upgraded(raw: Option<wire::RawState>, kind: &Type) -> Result<Object, Diagnostic> {
    let refused = |why: String| Diagnostic::new("The state of this resource cannot be read", why);
    let raw = raw.unwrap_or_default();
    if raw.json.is_empty() {
        return Err(refused(
            "It is not in JSON: an old Terraform has written it.".to_owned(),
        ));
    }
    let json: &RawValue = serde_json::from_slice(&raw.json).map_err(|error| refused(error.to_string()))?;
    let value = json::read(json, kind).map_err(|error| refused(error.to_string()))?;
    Object::in_value(&value).ok_or_else(|| refused("It is no object.".to_owned()))
}

#[tonic::async_trait]
impl<P: Provider> provider_server::Provider for Service<P> {
    async fn get_metadata(
        &self,
        _: Request<wire::get_metadata::Request>,
    ) -> Answer<wire::get_metadata::Response> {
        Ok(Response::new(wire::get_metadata::Response {
            server_capabilities: Some(capabilities()),
            diagnostics: Vec::new(),
            data_sources: names(self.data_sources.keys()),
            resources: names(self.resources.keys()),
        }))
    }

    async fn get_provider_schema(
        &self,
        _: Request<wire::get_provider_schema::Request>,
    ) -> Answer<wire::get_provider_schema::Response> {
        let resources = self.resources.iter();
        let data_sources = self.data_sources.iter();
        Ok(Response::new(wire::get_provider_schema::Response {
            provider: Some(self.schema.to_wire()),
            resource_schemas: resources
                .map(|(name, served)| ((*name).to_owned(), served.schema.to_wire()))
                .collect(),
            data_source_schemas: data_sources
                .map(|(name, served)| ((*name).to_owned(), served.schema.to_wire()))
                .collect(),
            diagnostics: Vec::new(),
            server_capabilities: Some(capabilities()),
        }))
    }

    async fn get_resource_identity_schemas(
        &self,
        _: Request<wire::get_resource_identity_schemas::Request>,
    ) -> Answer<wire::get_resource_identity_schemas::Response> {
        Ok(Response::new(Default::default()))
    }

    async fn get_functions(
        &self,
        _: Request<wire::get_functions::Request>,
    ) -> Answer<wire::get_functions::Response> {
        Ok(Response::new(Default::default()))
    }

    async fn call_function(
        &self,
        request: Request<wire::call_function::Request>,
    ) -> Answer<wire::call_function::Response> {
        let text = format!("this provider has no function `{}`", request.get_ref().name);
        Ok(Response::new(wire::call_function::Response {
            result: None,
            error: Some(wire::FunctionError {
                text,
                function_argument: None,
            }),
        }))
    }

    async fn validate_provider_config(
        &self,
        request: Request<wire::validate_provider_config::Request>,
    ) -> Answer<wire::validate_provider_config::Response> {
        let configured =
            read(request.get_ref().config.as_ref(), &self.schema.value_type())?.unwrap_or_default();
        Ok(Response::new(wire::validate_provider_config::Response {
            diagnostics: told(self.schema.faults(&configured)),
        }))
    }

    async fn configure_provider(
        &self,
        request: Request<wire::configure_provider::Request>,
    ) -> Answer<wire::configure_provider::Response> {
        let configured =
            read(request.get_ref().config.as_ref(), &self.schema.value_type())?.unwrap_or_default();
        let wrong = match self.provider.configure(&configured) {
            Ok(client) => {
                *self.client.write().expect("nobody panics while a client is kept") = Some(client);
                // With `--debug` one run comes after the other, and the one before may have been interrupted.
                self.stopped.send_replace(false);
                None
            }
            Err(wrong) => Some(wrong),
        };
        Ok(Response::new(wire::configure_provider::Response {
            diagnostics: told(wrong),
        }))
    }

    async fn stop_provider(
        &self,
        _: Request<wire::stop_provider::Request>,
    ) -> Answer<wire::stop_provider::Response> {
        self.stopped.send_replace(true);
        Ok(Response::new(Default::default()))
    }

    async fn validate_resource_config(
        &self,
        request: Request<wire::validate_resource_config::Request>,
    ) -> Answer<wire::validate_resource_config::Response> {
        let request = request.into_inner();
        let served = self.resource(&request.type_name)?;
        let configured = read(request.config.as_ref(), &served.kind)?.unwrap_or_default();
        let mut diagnostics = served.schema.faults(&configured);
        diagnostics.extend(served.verbs.check(&configured));
        Ok(Response::new(wire::validate_resource_config::Response {
            diagnostics: told(diagnostics),
        }))
    }

    async fn upgrade_resource_state(
        &self,
        request: Request<wire::upgrade_resource_state::Request>,
    ) -> Answer<wire::upgrade_resource_state::Response> {
        let request = request.into_inner();
        let served = self.resource(&request.type_name)?;
        let response = match upgraded(request.raw_state, &served.kind) {
            Ok(state) => wire::upgrade_resource_state::Response {
                upgraded_state: written(&state, &served.kind),
                diagnostics: Vec::new(),
            },
            Err(why) => wire::upgrade_resource_state::Response {
                upgraded_state: None,
                diagnostics: told([why]),
            },
        };
        Ok(Response::new(response))
    }

    async fn read_resource(
        &self,
        request: Request<wire::read_resource::Request>,
    ) -> Answer<wire::read_resource::Response> {
        let request = request.into_inner();
        let served = self.resource(&request.type_name)?;
        let client = self.client()?;
        let state = read(request.current_state.as_ref(), &served.kind)?;
        let (new_state, diagnostics) = match state {
            None => (nothing(), Vec::new()),
            Some(state) => match self.until_stopped(served.verbs.read(&client, &state)).await {
                Ok(found) => (
                    written_or_nothing(found.object.as_ref(), &served.kind),
                    told(found.warning),
                ),
                Err(why) => (request.current_state, told([why])),
            },
        };
        Ok(Response::new(wire::read_resource::Response {
            new_state,
            diagnostics,
            private: request.private,
        }))
    }

    async fn plan_resource_change(
        &self,
        request: Request<wire::plan_resource_change::Request>,
    ) -> Answer<wire::plan_resource_change::Response> {
        let request = request.into_inner();
        let served = self.resource(&request.type_name)?;
        let prior = read(request.prior_state.as_ref(), &served.kind)?;
        let configured = read(request.config.as_ref(), &served.kind)?.unwrap_or_default();
        let mut response = wire::plan_resource_change::Response {
            planned_state: nothing(),
            planned_private: request.prior_private,
            ..Default::default()
        };
        if let Some(proposed) = read(request.proposed_new_state.as_ref(), &served.kind)? {
            let derive = |planned: &mut Object| served.verbs.derive(planned);
            let is_another =
                |name: &str, prior: &_, planned: &_| served.verbs.is_another(name, prior, planned);
            let Plan { planned, replacing } = plan(
                &served.schema,
                prior.as_ref(),
                proposed,
                &configured,
                derive,
                is_another,
            );
            response.planned_state = written(&planned, &served.kind);
            response.requires_replace = replacing.into_iter().map(diagnostic::to_wire).collect();
        }
        Ok(Response::new(response))
    }

    async fn apply_resource_change(
        &self,
        request: Request<wire::apply_resource_change::Request>,
    ) -> Answer<wire::apply_resource_change::Response> {
        let request = request.into_inner();
        let served = self.resource(&request.type_name)?;
        let client = self.client()?;
        let prior = read(request.prior_state.as_ref(), &served.kind)?;
        let planned = read(request.planned_state.as_ref(), &served.kind)?;
        let verbs = &served.verbs;
        let (state, why) = match (prior, planned) {
            (None, None) => (None, None),
            (Some(prior), None) => match self.in_turn(verbs.delete(&client, &prior)).await {
                Ok(Ok(())) => (None, None),
                Ok(Err(why)) | Err(why) => (Some(prior), Some(why)),
            },
            (prior, Some(planned)) => {
                let done = match &prior {
                    None => self.in_turn(verbs.create(&client, &planned)).await,
                    Some(prior) => self.in_turn(verbs.update(&client, prior, &planned)).await,
                };
                match done.unwrap_or_else(|why| Err(why.into())) {
                    Ok(known) => {
                        let mut state = planned;
                        state.learn(&known);
                        (Some(state), None)
                    }
                    Err(failed) => (failed.left.or(prior), Some(failed.why)),
                }
            }
        };
        Ok(Response::new(wire::apply_resource_change::Response {
            new_state: written_or_nothing(state.as_ref(), &served.kind),
            private: request.planned_private,
            diagnostics: told(why),
        }))
    }

    async fn import_resource_state(
        &self,
        request: Request<wire::import_resource_state::Request>,
    ) -> Answer<wire::import_resource_state::Response> {
        let request = request.into_inner();
        let served = self.resource(&request.type_name)?;
        let client = self.client()?;
        let response = match self
            .until_stopped(served.verbs.import(&client, &request.id))
            .await
        {
            Ok(found) => wire::import_resource_state::Response {
                imported_resources: vec![wire::import_resource_state::ImportedResource {
                    type_name: request.type_name,
                    state: written(&found, &served.kind),
                    private: Vec::new(),
                }],
                diagnostics: Vec::new(),
            },
            Err(why) => wire::import_resource_state::Response {
                imported_resources: Vec::new(),
                diagnostics: told([why]),
            },
        };
        Ok(Response::new(response))
    }

    async fn move_resource_state(
        &self,
        request: Request<wire::move_resource_state::Request>,
    ) -> Answer<wire::move_resource_state::Response> {
        let request = request.into_inner();
        let why = format!(
            "`{}` cannot become `{}`: remove the one from the state, and import the other.",
            request.source_type_name, request.target_type_name
        );
        Ok(Response::new(wire::move_resource_state::Response {
            target_state: None,
            diagnostics: told([Diagnostic::new("Resources keep their type here", why)]),
        }))
    }

    async fn validate_data_resource_config(
        &self,
        request: Request<wire::validate_data_resource_config::Request>,
    ) -> Answer<wire::validate_data_resource_config::Response> {
        let request = request.into_inner();
        let served = self.data_source(&request.type_name)?;
        let configured = read(request.config.as_ref(), &served.kind)?.unwrap_or_default();
        Ok(Response::new(wire::validate_data_resource_config::Response {
            diagnostics: told(served.schema.faults(&configured)),
        }))
    }

    async fn read_data_source(
        &self,
        request: Request<wire::read_data_source::Request>,
    ) -> Answer<wire::read_data_source::Response> {
        let request = request.into_inner();
        let served = self.data_source(&request.type_name)?;
        let client = self.client()?;
        let configured = read(request.config.as_ref(), &served.kind)?.unwrap_or_default();
        let response = match self.until_stopped(served.verbs.read(&client, &configured)).await {
            Ok(found) => {
                let mut state = configured;
                for attribute in &served.schema.attributes {
                    if !attribute.giver.may_be_configured() {
                        state.set(attribute.name, found.get(attribute.name).clone());
                    }
                }
                wire::read_data_source::Response {
                    state: written(&state, &served.kind),
                    diagnostics: Vec::new(),
                }
            }
            Err(why) => wire::read_data_source::Response {
                state: nothing(),
                diagnostics: told([why]),
            },
        };
        Ok(Response::new(response))
    }
}
