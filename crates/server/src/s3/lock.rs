//! Lock files: the lock of the unit, the same as everywhere. Who holds it is the session of the credentials.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use opentaco_control::objects::LockFile;
use opentaco_control::{Door, LockRequest};
use opentaco_domain::digest::md5_base64;
use opentaco_domain::limits::LOCK_BODY_BYTES_MAX;
use opentaco_domain::{LockInfo, UnitId};

use crate::extract::introduced;
use crate::s3::error::{Code, Refused};
use crate::s3::objects::About;
use crate::s3::payload::hex_of;
use crate::s3::{Call, stored};

/// The lock file.
pub(super) async fn get(call: &Call, unit: &UnitId) -> Result<Response, Refused> {
    let (file, about) = found(call, unit).await?;
    Ok(about.whole(Body::from(file.bytes)))
}

/// What is said of it.
pub(super) async fn head(call: &Call, unit: &UnitId) -> Result<Response, Refused> {
    let (_, about) = found(call, unit).await?;
    Ok(about.whole(Body::empty()))
}

async fn found(call: &Call, unit: &UnitId) -> Result<(LockFile, About), Refused> {
    let bucket = &call.app.s3_bucket;
    let file = call
        .app
        .control
        .lock_file(&call.caller, unit, bucket, Some(&call.signer.signed))
        .await?;
    let file =
        file.ok_or_else(|| Refused::new(Code::NoSuchKey, format!("nobody holds the lock of `{unit}`")))?;
    let about = About::file(file.bytes.len(), hex_of(&md5_base64(&file.bytes)), file.since);
    about.judge(call.headers())?;
    Ok((file, about))
}

/// Takes the lock. With a condition or without: a lock that somebody holds is never overwritten.
pub(super) async fn put(call: Call, unit: UnitId, body: Body) -> Result<Response, Refused> {
    let is_usual = call
        .header(IF_NONE_MATCH.as_str())
        .is_none_or(|value| value.trim() == "*");
    if !is_usual || call.headers().contains_key(IF_MATCH) {
        let message = "a lock is taken with If-None-Match: *, and nothing was locked";
        return Err(Refused::new(Code::NotImplemented, message));
    }
    let announced = call.announced()?;
    let limit = LOCK_BODY_BYTES_MAX as u64;
    let (sent, checksums) = announced
        .receive_small(&call.app.bodies, call.headers(), body, limit)
        .await?;
    let info = LockInfo::from_json(&sent).map_err(|error| {
        let message = format!(
            "what was put describes no lock: {error}. Terraform and OpenTofu put a JSON object with at least an ID"
        );
        Refused::new(Code::InvalidRequest, message)
    })?;
    let answer = stored(&md5_base64(&sent), &checksums);
    let caller = call.caller;
    let lock = LockRequest {
        info: introduced(&caller, info),
        sent,
        door: Door::S3,
        credential: Some(call.signer.signed),
    };
    call.app
        .carry_through(|control| async move { control.lock(&caller, &unit, lock).await })
        .await?;
    Ok(answer)
}

/// Gives the lock back; that nobody holds it is success.
pub(super) async fn delete(call: &Call, unit: &UnitId) -> Result<Response, Refused> {
    if call.headers().contains_key(IF_MATCH) {
        let message = "a lock file is deleted without a condition: it is given back by whoever holds it";
        return Err(Refused::new(Code::NotImplemented, message));
    }
    removed(call, unit).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn removed(call: &Call, unit: &UnitId) -> Result<(), Refused> {
    let (caller, unit, signed) = (call.caller.clone(), unit.clone(), call.signer.signed.clone());
    let removed = call
        .app
        .carry_through(|control| async move { control.remove_lock_file(&caller, &unit, &signed).await });
    Ok(removed.await?)
}
