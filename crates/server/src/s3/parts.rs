//! States that are sent in parts: each at whichever replica, in any order. Completing makes a write of them, like any
//! other; asked for twice, it is answered twice.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use jiff::Timestamp;
use opentaco_control::uploads::{Completed, Part, Standing, UploadId};
use opentaco_control::{Door, IfContent, StateWrite};
use opentaco_domain::digest::md5_base64;
use opentaco_domain::{Sha256, UnitId};
use serde::{Deserialize, Serialize};

use crate::s3::checksum::Checksum;
use crate::s3::error::{Code, Refused};
use crate::s3::listing::{CommonPrefix, PAGE, encodes, spelled};
use crate::s3::objects::condition;
use crate::s3::payload::hex_of;
use crate::s3::{Call, DOCUMENT_BYTES_MAX, stored, xml};

/// S3 has no more parts.
const NUMBER_MAX: u16 = 10_000;

/// No part but the last is smaller.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;

#[derive(Serialize)]
#[serde(rename = "InitiateMultipartUploadResult", rename_all = "PascalCase")]
struct Begun<'a> {
    #[serde(rename = "@xmlns")]
    xmlns: &'static str,
    bucket: &'a str,
    key: String,
    upload_id: String,
}

/// Begins an upload.
pub(super) async fn create(call: &Call, unit: &UnitId) -> Result<Response, Refused> {
    let id = call.app.control.begin_upload(&call.caller, unit).await?;
    Ok(xml::document(&Begun {
        xmlns: xml::NAMESPACE,
        bucket: &call.app.s3_bucket,
        key: unit.state_key(),
        upload_id: id.to_string(),
    }))
}

/// Takes a part.
pub(super) async fn upload(call: Call, unit: UnitId, body: Body) -> Result<Response, Refused> {
    let number = call
        .query
        .get("partNumber")
        .and_then(|number| number.parse().ok());
    let number = number
        .filter(|number| (1..=NUMBER_MAX).contains(number))
        .ok_or_else(|| Refused::new(Code::InvalidArgument, "partNumber is a number from 1 to 10000"))?;
    let id = under_way(&call, &unit).await?;
    let announced = call.announced()?;
    let received = announced.receive(&call.app, call.headers(), body).await?;
    let md5 = hex_of(&received.md5);
    let bytes = received.arrived.bytes.clone();
    let caller = call.caller;
    let kept = call.app.carry_through(|control| async move {
        let kept = control.put_part(&caller, &unit, &id, (number, &md5), bytes).await;
        let answer = stored(&received.md5, &received.checksums);
        drop(received);
        kept.map(|()| answer)
    });
    Ok(kept.await?)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Complete {
    #[serde(default)]
    part: Vec<Wanted>,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(rename = "PartNumber")]
    number: u16,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "ChecksumCRC32")]
    crc32: Option<String>,
    #[serde(rename = "ChecksumCRC32C")]
    crc32c: Option<String>,
    #[serde(rename = "ChecksumCRC64NVME")]
    crc64nvme: Option<String>,
    #[serde(rename = "ChecksumSHA1")]
    sha1: Option<String>,
    #[serde(rename = "ChecksumSHA256")]
    sha256: Option<String>,
}

impl Wanted {
    fn md5(&self) -> &str {
        self.etag.trim().trim_matches('"')
    }

    fn checksums(&self) -> Result<Vec<Checksum>, Refused> {
        let told = [
            ("x-amz-checksum-crc32", &self.crc32),
            ("x-amz-checksum-crc32c", &self.crc32c),
            ("x-amz-checksum-crc64nvme", &self.crc64nvme),
            ("x-amz-checksum-sha1", &self.sha1),
            ("x-amz-checksum-sha256", &self.sha256),
        ];
        let told = told
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)));
        told.map(|(name, value)| Checksum::named(name, value)).collect()
    }
}

#[derive(Serialize)]
#[serde(rename = "CompleteMultipartUploadResult", rename_all = "PascalCase")]
struct Whole<'a> {
    #[serde(rename = "@xmlns")]
    xmlns: &'static str,
    location: String,
    bucket: &'a str,
    key: String,
    #[serde(rename = "ETag")]
    etag: String,
}

