//! Whatever is read as a lock is a lock to Terraform too, and the same one when it comes back.

use opentaco_domain::limits::{LOCK_BODY_BYTES_MAX, LOCK_ID_BYTES_MAX};
use opentaco_domain::{LockId, LockInfo, Session};

pub(crate) fn check(bytes: &[u8]) {
    let Ok(info) = LockInfo::from_json(bytes) else {
        return;
    };
    assert!(bytes.len() <= LOCK_BODY_BYTES_MAX);
    let id = info.id.as_str();
    assert!(!id.is_empty() && id.len() <= LOCK_ID_BYTES_MAX && !id.contains(char::is_control));
    assert_eq!(LockId::parse(id).as_ref(), Ok(&info.id));
    assert_ne!(Session::of(&info.id, 0), Session::NONE);

    let kept = serde_json::to_vec(&info).expect("a lock is JSON");
    assert_eq!(
        serde_json::from_slice::<LockInfo>(&kept).expect("it was a lock"),
        info
    );

    let sent = info.to_terraform_json();
    if sent.len() <= LOCK_BODY_BYTES_MAX {
        let back = LockInfo::from_json(&sent).expect("it was a lock");
        assert!(
            back.created.parse::<jiff::Timestamp>().is_ok(),
            "{:?} is a time",
            back.created
        );
        assert_eq!(back.to_terraform_json(), sent);
        assert_eq!(
            LockInfo {
                created: info.created.clone(),
                ..back
            },
            info
        );
    }
}
