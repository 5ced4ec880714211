//! Declared routes, and how a request finds its own.

use icecore_core::{Error, Result, TableName};

/// The longest key, in bytes.
const KEY_LEN_MAX: usize = 512;
/// What the service's own paths begin with.
const OWN: [&str; 16] = [
    "v1",
    "v2",
    "ui",
    "healthz",
    "health",
    "ping",
    "readyz",
    "metrics",
    "openapi.json",
    "get-online-features",
    "push",
    "write-to-online-store",
    "materialize",
    "materialize-incremental",
    "version",
    "invocations",
];
/// Field names of an answer that are not the route's to give.
const FIELDS: [&str; 5] = ["model_version", "score_date", "source", "latency_path", "reason"];

/// A path whose answers are the scores of one prediction table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ScoreRoute {
    /// The scoring job; `/v1/scores/SCORING/KEY` answers the same.
    pub scoring: String,
    /// The path, with one segment in braces: `/churn-score/{user_token}`. The name in braces is
    /// the name of the answer's field with the key.
    pub path: String,
    /// The key in the cache, with the entity in braces: `churn:{user_token}`. Absent for scores
    /// that are not in the cache.
    pub key_template: Option<String>,
    /// The table of predictions.
    pub table: TableName,
    /// The table's column with the entity's key.
    pub entity_column: String,
    /// The table's column with the prediction, and the name of the answer's field with it.
    pub prediction_column: String,
    /// The table's column with the date of the score.
    pub date_column: String,
    /// The answer for an entity without a score.
    pub default: f64,
    /// Decimals that scores from the lakehouse are rounded to, so that they equal the cached ones.
    pub round: Option<u32>,
    /// How many days old a score from the lakehouse may be; older ones are answered with the
    /// default and the reason `score_too_old`.
    pub max_age_days: Option<u32>,
}

impl ScoreRoute {
    /// A route for a scoring job. The entity's column is the name in the path's braces; the other
    /// columns have the names that scoring jobs use by default, and the default answer is 0.
    pub fn new(scoring: impl Into<String>, path: impl Into<String>, table: TableName) -> Self {
        let path = path.into();
        let name = path.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
        Self {
            scoring: scoring.into(),
            entity_column: name.map_or_else(String::new, |(name, _)| name.to_owned()),
            path,
            key_template: None,
            table,
            prediction_column: "prediction".to_owned(),
            date_column: "score_date".to_owned(),
            default: 0.0,
            round: None,
            max_age_days: None,
        }
    }
}

/// A route that has been checked.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) declared: ScoreRoute,
    /// The name in the path's braces.
    pub(crate) parameter: String,
    path: Pattern,
    /// `/v1/scores/SCORING/{key}`.
    by_scoring: Pattern,
    /// Which of the declared routes it is.
    pub(crate) at: usize,
    cache_key: Option<Pattern>,
}

impl Route {
    fn try_new(declared: ScoreRoute, at: usize) -> Result<Self> {
        let in_route = |error: Error| error.with_note(format!("in route `{}`", declared.path));
        let (path, parameter) = Pattern::parse(&declared.path).map_err(in_route)?;
        if !path.is_segment() || declared.path.contains(['?', '#', ' ', '%']) {
            return Err(Error::invalid(format!("`{}` is no path of a route", declared.path))
                .with_help("write it like `/churn-score/{user_token}`, one segment in braces"));
        }
        let cache_key = match &declared.key_template {
            None => None,
            Some(template) => {
                let (pattern, name) = Pattern::parse(template).map_err(in_route)?;
                if name != parameter && name != declared.entity_column {
                    let error = format!("key `{template}` needs `{name}`, which no request has");
                    return Err(in_route(Error::invalid(error))
                        .with_candidates(&name, [parameter.as_str(), &declared.entity_column]));
                }
                Some(pattern)
            }
        };
        let field = &declared.prediction_column;
        if let Some(name) = [&parameter, field].into_iter().find(|n| FIELDS.contains(&n.as_str())) {
            let error = Error::invalid(format!("field `{name}` of an answer has another meaning"));
            return Err(in_route(error));
        }
        if parameter == *field || declared.scoring.is_empty() || declared.scoring.contains('/') {
            return Err(in_route(Error::invalid(
                "the names of the scoring job, the key and the prediction do not make a route",
            )));
        }
        if !declared.default.is_finite() {
            return Err(in_route(Error::invalid("the default answer is not a number")));
        }
        let by_scoring =
            Pattern { before: format!("/v1/scores/{}/", declared.scoring), after: String::new() };
        Ok(Self { parameter, path, by_scoring, at, cache_key, declared })
    }

    /// Whether requests for one of the service's own paths would come to this route: routes are
    /// asked first.
    fn hides(&self, own: &str) -> bool {
        let first = self.declared.path.split('/').nth(1);
        first == Some(own) || self.path.find(&format!("/{own}")).is_some()
    }

