//! Rows that know how new they are: compared where they are kept.

use std::collections::HashSet;

use bytes::Bytes;
use icecore_core::{ApplySummary, Error, OnlineChange, Result, RowVersion, ScanPage};
use redis::{Cmd, FromRedisValue};

use super::RedisStore;
use super::network::Unit;

/// Rows that one script decides about: its keys are read and written with one command each.
const SCRIPT_ROWS: usize = 512;
/// Scripts of one round trip.
const TRIP_SCRIPTS: usize = 8;
/// Reads of one round trip.
const TRIP_READS: usize = 1000;

/// Whether row `a` is newer than `b`, by the versions that they begin with. Four numbers of 32
/// bits each: a number of a script has 53.
const NEWER: &str = "
local function newer(a, b)
  for at = 1, 13, 4 do
    local x, y = struct.unpack('>I4', a, at), struct.unpack('>I4', b, at)
    if x ~= y then return x > y end
  end
  return false
end
";
/// Writes the rows that are not older than those that are there; returns how many are.
const WRITE: &str = "
local there, set, n, stale = redis.call('MGET', unpack(KEYS)), {}, 0, 0
for i, key in ipairs(KEYS) do
  local was = there[i]
  if was and #was >= 16 and newer(was, ARGV[i]) then
    stale = stale + 1
  else
    set[n + 1] = key; set[n + 2] = ARGV[i]; n = n + 2
  end
end
if n > 0 then redis.call('MSET', unpack(set, 1, n)) end
return stale
";
/// As `WRITE`, for pairs of the version that may be replaced and a row, empty to remove it.
const CHANGE: &str = "
local there, stale = redis.call('MGET', unpack(KEYS)), 0
for i, key in ipairs(KEYS) do
  local was, until_version, row = there[i], ARGV[2 * i - 1], ARGV[2 * i]
  if was and #was >= 16 and newer(was, until_version) then
    stale = stale + 1
  elseif row == '' then
    redis.call('UNLINK', key)
  else
    redis.call('SET', key, row)
  end
end
return stale
";

impl RedisStore {
    pub(super) async fn apply_rows(&self, changes: &[OnlineChange]) -> Result<ApplySummary> {
        let by_slot = self.network().is_cluster().then(|| in_groups(changes));
        let changes = by_slot.as_deref().unwrap_or(changes);
        let (mut rest, mut stale) = (changes, 0);
        // Each round trip has its time, however many rows there are.
        while !rest.is_empty() {
            let mut units = Vec::with_capacity(TRIP_SCRIPTS);
            while !rest.is_empty() && units.len() < TRIP_SCRIPTS {
                let (now, later) = rest.split_at(script_len(rest, by_slot.is_some()));
                units.push(unit(now, script(now)));
                rest = later;
            }
            for answer in self.wait(self.network().run(units, TRIP_SCRIPTS)).await? {
                stale += u64::from_redis_value(answer).map_err(|_| self.nonsense())?;
            }
        }
        Ok(ApplySummary { applied: changes.len() as u64 - stale, stale })
    }

    /// Writes rows of different keys where none of them is there, without a script that looks: some
    /// at once, all or none. What is refused, and what comes after it, is compared row by row.
    pub(super) async fn fill_rows(&self, mut rows: Vec<OnlineChange>) -> Result<ApplySummary> {
        let is_cluster = self.network().is_cluster();
        if is_cluster {
            rows.sort_by(|left, right| tag(&left.key).cmp(tag(&right.key)));
        }
        let is_together = |a: &OnlineChange, b: &OnlineChange| tag(&a.key) == tag(&b.key);
        let pieces: Vec<&[OnlineChange]> = match is_cluster {
            true => rows.chunk_by(is_together).flat_map(|rows| rows.chunks(SCRIPT_ROWS)).collect(),
            false => rows.chunks(SCRIPT_ROWS).collect(),
        };
        let mut summary = ApplySummary::default();
        let mut refused = Vec::new();
        for trip in pieces.chunks(TRIP_SCRIPTS) {
            if !refused.is_empty() {
                refused.extend(trip.iter().flat_map(|rows| rows.iter().cloned()));
                continue;
            }
            let units = trip.iter().map(|rows| unit(rows, set_where_none(rows))).collect();
            let answers = self.wait(self.network().run(units, TRIP_SCRIPTS)).await?;
            for (rows, answer) in trip.iter().zip(answers) {
                match bool::from_redis_value(answer).map_err(|_| self.nonsense())? {
                    true => summary.applied += rows.len() as u64,
                    false => refused.extend(rows.iter().cloned()),
                }
            }
        }
        summary += self.apply_rows(&refused).await?;
        Ok(summary)
    }

