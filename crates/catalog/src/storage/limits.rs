//! How large a file may be before anything reads it.

use iceberg::io::FileIO;
use icecore_core::{Error, ErrorKind};

/// Sizes up to which files are opened, so that a damaged or hostile one costs a bounded amount of
/// memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageLimits {
    /// A metadata file, in bytes as it is stored. Default 64 MiB.
    pub metadata_bytes: u64,
    /// A manifest or manifest list, in bytes as it is stored. Default 64 MiB.
    pub manifest_bytes: u64,
    /// What a metadata file, manifest or manifest list is inflated to, in bytes. Default 512 MiB.
    pub inflated_bytes: u64,
    /// The footer of a Parquet file, in bytes. Default 16 MiB.
    pub footer_bytes: u64,
}

impl Default for StorageLimits {
    fn default() -> Self {
        Self {
            metadata_bytes: 64 << 20,
            manifest_bytes: 64 << 20,
            inflated_bytes: 512 << 20,
            footer_bytes: 16 << 20,
        }
    }
}

/// Where the limits of a [`FileIO`] stand in its configuration.
const MANIFEST_BYTES: &str = "icecore.manifest-bytes-max";
const INFLATED_BYTES: &str = "icecore.inflated-bytes-max";

impl StorageLimits {
    /// The limits for manifests of a table's files; the ordinary ones where it says none.
    pub(super) fn of_io(io: &FileIO) -> Self {
        let set = |name: &str| io.config().get(name).and_then(|bytes| bytes.parse().ok());
        let ordinary = Self::default();
        Self {
            manifest_bytes: set(MANIFEST_BYTES).unwrap_or(ordinary.manifest_bytes),
            inflated_bytes: set(INFLATED_BYTES).unwrap_or(ordinary.inflated_bytes),
            ..ordinary
        }
    }

    /// How a [`FileIO`] is told its limits.
    pub(super) fn to_properties(self) -> [(&'static str, String); 2] {
        let Self { manifest_bytes, inflated_bytes, .. } = self;
        [(MANIFEST_BYTES, manifest_bytes.to_string()), (INFLATED_BYTES, inflated_bytes.to_string())]
    }

    /// The limit for reading a whole file of this name, and the setting that raises it.
    pub(super) fn of(&self, location: &str) -> Option<(u64, &'static str)> {
        if is_metadata(location) {
            Some((self.metadata_bytes, "storage.metadata_limit"))
        } else if is_avro(location) {
            Some((self.manifest_bytes, "storage.manifest_limit"))
        } else {
            None
        }
    }
}

pub(super) fn is_metadata(location: &str) -> bool {
    location.ends_with(".metadata.json") || location.ends_with(".metadata.json.gz")
}

pub(super) fn is_avro(location: &str) -> bool {
    location.ends_with(".avro")
}

/// A file that is larger than it may be.
pub(crate) fn exceeded(location: &str, what: &str, limit: u64, setting: &str) -> Error {
    Error::new(
        ErrorKind::LimitExceeded,
        format!("{what} of `{location}` is larger than {limit} bytes"),
    )
    .with_note("such a file is damaged, or made to exhaust memory")
    .with_help(format!("raise `{setting}` if it is what it should be"))
}
