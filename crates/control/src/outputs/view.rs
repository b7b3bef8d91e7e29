//! What somebody sees of a state who may see its outputs and nothing else: a state of its own, with the outputs that are
//! granted and no resources, so that an unmodified `terraform_remote_state` reads it.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use opentaco_domain::UnitId;
use opentaco_domain::access::Outputs;
use opentaco_domain::digest::md5_base64;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Output, found_in};
use crate::state::Content;
use crate::{ControlError, StateRead};

#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    about: BTreeMap<&'static str, Box<RawValue>>,
    outputs: BTreeMap<String, Output>,
    resources: [(); 0],
}

/// The view of a state that `granted` allows. It has no version: it is another document for everybody who is granted
/// something else, and must never be taken for the state.
pub(crate) async fn view_of(
    unit: &UnitId,
    state: StateRead,
    granted: &Outputs,
) -> Result<StateRead, ControlError> {
    let (serial, lineage, modified) = (state.serial, state.lineage.clone(), state.modified);
    let mut found = found_in(unit, state, None).await?;
    found
        .outputs
        .retain(|name, output| granted.include(name, output.sensitive));
    let view = View {
        about: found.about,
        outputs: found.outputs,
        resources: [],
    };
    let bytes = serde_json::to_vec(&view).map_err(|error| ControlError::Invalid {
        what: format!("the outputs of `{unit}` cannot be spelled: {error}"),
    })?;
    let bytes = Bytes::from(bytes);
    Ok(StateRead {
        size: bytes.len() as u64,
        version: None,
        serial,
        lineage,
        content: Content::Md5(md5_base64(&bytes)),
        modified,
        body: stream::once(async move { Ok(bytes) }.boxed()).boxed(),
    })
}