    pub(super) async fn read_rows(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        if self.network().is_cluster() {
            let get = |key| Unit { key, command: redis::cmd("GET").arg(key).take() };
            let mut rows = Vec::with_capacity(keys.len());
            for keys in keys.chunks(TRIP_READS) {
                let units: Vec<Unit<'_>> = keys.iter().map(|key| get(key.as_ref())).collect();
                for answer in self.wait(self.network().run(units, TRIP_READS)).await? {
                    let row = Option::<Bytes>::from_redis_value(answer);
                    rows.push(row.map_err(|_| self.nonsense())?);
                }
            }
            return Ok(rows);
        }
        let mut rows = Vec::with_capacity(keys.len());
        for keys in keys.chunks(TRIP_READS) {
            let mut command = redis::cmd("MGET");
            for key in keys {
                command.arg(key.as_ref());
            }
            let units = vec![Unit { key: &[], command }];
            let answer = self.wait(self.network().run(units, 1)).await?.pop();
            let found = answer.map(Vec::<Option<Bytes>>::from_redis_value);
            match found {
                Some(Ok(found)) if found.len() == keys.len() => rows.extend(found),
                _ => return Err(self.nonsense()),
            }
        }
        Ok(rows)
    }

    /// The cursor is the server's place among all, and its own cursor.
    pub(super) async fn scan_rows(&self, prefix: &[u8], cursor: Option<Bytes>) -> Result<ScanPage> {
        let (server, at) = match cursor.as_deref().map(<[u8; 16]>::try_from) {
            None => (0, 0),
            Some(Ok(bytes)) => {
                let both = u128::from_be_bytes(bytes);
                ((both >> 64) as usize, (both & u128::from(u64::MAX)) as u64)
            }
            Some(Err(_)) => return Err(Error::invalid("that is no cursor of this store")),
        };
        let lines = self.wait(self.network().lines()).await?;
        let Some(line) = lines.get(server) else { return Ok(ScanPage::default()) };
        let mut request = redis::pipe();
        request.cmd("SCAN").arg(at).arg("MATCH").arg(pattern(prefix)).arg("COUNT").arg(TRIP_READS);
        let ((next, keys),) = self.wait(line.ask::<((u64, Vec<Bytes>),)>(&request)).await?;
        let rows = self.read_rows(&keys).await?;
        let rows = keys.into_iter().zip(rows).filter_map(|(key, row)| Some((key, row?)));
        let following = match next {
            0 if server + 1 < lines.len() => Some((server + 1, 0)),
            0 => None,
            next => Some((server, next)),
        };
        let cursor = following.map(|(server, at)| {
            Bytes::copy_from_slice(&((server as u128) << 64 | u128::from(at)).to_be_bytes())
        });
        Ok(ScanPage { rows: rows.collect(), cursor })
    }

    fn nonsense(&self) -> Error {
        Error::corrupt(format!("`{}` answers what no redis server answers", self.place_name()))
    }
}

/// The changes, those of one hash tag together, each of a key after those before it.
fn in_groups(changes: &[OnlineChange]) -> Vec<OnlineChange> {
    let mut changes = changes.to_vec();
    changes.sort_by(|left, right| tag(&left.key).cmp(tag(&right.key)));
    changes
}

/// What decides about the slot of a row's key.
fn tag(key: &[u8]) -> &[u8] {
    let open = key.iter().position(|byte| *byte == b'{').map_or(0, |open| open + 1);
    let rest = key.get(open..).unwrap_or_default();
    let close = rest.iter().position(|byte| *byte == b'}').unwrap_or(rest.len());
    rest.get(..close).unwrap_or_default()
}

/// How many changes go into the next script: no key twice, and in a cluster of one slot.
fn script_len(changes: &[OnlineChange], is_cluster: bool) -> usize {
    let mut keys = HashSet::with_capacity(SCRIPT_ROWS);
    let first = changes.first().map(|change| tag(&change.key));
    let mut len = 0;
    for change in changes.iter().take(SCRIPT_ROWS) {
        if !keys.insert(&change.key) || (is_cluster && first != Some(tag(&change.key))) {
            break;
        }
        len += 1;
    }
    len.max(1)
}

/// A command about rows, for the server that has the first of them.
fn unit(changes: &[OnlineChange], command: Cmd) -> Unit<'_> {
    Unit { key: changes.first().map_or(&[], |change| change.key.as_ref()), command }
}

fn set_where_none(rows: &[OnlineChange]) -> Cmd {
    let row = |change: &OnlineChange| change.row.as_ref().map_or(0, Bytes::len);
    let bytes: usize = rows.iter().map(|change| change.key.len() + row(change)).sum();
    let mut command = Cmd::with_capacity(2 * rows.len() + 1, bytes + 8);
    command.arg("MSETNX");
    for change in rows {
        command.arg(change.key.as_ref()).arg(change.row.as_deref().unwrap_or_default());
    }
    command
}

fn script(changes: &[OnlineChange]) -> Cmd {
    let is_plain = |change: &OnlineChange| {
        change.row.as_deref().and_then(RowVersion::of_row) == Some(change.until)
    };
    let is_plain = changes.iter().all(is_plain);
    let mut command = redis::cmd("EVAL");
    command.arg(format!("{NEWER}{}", if is_plain { WRITE } else { CHANGE })).arg(changes.len());
    for change in changes {
        command.arg(change.key.as_ref());
    }
    for change in changes {
        if !is_plain {
            command.arg(&change.until.to_bytes()[..]);
        }
        command.arg(change.row.as_deref().unwrap_or_default());
    }
    command
}

/// The pattern that finds keys beginning with `prefix`.
fn pattern(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 8);
    for byte in prefix {
        if b"*?[]\\^-".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}