/// What a document of parts says: the number and the ETag of each.
pub(super) fn read(document: &[u8]) -> Result<Vec<(u16, String)>, Refused> {
    let Complete { part } = xml::read(document)?;
    Ok(part
        .into_iter()
        .map(|wanted| (wanted.number, wanted.etag))
        .collect())
}

/// Makes the parts the current state.
pub(super) async fn complete(call: Call, unit: UnitId, body: Body) -> Result<Response, Refused> {
    let id = upload_id(&call)?;
    let if_content = condition(call.headers())?;
    let announced = whole_unchecked(&call)?;
    let received = announced.receive_small(&call.app.bodies, call.headers(), body, DOCUMENT_BYTES_MAX);
    let (document, _) = received.await?;
    let Complete { part: wanted } = xml::read(&document)?;
    let asked = words_of(&wanted);
    match call.app.control.upload(&call.caller, &unit, &id).await? {
        Standing::UnderWay => {}
        Standing::Completed(completed) if completed.parts == asked => {
            return Ok(whole(&call, &unit, &completed.md5));
        }
        Standing::Completed(_) | Standing::Unknown => return Err(no_such(&id)),
    }
    let made = assembled(&call, &unit, &id, if_content, &wanted, asked.clone()).await;
    match made {
        Ok(md5) => Ok(whole(&call, &unit, &md5)),
        // An earlier attempt of this request may have come to its end meanwhile, and its parts are gone.
        Err(refused) => match call.app.control.upload(&call.caller, &unit, &id).await {
            Ok(Standing::Completed(completed)) if completed.parts == asked => {
                Ok(whole(&call, &unit, &completed.md5))
            }
            _ => Err(refused),
        },
    }
}

/// Makes a write of the parts that are meant; the MD5 of what it became.
async fn assembled(
    call: &Call,
    unit: &UnitId,
    id: &UploadId,
    if_content: Option<IfContent>,
    wanted: &[Wanted],
    asked: String,
) -> Result<String, Refused> {
    let holding = call.holding();
    let _permit = call
        .app
        .control
        .prepare_write(&call.caller, unit, &holding)
        .await?;
    let parts = call.app.control.parts(&call.caller, unit, id).await?;
    let chosen = choose(wanted, &parts)?;
    let size: u64 = chosen.iter().map(|part| part.size).sum();
    if let Some(told) = call.header("x-amz-mp-object-size")
        && told.parse() != Ok(size)
    {
        let message = format!(
            "the parts have {size} bytes together, and x-amz-mp-object-size says {told}; nothing was changed"
        );
        return Err(Refused::new(Code::InvalidRequest, message));
    }
    let limit = call.app.bodies.limits().one_bytes_max;
    if size > limit {
        let message =
            format!("the parts have {size} bytes together, and a state at most {limit}; nothing was changed");
        return Err(Refused::new(Code::EntityTooLarge, message));
    }
    let room = call.app.bodies.room_for(size).await?;
    let bytes = call.app.control.assemble(&call.caller, unit, id, &chosen).await?;
    let mut rest = bytes.clone();
    for (wanted, part) in wanted.iter().zip(&chosen) {
        let bytes = rest.split_to(usize::try_from(part.size).unwrap_or(rest.len()).min(rest.len()));
        for checksum in wanted.checksums()? {
            checksum.verify(&bytes)?;
        }
    }
    let write = StateWrite {
        md5: Some(md5_base64(&bytes)),
        if_content,
        ..StateWrite::new(bytes, holding, Door::S3)
    };
    let (caller, named, id) = (call.caller.clone(), unit.clone(), id.clone());
    let md5 = call.app.carry_through(|control| async move {
        let md5 = write.md5.clone().unwrap_or_default();
        let receipt = control.write_state(&caller, &named, write).await?;
        let completed = Completed {
            version: receipt.version,
            md5: md5.clone(),
            parts: asked,
        };
        // The state is safe; that nobody can be told of the upload again is no reason to take that back.
        if let Err(error) = control.complete_upload(&caller, &named, &id, &completed).await {
            tracing::debug!(%error, unit = %named, "an upload that is complete could not be noted as such");
        }
        drop(room);
        Ok::<_, Refused>(md5)
    });
    md5.await
}

