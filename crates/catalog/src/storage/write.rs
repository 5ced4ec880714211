//! Writing one file: small ones with one request, large ones in parts.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::io::FileWrite;
use icecore_core::{Error, Result};
use object_store::path::Path;
use object_store::{
    MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutPayloadMut,
};

use super::files::foreign;
use crate::error::Context;

/// Bytes of a part. Buckets want parts of one size that is 5 MiB or more.
const PART_BYTES: usize = 8 << 20;

/// Names that are written to again and again: everything else has a name of its own.
const REWRITTEN: [&str; 1] = ["version-hint.text"];

/// Collects pieces, and begins an upload in parts when they are more than one part.
pub(super) struct FileWriter {
    target: Target,
    buffer: PutPayloadMut,
    state: State,
}

/// The file that is written.
struct Target {
    store: Arc<dyn ObjectStore>,
    key: Path,
    location: String,
}

enum State {
    /// Everything so far is in the buffer.
    Small,
    Large(Box<dyn MultipartUpload>),
    /// It was closed, or a write failed.
    Ended,
}

impl FileWriter {
    pub(super) fn new(store: Arc<dyn ObjectStore>, key: Path, location: &str) -> Self {
        let buffer = PutPayloadMut::new().with_block_size(1 << 20);
        let target = Target { store, key, location: location.to_owned() };
        Self { target, buffer, state: State::Small }
    }

    fn ended(&self) -> Error {
        Error::internal(format!(
            "`{}` was written to after its end or a failure",
            self.target.location
        ))
    }

    async fn push(&mut self, bytes: Bytes) -> Result<()> {
        if matches!(self.state, State::Ended) {
            return Err(self.ended());
        }
        self.buffer.push(bytes);
        if self.buffer.content_length() >= PART_BYTES {
            self.send_part().await?;
        }
        Ok(())
    }

    /// Sends what is in the buffer as the next part.
    async fn send_part(&mut self) -> Result<()> {
        let cannot = || format!("cannot write `{}`", self.target.location);
        let mut upload = match std::mem::replace(&mut self.state, State::Ended) {
            State::Large(upload) => upload,
            State::Small => {
                self.target.store.put_multipart(&self.target.key).await.context(cannot)?
            }
            State::Ended => return Err(self.ended()),
        };
        let part = std::mem::take(&mut self.buffer).freeze();
        match upload.put_part(part).await.context(cannot) {
            Ok(()) => {
                self.state = State::Large(upload);
                Ok(())
            }
            Err(error) => {
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    async fn finish(&mut self) -> Result<()> {
        if matches!(self.state, State::Large(_)) && !self.buffer.is_empty() {
            self.send_part().await?;
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Large(mut upload) => {
                upload
                    .complete()
                    .await
                    .context(|| format!("cannot write `{}`", self.target.location))?;
                Ok(())
            }
            State::Small => self.target.put(std::mem::take(&mut self.buffer).freeze()).await,
            State::Ended => Err(self.ended()),
        }
    }
}

impl Target {
    /// Writes a small file, which must not take the place of another one.
    async fn put(&self, payload: PutPayload) -> Result<()> {
        let cannot = || format!("cannot write `{}`", self.location);
        if REWRITTEN.iter().any(|name| self.key.filename() == Some(name)) {
            self.store.put(&self.key, payload).await.context(cannot)?;
            return Ok(());
        }
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.key, payload.clone(), create).await {
            Ok(_) => Ok(()),
            // The answer to a request that was sent again says only that the first one arrived.
            Err(error @ object_store::Error::AlreadyExists { .. }) => {
                if self.holds(&payload).await? { Ok(()) } else { Err(error).context(cannot) }
            }
            Err(object_store::Error::NotImplemented { .. }) => {
                self.store.put(&self.key, payload).await.context(cannot)?;
                Ok(())
            }
            Err(error) => Err(error).context(cannot),
        }
    }

    /// Whether the file that is there is the one that was to be written.
    async fn holds(&self, payload: &PutPayload) -> Result<bool> {
        let cannot = || format!("cannot read `{}`", self.location);
        let found = self.store.get(&self.key).await.context(cannot)?;
        if found.meta.size != payload.content_length() as u64 {
            return Ok(false);
        }
        let found = found.bytes().await.context(cannot)?;
        let mut rest = &found[..];
        Ok(payload.iter().all(|piece| match rest.strip_prefix(&piece[..]) {
            Some(after) => {
                rest = after;
                true
            }
            None => false,
        }))
    }
}

#[async_trait]
impl FileWrite for FileWriter {
    async fn write(&mut self, bytes: Bytes) -> iceberg::Result<()> {
        self.push(bytes).await.map_err(foreign)
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        self.finish().await.map_err(foreign)
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        // Parts of an upload that is not completed cost money until they are given up.
        if let (State::Large(mut upload), Ok(runtime)) = (
            std::mem::replace(&mut self.state, State::Ended),
            tokio::runtime::Handle::try_current(),
        ) {
            runtime.spawn(async move { upload.abort().await });
        }
    }
}