    /// The key under which the cache has an entity's score.
    pub(crate) fn cache_key(&self, entity: &str) -> Option<String> {
        let mut key = String::new();
        self.write_cache_key(entity, &mut key)?;
        Some(key)
    }

    /// As [`cache_key`](Self::cache_key), in the place of what `to` has.
    pub(crate) fn write_cache_key(&self, entity: &str, to: &mut String) -> Option<()> {
        let pattern = self.cache_key.as_ref()?;
        to.clear();
        for part in [&pattern.before, entity, &pattern.after] {
            to.push_str(part);
        }
        Some(())
    }
}

/// The declared routes, and what a path means among them.
#[derive(Debug)]
pub(crate) struct Routes(Vec<Route>);

impl Routes {
    /// Checks the declarations.
    pub(crate) fn try_new(declared: Vec<ScoreRoute>) -> Result<Self> {
        let mut routes: Vec<Route> = Vec::with_capacity(declared.len());
        for declared in declared {
            let route = Route::try_new(declared, routes.len())?;
            let path = &route.declared.path;
            if let Some(own) = OWN.iter().find(|own| route.hides(own)) {
                return Err(Error::invalid(format!("route `{path}` hides icecore's own `/{own}`"))
                    .with_help("begin it with a word of its own: `/churn-score/{user_token}`"));
            }
            let twin = routes.iter().find(|other| {
                other.path == route.path || other.declared.scoring == route.declared.scoring
            });
            if let Some(twin) = twin {
                return Err(Error::invalid(format!(
                    "route `{path}` of scoring job `{}` and route `{}` of `{}` cannot be told apart",
                    route.declared.scoring, twin.declared.path, twin.declared.scoring
                )));
            }
            routes.push(route);
        }
        Ok(Self(routes))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// The route of a path, and the key in it as it was sent.
    pub(crate) fn find<'p>(&self, path: &'p str) -> Option<(&Route, &'p str)> {
        self.0.iter().find_map(|route| {
            let found = route.path.find(path).or_else(|| route.by_scoring.find(path));
            found.map(|key| (route, key))
        })
    }

    /// The declared paths, and what is the same by the name of a scoring job.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.0.iter().map(|r| r.declared.path.clone()).collect();
        paths.extend(self.0.iter().map(|r| format!("{}{{key}}", r.by_scoring.before)));
        paths
    }
}

/// Text with one hole in it.
#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    before: String,
    after: String,
}

impl Pattern {
    /// Splits `before{name}after`, and returns the name, too.
    fn parse(text: &str) -> Result<(Self, String)> {
        let split = text
            .split_once('{')
            .and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
            .filter(|(_, (name, after))| {
                !name.is_empty() && !name.contains('{') && !after.contains(['{', '}'])
            });
        match split {
            Some((before, (name, after))) => {
                Ok((Self { before: before.to_owned(), after: after.to_owned() }, name.to_owned()))
            }
            None => Err(Error::invalid(format!("`{text}` does not have one name in braces"))
                .with_help("write it like `/churn-score/{user_token}` or `churn:{user_token}`")),
        }
    }

    /// Whether the hole is a whole segment of an absolute path.
    fn is_segment(&self) -> bool {
        self.before.starts_with('/')
            && self.before.ends_with('/')
            && (self.after.is_empty() || self.after.starts_with('/'))
    }

    /// What stands in the hole, if `text` is of this pattern.
    fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let inner = text.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        (!inner.is_empty() && !inner.contains('/')).then_some(inner)
    }
}

/// Whether the key in a path stands for itself, and is one: most are.
pub(crate) fn is_plain_key(sent: &str) -> bool {
    sent.len() <= KEY_LEN_MAX && sent.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%')
}

/// The key in a path, with its `%XX` decoded.
///
/// # Errors
///
/// `InvalidInput` if it is too long, or not text, or has control characters.
pub(crate) fn decode_key(sent: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(sent.len());
    let mut rest = sent.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
        match tail {
            [high, low, tail @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = tail;
                }
                _ => return Err(bad_key("has a `%` without two hexadecimal digits")),
            },
            _ => return Err(bad_key("has a `%` without two hexadecimal digits")),
        }
    }
    let key = String::from_utf8(bytes).map_err(|_| bad_key("is not UTF-8"))?;
    if key.len() > KEY_LEN_MAX {
        return Err(bad_key("is longer than 512 bytes"));
    }
    if key.chars().any(char::is_control) {
        return Err(bad_key("has control characters"));
    }
    Ok(key)
}

fn bad_key(what: &str) -> Error {
    Error::invalid(format!("the key in the path {what}"))
        .with_help("a key is at most 512 bytes of text; write special characters as `%XX`")
}

#[cfg(test)]
mod tests;
