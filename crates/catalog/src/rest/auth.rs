//! Who the client is: a bearer token that is given, or one that is fetched with credentials.

use std::fmt;
use std::time::{Duration, Instant};

use icecore_core::{Error, ErrorKind, Result};
use reqwest::Client;
use tokio::sync::Mutex;

use super::wire::TokenResponse;

/// A token is replaced so long before its end.
const LEEWAY: Duration = Duration::from_secs(30);
const LASTS_DEFAULT: Duration = Duration::from_secs(3600);
const TRIES_MAX: u32 = 3;
const SCOPE_DEFAULT: &str = "catalog";

/// How a client proves who it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) enum Credentials {
    #[default]
    None,
    Token(String),
    Client {
        id: String,
        secret: String,
        scope: Option<String>,
        /// Where tokens are given out, if not at the catalog itself.
        endpoint: Option<String>,
    },
}

impl Credentials {
    /// `ID:SECRET`, or a secret alone.
    pub(crate) fn client(
        credential: &str,
        scope: Option<String>,
        endpoint: Option<String>,
    ) -> Self {
        let (id, secret) = credential.split_once(':').unwrap_or(("", credential));
        Self::Client { id: id.to_owned(), secret: secret.to_owned(), scope, endpoint }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::Client { .. } => "Client",
        })
    }
}

/// Gives out the token that requests carry.
#[derive(Debug)]
pub(super) struct Auth {
    credentials: Credentials,
    endpoint: String,
    current: Mutex<Option<Token>>,
}

struct Token {
    text: String,
    until: Instant,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

impl Auth {
    pub(super) fn new(credentials: Credentials, base: &str) -> Self {
        let endpoint = match &credentials {
            Credentials::Client { endpoint: Some(endpoint), .. } => endpoint.clone(),
            _ => format!("{base}/v1/oauth/tokens"),
        };
        Self { credentials, endpoint, current: Mutex::default() }
    }

    /// Where tokens are given out.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A token other than the one that was refused.
    pub(super) async fn token(
        &self,
        client: &Client,
        refused: Option<&str>,
    ) -> Result<Option<String>> {
        let (id, secret, scope) = match &self.credentials {
            Credentials::None => return Ok(None),
            Credentials::Token(token) => return Ok(Some(token.clone())),
            Credentials::Client { id, secret, scope, .. } => {
                (id, secret, scope.as_deref().unwrap_or(SCOPE_DEFAULT))
            }
        };
        // Whoever comes while one is fetched waits for it, and does not fetch another.
        let mut current = self.current.lock().await;
        if let Some(token) = &*current
            && token.until > Instant::now()
            && refused != Some(&token.text)
        {
            return Ok(Some(token.text.clone()));
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret),
            ("scope", scope),
        ];
        let fetched = self.fetch(client, &form).await?;
        let lasts = fetched.expires_in.map_or(LASTS_DEFAULT, Duration::from_secs);
        let until = Instant::now() + lasts.saturating_sub(LEEWAY.min(lasts / 2));
        *current = Some(Token { text: fetched.access_token.clone(), until });
        Ok(Some(fetched.access_token))
    }

    /// Whether another token may be let in where one was not.
    pub(super) fn can_refresh(&self) -> bool {
        matches!(self.credentials, Credentials::Client { .. })
    }

    async fn fetch(&self, client: &Client, form: &[(&str, &str)]) -> Result<TokenResponse> {
        let body = form
            .iter()
            .map(|(name, value)| format!("{name}={}", super::escaped(value)))
            .collect::<Vec<_>>()
            .join("&");
        let mut last = None;
        for _ in 0..TRIES_MAX {
            let request = client
                .post(&self.endpoint)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body.clone());
            match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    return answer.json().await.map_err(|error| {
                        Error::unavailable("the answer with a token cannot be read")
                            .with_source(error.without_url())
                    });
                }
                Ok(answer) if answer.status().is_client_error() => {
                    return Err(Error::new(
                        ErrorKind::Denied,
                        format!("the catalog gives this client no token ({})", answer.status()),
                    )
                    .with_help("check `catalog.credential`"));
                }
                Ok(answer) => {
                    last = Some(Error::unavailable(format!("it answered {}", answer.status())));
                }
                Err(error) => {
                    last = Some(
                        Error::unavailable("it does not answer").with_source(error.without_url()),
                    );
                }
            }
        }
        let error = Error::unavailable("cannot get a token for the catalog");
        Err(match last {
            Some(cause) => error.with_source(cause),
            None => error,
        })
    }
}
