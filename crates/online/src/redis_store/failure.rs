//! What a failure of the server means for a caller.

use icecore_core::{Error, ErrorKind};
use redis::{ErrorKind as RedisKind, RedisError, ServerError};

/// The error of a request to the server at `location`.
pub(super) fn server_error(location: &str, source: RedisError) -> Error {
    let (kind, message, help) = explain(&source);
    let error = Error::new(kind, format!("`{location}` {message}"));
    match help {
        Some(help) => error.with_help(help),
        None => error,
    }
    .with_source(source)
}

fn explain(error: &RedisError) -> (ErrorKind, &'static str, Option<&'static str>) {
    const UP: Option<&str> = Some("check that the server runs and can be reached from here");
    if error.is_timeout() {
        return (ErrorKind::Unavailable, "does not answer in time", UP);
    }
    if let Some(errors) = error.clone().into_server_errors() {
        // A pipeline fails with an error per command, mostly the same one.
        return errors
            .first()
            .map_or((ErrorKind::Internal, "refuses", None), |(_, error)| explain_refusal(error));
    }
    match error.kind() {
        RedisKind::Io => (ErrorKind::Unavailable, "cannot be reached", UP),
        RedisKind::AuthenticationFailed => SIGN_IN,
        RedisKind::UnexpectedReturnType | RedisKind::Parse => {
            (ErrorKind::DataCorrupt, "answers what no redis server answers", None)
        }
        RedisKind::InvalidClientConfig => (ErrorKind::InvalidInput, "is no usable address", None),
        _ => (ErrorKind::Internal, "could not be asked", None),
    }
}

fn explain_refusal(error: &ServerError) -> (ErrorKind, &'static str, Option<&'static str>) {
    match error.code() {
        "NOAUTH" | "WRONGPASS" | "NOPERM" => SIGN_IN,
        "OOM" => (
            ErrorKind::LimitExceeded,
            "has no memory left",
            Some("raise `maxmemory` of the server, or materialize fewer rows"),
        ),
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" => {
            (ErrorKind::Unavailable, "is not ready", None)
        }
        "MOVED" | "ASK" | "CROSSSLOT" => (
            ErrorKind::Unsupported,
            "is a part of a cluster",
            Some("write `redis+cluster://HOST:PORT` for its address"),
        ),
        "READONLY" => (
            ErrorKind::InvalidInput,
            "is a read-only replica",
            Some("put the address of the primary server in the project file"),
        ),
        "WRONGTYPE" => (
            ErrorKind::InvalidInput,
            "has something else than text under one of the keys",
            Some("give icecore a database or a key prefix of its own"),
        ),
        _ => (ErrorKind::InvalidInput, "refuses the request", None),
    }
}

const SIGN_IN: (ErrorKind, &str, Option<&str>) = (
    ErrorKind::Denied,
    "refuses this user",
    Some("put the user and password in the address: `redis://USER:PASSWORD@HOST:PORT/DB`"),
);
