//! A document that the S3 door reads says the same when it is written anew, and nothing in it stands for more than is
//! there: entities of a client's own are not replaced.

use opentaco_server::s3::strangers::{Deletions, completed, deleted};

pub(crate) fn check(bytes: &[u8]) {
    if let Ok(parts) = completed(bytes) {
        assert!(parts.iter().map(|(_, etag)| etag.len() + 1).sum::<usize>() <= bytes.len());
        let written: String = parts
            .iter()
            .map(|(number, etag)| {
                format!(
                    "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>",
                    escaped(etag)
                )
            })
            .collect();
        let written = format!("<CompleteMultipartUpload>{written}</CompleteMultipartUpload>");
        assert_eq!(completed(written.as_bytes()).ok(), Some(parts));
    }
    if let Ok(said) = deleted(bytes) {
        let Deletions { objects, is_quiet } = said.clone();
        assert!(objects.iter().map(|(key, _)| key.len() + 1).sum::<usize>() <= bytes.len());
        let written: String = objects
            .iter()
            .map(|(key, version)| {
                let version = version
                    .as_ref()
                    .map(|version| format!("<VersionId>{}</VersionId>", escaped(version)));
                format!(
                    "<Object><Key>{}</Key>{}</Object>",
                    escaped(key),
                    version.unwrap_or_default()
                )
            })
            .collect();
        let written = format!("<Delete>{written}<Quiet>{is_quiet}</Quiet></Delete>");
        assert_eq!(deleted(written.as_bytes()).ok(), Some(said));
    }
}

/// As every character can be written, but those that a document may not name.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\t' | '\n' | '\r' | ' '..='~' => format!("&#{};", u32::from(letter)),
            _ => letter.to_string(),
        })
        .collect()
}
