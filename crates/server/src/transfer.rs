//! States on their way in and out, the same through every door: what is said of their bytes, how they are sent, and how
//! one that arrives becomes a write.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures::TryStreamExt as _;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use opentaco_control::{ControlError, Door, Receipt, StateRead, StateWrite};
use opentaco_domain::{Caller, Holding, UnitId, VersionId};

use crate::app::App;
use crate::bodies::{Arrived, BodyError};
use crate::problem::chain;

/// What a state is sent as.
pub(crate) const JSON: &str = "application/json";

/// A version as an ETag.
pub(crate) fn etag(version: &VersionId) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("a version id is visible ASCII")
}

/// What is said of bytes, without them.
pub(crate) fn described(state: &StateRead, content_type: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(state.size));
    if let Some(version) = &state.version {
        headers.insert(ETAG, etag(version));
    }
    response
}

/// Bytes, as they come.
pub(crate) fn sent(unit: UnitId, state: StateRead, content_type: &'static str) -> Response {
    let mut response = described(&state, content_type);
    let body = state.body.inspect_err(move |error| {
        // The status is long sent; all that is left is to break off, which the client notices by the length.
        tracing::error!(%unit, cause = chain(error), "bytes could not be sent to their end");
    });
    *response.body_mut() = Body::from_stream(body);
    response
}

/// A state that has arrived whole.
pub(crate) struct Upload(Arrived);

impl Upload {
    /// Reads the state in `request`.
    ///
    /// # Errors
    /// If it does not arrive, or is empty.
    pub(crate) async fn read<E>(app: &App, unit: &UnitId, request: Request) -> Result<Self, E>
    where
        E: From<BodyError> + From<ControlError>,
    {
        let (parts, body) = request.into_parts();
        let arrived = app.bodies.read_state(&parts.headers, body).await?;
        if arrived.bytes.is_empty() {
            let what = format!(
                "there is no state in this request for `{unit}`: its body is empty. Nothing was written"
            );
            return Err(ControlError::Invalid { what }.into());
        }
        Ok(Self(arrived))
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// A plain write of it.
    pub(crate) fn to_write(&self, holding: Holding, door: Door) -> StateWrite {
        StateWrite {
            md5: self.0.md5.clone(),
            ..StateWrite::new(self.0.bytes.clone(), holding, door)
        }
    }

    /// Carries `write` through, which was made of it, and gives back its memory only then.
    ///
    /// # Errors
    /// As the operation has them.
    pub(crate) async fn carry_through(
        self,
        app: &App,
        caller: Caller,
        unit: UnitId,
        write: StateWrite,
    ) -> Result<Receipt, ControlError> {
        app.carry_through(|control| async move {
            let receipt = control.write_state(&caller, &unit, write).await;
            drop(self);
            receipt
        })
        .await
    }
}
