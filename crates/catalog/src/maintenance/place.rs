//! Where a file is, however its location is spelled.

/// A file's place: two spellings of a location are equal here if they may mean the same file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    /// The path, without a slash at its start and with single slashes.
    pub(super) path: String,
    /// The kind of storage and who keeps it: `file`, `s3://bucket`.
    pub(super) storage: String,
}

impl Place {
    pub(super) fn of(location: &str) -> Self {
        let (storage, path) = match location.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => {
                let scheme = family(&scheme.to_ascii_lowercase()).to_owned();
                match rest.strip_prefix("//") {
                    Some(rest) if scheme == "file" => {
                        // `file://localhost/a` is `file:///a`.
                        (scheme, rest.strip_prefix("localhost/").unwrap_or(rest))
                    }
                    Some(rest) => {
                        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                        (format!("{scheme}://{authority}"), path)
                    }
                    None => (scheme, rest),
                }
            }
            _ => ("file".to_owned(), location),
        };
        let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
        Self { path: parts.collect::<Vec<_>>().join("/"), storage }
    }

    /// Whether it lies in a directory.
    pub(super) fn is_below(&self, directory: &Self) -> bool {
        self.storage == directory.storage
            && self.path.strip_prefix(&directory.path).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The last part of the path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.'))
}

/// Schemes that name the same storage.
fn family(scheme: &str) -> &str {
    match scheme {
        "s3a" | "s3n" => "s3",
        "gcs" => "gs",
        "abfss" => "abfs",
        "wasbs" => "wasb",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_place_are_one_place() {
        for group in [
            &["/a/b/c", "file:/a/b/c", "file:///a/b/c", "file://localhost/a/b/c", "/a//b/./c"][..],
            &["s3://bucket/a/b", "s3a://bucket/a/b", "S3N://bucket//a/b"],
            &["gs://b/k", "gcs://b/k"],
        ] {
            let places: Vec<Place> = group.iter().map(|location| Place::of(location)).collect();
            assert!(places.windows(2).all(|pair| pair[0] == pair[1]), "{places:?}");
        }
        assert_ne!(Place::of("s3://one/a"), Place::of("s3://two/a"));
        assert_ne!(Place::of("s3://one/a"), Place::of("/a"));
    }

    #[test]
    fn a_directory_holds_what_is_below_it_and_not_its_neighbours() {
        let table = Place::of("file:///w/ns/events/");
        assert!(Place::of("/w/ns/events/data/x").is_below(&table));
        for other in ["/w/ns/events2/data/x", "/w/ns/events", "s3://b/w/ns/events/x"] {
            assert!(!Place::of(other).is_below(&table), "{other}");
        }
    }
}