/// The document of parts, of which checksums of the whole say nothing.
fn whole_unchecked(call: &Call) -> Result<crate::s3::payload::Announced, Refused> {
    let mut headers = call.headers().clone();
    let about_the_whole: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-amz-checksum-"))
        .cloned()
        .collect();
    for name in about_the_whole {
        headers.remove(name);
    }
    crate::s3::payload::Announced::read(&headers, call.signer.payload, call.signer.chunks.clone())
}

fn whole(call: &Call, unit: &UnitId, md5: &str) -> Response {
    let key = unit.state_key();
    xml::document(&Whole {
        xmlns: xml::NAMESPACE,
        location: format!("/{}/{}", call.app.s3_bucket, spelled(&key, true)),
        bucket: &call.app.s3_bucket,
        key,
        etag: format!("\"{}\"", hex_of(md5)),
    })
}

/// The parts that are meant, of those that have arrived.
fn choose(wanted: &[Wanted], arrived: &[Part]) -> Result<Vec<Part>, Refused> {
    if wanted.is_empty() || wanted.len() > usize::from(NUMBER_MAX) {
        return Err(Refused::new(
            Code::MalformedXML,
            "an upload is completed with 1 to 10000 parts",
        ));
    }
    if wanted.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        let message = "the parts are to be named in ascending order, each once";
        return Err(Refused::new(Code::InvalidPartOrder, message));
    }
    let mut chosen = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let found = arrived
            .iter()
            .find(|part| part.number == wanted.number && part.md5 == wanted.md5());
        let found = found.ok_or_else(|| {
            let message = format!("part {} has not arrived, or with another ETag", wanted.number);
            Refused::new(Code::InvalidPart, message)
        })?;
        chosen.push(found.clone());
    }
    let small = chosen
        .split_last()
        .and_then(|(_, before)| before.iter().find(|part| part.size < PART_BYTES_MIN));
    if let Some(small) = small {
        let message = format!(
            "part {} has {} bytes, and only the last may have less than {PART_BYTES_MIN}",
            small.number, small.size
        );
        return Err(Refused::new(Code::EntityTooSmall, message));
    }
    Ok(chosen)
}

/// Which parts a request asks for, so that the same request is known again.
fn words_of(wanted: &[Wanted]) -> String {
    let words: Vec<String> = wanted
        .iter()
        .map(|part| format!("{}-{}", part.number, part.md5()))
        .collect();
    Sha256::of(words.join(" ").as_bytes()).to_string()
}

/// Drops an upload.
pub(super) async fn abort(call: &Call, unit: &UnitId) -> Result<Response, Refused> {
    let id = under_way(call, unit).await?;
    call.app.control.abort_upload(&call.caller, unit, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Serialize)]
#[serde(rename = "ListPartsResult", rename_all = "PascalCase")]
struct PartsPage<'a> {
    #[serde(rename = "@xmlns")]
    xmlns: &'static str,
    bucket: &'a str,
    key: String,
    upload_id: String,
    part_number_marker: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_part_number_marker: Option<u16>,
    max_parts: usize,
    is_truncated: bool,
    storage_class: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    part: Vec<ToldPart>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ToldPart {
    part_number: u16,
    #[serde(serialize_with = "xml::moment")]
    last_modified: Timestamp,
    #[serde(rename = "ETag")]
    etag: String,
    size: u64,
}

/// The parts that have arrived; of those of one number the last.
pub(super) async fn list(call: &Call, unit: &UnitId) -> Result<Response, Refused> {
    let id = under_way(call, unit).await?;
    let after = call.query.number("part-number-marker", usize::from(u16::MAX))?;
    let after = call.query.get("part-number-marker").map_or(0, |_| after);
    let limit = call.query.number("max-parts", PAGE)?;
    let mut parts = call.app.control.parts(&call.caller, unit, &id).await?;
    parts.dedup_by_key(|part| part.number);
    parts.retain(|part| usize::from(part.number) > after);
    let is_truncated = parts.len() > limit;
    parts.truncate(limit);
    Ok(xml::document(&PartsPage {
        xmlns: xml::NAMESPACE,
        bucket: &call.app.s3_bucket,
        key: spelled(&unit.state_key(), encodes(call)?),
        upload_id: id.to_string(),
        part_number_marker: after,
        next_part_number_marker: parts.last().map(|part| part.number),
        max_parts: limit,
        is_truncated,
        storage_class: "STANDARD",
        part: parts
            .into_iter()
            .map(|part| ToldPart {
                part_number: part.number,
                last_modified: part.arrived,
                etag: format!("\"{}\"", part.md5),
                size: part.size,
            })
            .collect(),
    }))
}

