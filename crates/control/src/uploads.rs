//! States that arrive in parts, at whichever replica. What they become is a write like any other; until then nothing of
//! them is a state, and whoever may write the unit may see and end them.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use opentaco_domain::{Action, Caller, Holding, UnitId};
use opentaco_storage::Vault;
use opentaco_storage::uploads::UPLOAD_MAX;
pub use opentaco_storage::uploads::{Completed, Part, Upload, UploadId};

use crate::believed::again_and_again;
use crate::{ControlError, StateControl};

/// How often what was abandoned is looked for.
const COLLECTED_EVERY: Duration = Duration::from_secs(60 * 60);

/// What is known of an upload that somebody goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It takes parts.
    UnderWay,
    /// It was completed, and became this.
    Completed(Completed),
    /// There is no such upload, or none any more.
    Unknown,
}

impl StateControl {
    /// Begins an upload of a state in parts.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`]; [`ControlError::Unavailable`].
    pub async fn begin_upload(&self, caller: &Caller, unit: &UnitId) -> Result<UploadId, ControlError> {
        self.prepare_write(caller, unit, &Holding::Nothing).await?;
        let begun = self.vault().begin_upload(unit, caller.principal()).await;
        begun.map_err(ControlError::from_storage)
    }

    /// How an upload stands.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] for whoever may not write the unit; [`ControlError::Unavailable`].
    pub async fn upload(
        &self,
        caller: &Caller,
        unit: &UnitId,
        id: &UploadId,
    ) -> Result<Standing, ControlError> {
        self.permit(caller, Action::Write, unit)?;
        // What is left of one that is complete is removed behind its answer, the note that began it among the rest.
        let known = futures::try_join!(
            self.vault().completed_upload(unit, id),
            self.vault().is_uploading(unit, id)
        );
        Ok(match known.map_err(ControlError::from_storage)? {
            (Some(completed), _) => Standing::Completed(completed),
            (None, true) => Standing::UnderWay,
            (None, false) => Standing::Unknown,
        })
    }

    /// Keeps a part, whose MD5 in hex is `md5`.
    ///
    /// # Errors
    /// As [`StateControl::upload`].
    pub async fn put_part(
        &self,
        caller: &Caller,
        unit: &UnitId,
        id: &UploadId,
        (number, md5): (u16, &str),
        bytes: Bytes,
    ) -> Result<(), ControlError> {
        self.permit(caller, Action::Write, unit)?;
        let kept = self.vault().put_part(unit, id, (number, md5), bytes).await;
        kept.map_err(ControlError::from_storage)
    }

    /// The parts that have arrived, in order; of those of one number the last first.
    ///
    /// # Errors
    /// As [`StateControl::upload`].
    pub async fn parts(
        &self,
        caller: &Caller,
        unit: &UnitId,
        id: &UploadId,
    ) -> Result<Vec<Part>, ControlError> {
        self.permit(caller, Action::Write, unit)?;
        let parts = self.vault().parts(unit, id).await;
        parts.map_err(ControlError::from_storage)
    }

    /// The bytes of these parts, one after another, in memory once.
    ///
    /// # Errors
    /// As [`StateControl::upload`]; [`ControlError::Corrupt`] if one is gone.
    pub async fn assemble(
        &self,
        caller: &Caller,
        unit: &UnitId,
        id: &UploadId,
        parts: &[Part],
    ) -> Result<Bytes, ControlError> {
        self.permit(caller, Action::Write, unit)?;
        let size: u64 = parts.iter().map(|part| part.size).sum();
        let mut whole = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
        for part in parts {
            let bytes = self.vault().part(unit, id, part).await;
            whole.extend_from_slice(&bytes.map_err(ControlError::from_storage)?);
        }
        Ok(whole.freeze())
    }

    /// Notes what an upload has become, for whoever asks again.
    ///
    /// # Errors
    /// As [`StateControl::upload`].
    pub async fn complete_upload(
        &self,
        caller: &Caller,
        unit: &UnitId,
        id: &UploadId,
        completed: &Completed,
    ) -> Result<(), ControlError> {
        self.permit(caller, Action::Write, unit)?;
        let noted = self.vault().complete_upload(unit, id, completed).await;
        noted.map_err(ControlError::from_storage)
    }

    /// Drops an upload with all that has arrived of it.
    ///
    /// # Errors
    /// As [`StateControl::upload`].
    pub async fn abort_upload(
        &self,
        caller: &Caller,
        unit: &UnitId,
        id: &UploadId,
    ) -> Result<(), ControlError> {
        self.permit(caller, Action::Write, unit)?;
        let dropped = self.vault().abort_upload(unit, id).await;
        dropped.map_err(ControlError::from_storage)
    }

    /// The uploads that are under way and that the caller may see.
    ///
    /// # Errors
    /// [`ControlError::PolicyUnreadable`]; [`ControlError::Unavailable`].
    pub async fn uploads(&self, caller: &Caller) -> Result<Vec<Upload>, ControlError> {
        self.may(caller, Action::Write, &UnitId::graph())?;
        let mut shown = Vec::new();
        for upload in self.vault().uploads().await.map_err(ControlError::from_storage)? {
            if self.may(caller, Action::Write, &upload.unit)? {
                shown.push(upload);
            }
        }
        Ok(shown)
    }

    /// Has uploads collected that nobody will complete, once an hour as long as somebody has this.
    pub(crate) fn collecting_uploads(mut self) -> Self {
        let vault = Arc::new(self.vault.clone());
        let surroundings = vault.bucket().surroundings().clone();
        again_and_again(
            &surroundings,
            COLLECTED_EVERY,
            &vault,
            |vault: Arc<Vault>| async move {
                match vault.collect_uploads().await {
                    Ok(0) => {}
                    Ok(objects) => tracing::info!(
                        objects,
                        hours = UPLOAD_MAX.as_hours(),
                        "parts of uploads that nobody has completed were removed"
                    ),
                    Err(error) => tracing::debug!(%error, "abandoned uploads could not be looked for"),
                }
            },
        );
        self._collecting = Some(vault);
        self
    }
}
