//! Who may ask.

use sha2::{Digest, Sha256};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Lets requests pass that carry the token, or all of them where there is none.
#[derive(Debug, Clone)]
pub(crate) struct Bearer {
    /// The hash of the token: comparing hashes takes the same time whatever differs.
    expected: Option<[u8; 32]>,
}

impl Bearer {
    pub(crate) fn new(token: Option<&str>) -> Self {
        Self { expected: token.map(hash) }
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl Interceptor for Bearer {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(expected) = self.expected else { return Ok(request) };
        let given = request.metadata().get("authorization").and_then(|given| given.to_str().ok());
        let token = given.and_then(|given| {
            let (scheme, token) = given.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        });
        let differs = token.map(hash).map_or(1, |given| {
            given.iter().zip(expected).fold(0, |differs, (one, other)| differs | (one ^ other))
        });
        match differs {
            0 => Ok(request),
            _ => Err(Status::unauthenticated(
                "send `authorization: Bearer TOKEN` with the service's token",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(token: Option<&str>, header: Option<&str>) -> bool {
        let mut request = Request::new(());
        if let Some(header) = header {
            request.metadata_mut().insert("authorization", header.parse().unwrap());
        }
        Bearer::new(token).call(request).is_ok()
    }

    #[test]
    fn only_the_token_opens() {
        assert!(passes(None, None));
        assert!(passes(Some("secret"), Some("Bearer secret")));
        assert!(passes(Some("secret"), Some("bearer secret")));
        for header in [
            None,
            Some(""),
            Some("secret"),
            Some("Bearer"),
            Some("Bearer secre"),
            Some("Basic secret"),
        ] {
            assert!(!passes(Some("secret"), header), "{header:?}");
        }
    }
}