#[derive(Serialize)]
#[serde(rename = "ListMultipartUploadsResult", rename_all = "PascalCase")]
struct UploadsPage<'a> {
    #[serde(rename = "@xmlns")]
    xmlns: &'static str,
    bucket: &'a str,
    key_marker: String,
    upload_id_marker: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_key_marker: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_upload_id_marker: Option<String>,
    prefix: String,
    max_uploads: usize,
    is_truncated: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    upload: Vec<ToldUpload>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ToldUpload {
    key: String,
    upload_id: String,
    storage_class: &'static str,
    #[serde(serialize_with = "xml::moment")]
    initiated: Timestamp,
}

/// The uploads that are under way.
pub(super) async fn uploads(call: &Call) -> Result<Response, Refused> {
    let encodes = encodes(call)?;
    let text = |name: &str| call.query.text(name).unwrap_or_default();
    let (prefix, key_marker, upload_id_marker) =
        (text("prefix"), text("key-marker"), text("upload-id-marker"));
    let limit = call.query.number("max-uploads", PAGE)?;
    let all = call.app.control.uploads(&call.caller).await?;
    let mut shown: Vec<_> = all
        .into_iter()
        .map(|upload| (upload.unit.state_key(), upload))
        .filter(|(key, upload)| {
            let place = (key.as_str(), upload.id.to_string());
            let is_after = match upload_id_marker.is_empty() {
                true => *key > key_marker,
                false => place > (key_marker.as_str(), upload_id_marker.clone()),
            };
            key.starts_with(&prefix) && is_after
        })
        .collect();
    shown.sort_by(|(a, x), (b, y)| a.cmp(b).then(x.id.cmp(&y.id)));
    let delimiter = call.query.text("delimiter");
    let folded_into = |key: &str| {
        let delimiter = delimiter.as_deref()?;
        let end = key.get(prefix.len()..)?.find(delimiter)? + delimiter.len();
        Some(key[..prefix.len() + end].to_owned())
    };
    let (mut folded, mut plain) = (Vec::new(), Vec::new());
    for upload in shown {
        match folded_into(&upload.0) {
            Some(common) if folded.last() != Some(&common) => folded.push(common),
            Some(_) => {}
            None => plain.push(upload),
        }
    }
    // What keys were folded into stands on the first page, before uploads that have a page of their own.
    let mut shown = plain;
    let is_truncated = shown.len() > limit;
    shown.truncate(limit);
    let last = shown.last().filter(|_| is_truncated);
    Ok(xml::document(&UploadsPage {
        xmlns: xml::NAMESPACE,
        bucket: &call.app.s3_bucket,
        next_key_marker: last.map(|(key, _)| spelled(key, encodes)),
        next_upload_id_marker: last.map(|(_, upload)| upload.id.to_string()),
        key_marker: spelled(&key_marker, encodes),
        upload_id_marker,
        prefix: spelled(&prefix, encodes),
        max_uploads: limit,
        is_truncated,
        upload: shown
            .iter()
            .map(|(key, upload)| ToldUpload {
                key: spelled(key, encodes),
                upload_id: upload.id.to_string(),
                storage_class: "STANDARD",
                initiated: upload.begun,
            })
            .collect(),
        common_prefixes: folded
            .iter()
            .map(|common| CommonPrefix {
                prefix: spelled(common, encodes),
            })
            .collect(),
    }))
}

fn upload_id(call: &Call) -> Result<UploadId, Refused> {
    let named = call.query.get("uploadId").unwrap_or_default();
    named.parse().map_err(|_| no_such(&named))
}

/// The upload that a request goes on with.
async fn under_way(call: &Call, unit: &UnitId) -> Result<UploadId, Refused> {
    let id = upload_id(call)?;
    match call.app.control.upload(&call.caller, unit, &id).await? {
        Standing::UnderWay => Ok(id),
        Standing::Completed(_) | Standing::Unknown => Err(no_such(&id)),
    }
}

fn no_such(id: &dyn std::fmt::Display) -> Refused {
    Refused::new(
        Code::NoSuchUpload,
        format!(
            "there is no upload `{id}` of this state: it was completed or aborted, or abandoned for a day"
        ),
    )
}
