//! Which servers there are, and which of them has a key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, RedisError, Value};

use super::RedisOptions;
use super::line::Line;
use super::place::{Kind, Place, at, host_port};

/// Slots of a cluster (Redis Cluster Specification, "Key distribution model").
const SLOTS: u16 = 16_384;
/// How often a request is sent that a cluster answers with another server.
const HOPS_MAX: usize = 5;
/// How long a cluster is given to make up its mind.
const HOP_PAUSE: Duration = Duration::from_millis(50);

/// A command, and the key that says which server it goes to.
pub(super) struct Unit<'k> {
    pub(super) key: &'k [u8],
    pub(super) command: Cmd,
}

/// One server, or those of a cluster.
pub(super) struct Network {
    place: Place,
    options: RedisOptions,
    first: Arc<Line>,
    cluster: Mutex<Cluster>,
}

#[derive(Default)]
struct Cluster {
    lines: HashMap<(String, u16), Arc<Line>>,
    /// Ranges of slots and who has them, in order; empty until it is asked for.
    owners: Arc<Vec<Owner>>,
}

struct Owner {
    last: u16,
    line: Arc<Line>,
}

impl Network {
    pub(super) fn new(place: Place, options: RedisOptions) -> Result<Self, RedisError> {
        let first = Arc::new(Line::new(&place, &options)?);
        Ok(Self { place, options, first, cluster: Mutex::default() })
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.place.kind == Kind::Cluster
    }

    /// The line of a place with one server; of a cluster, the one to the first that its address
    /// names.
    pub(super) const fn first(&self) -> &Arc<Line> {
        &self.first
    }

    /// The lines of all servers that keep keys.
    pub(super) async fn lines(&self) -> Result<Vec<Arc<Line>>, RedisError> {
        if !self.is_cluster() {
            return Ok(vec![Arc::clone(&self.first)]);
        }
        let mut lines: Vec<Arc<Line>> = Vec::new();
        for owner in self.owners().await?.iter() {
            if !lines.iter().any(|line| Arc::ptr_eq(line, &owner.line)) {
                lines.push(Arc::clone(&owner.line));
            }
        }
        Ok(lines)
    }

    /// Sends commands, so many in one round trip at most, and returns their answers in order.
    pub(super) async fn run(
        &self,
        units: Vec<Unit<'_>>,
        trip_len: usize,
    ) -> Result<Vec<Value>, RedisError> {
        if !self.is_cluster() {
            let mut answers = Vec::with_capacity(units.len());
            let mut commands = units.into_iter().map(|unit| unit.command);
            loop {
                let trip = pipeline(commands.by_ref().take(trip_len));
                if trip.is_empty() {
                    return Ok(answers);
                }
                answers.extend(self.first().ask::<Vec<Value>>(&trip).await?);
            }
        }
        let mut hops = 0;
        loop {
            match self.run_in_cluster(&units, trip_len).await {
                Err(error) if hops < HOPS_MAX && is_elsewhere(&error) => {
                    hops += 1;
                    self.forget_owners();
                    tokio::time::sleep(HOP_PAUSE).await;
                }
                answers => return answers,
            }
        }
    }

    async fn run_in_cluster(
        &self,
        units: &[Unit<'_>],
        trip_len: usize,
    ) -> Result<Vec<Value>, RedisError> {
        let owners = self.owners().await?;
        let mut groups: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, unit) in units.iter().enumerate() {
            let slot = slot(unit.key);
            groups.entry(owners.partition_point(|owner| owner.last < slot)).or_default().push(at);
        }
        let asked = groups.into_iter().map(|(owner, places)| {
            let owner = owners.get(owner);
            async move {
                let line = owner.map_or(&self.first, |owner| &owner.line);
                let mut answers = Vec::with_capacity(places.len());
                for chunk in places.chunks(trip_len) {
                    let chosen = chunk.iter().filter_map(|at| units.get(*at));
                    let chosen = chosen.map(|unit| unit.command.clone());
                    answers.extend(line.ask::<Vec<Value>>(&pipeline(chosen)).await?);
                }
                Ok::<_, RedisError>(places.into_iter().zip(answers))
            }
        });
        let mut answers = vec![Value::Nil; units.len()];
        for group in futures::future::try_join_all(asked).await? {
            for (at, answer) in group {
                if let Some(place) = answers.get_mut(at) {
                    *place = answer;
                }
            }
        }
        Ok(answers)
    }

    async fn owners(&self) -> Result<Arc<Vec<Owner>>, RedisError> {
        let known = Arc::clone(&self.lock().owners);
        if !known.is_empty() {
            return Ok(known);
        }
        let mut failure = None;
        for seed in &self.place.seeds {
            let Some((host, port)) = host_port(seed.addr()) else { continue };
            let line = self.line(host, port)?;
            let mut request = redis::pipe();
            request.cmd("CLUSTER").arg("SLOTS");
            match line.ask::<(Vec<Vec<Value>>,)>(&request).await {
                Ok((ranges,)) => {
                    let owners = Arc::new(self.read_ranges(ranges, host)?);
                    self.lock().owners = Arc::clone(&owners);
                    return Ok(owners);
                }
                Err(error) => failure = Some(error),
            }
        }
        let nobody =
            || RedisError::from((redis::ErrorKind::Io, "no server of the cluster answers"));
        Err(failure.unwrap_or_else(nobody))
    }

    fn read_ranges(&self, ranges: Vec<Vec<Value>>, asked: &str) -> Result<Vec<Owner>, RedisError> {
        let mut owners = Vec::with_capacity(ranges.len());
        for range in ranges {
            let mut parts = range.into_iter().skip(1);
            let (Some(last), Some(master)) = (parts.next(), parts.next()) else { continue };
            let last = u16::from_redis_value(last)?;
            let mut master = Vec::<Value>::from_redis_value(master)?.into_iter();
            let host = master.next().map(Option::<String>::from_redis_value).transpose()?.flatten();
            let port = master.next().map(u16::from_redis_value).transpose()?.unwrap_or(6379);
            // A server that does not know its own name is the one that was asked.
            let host = host.filter(|host| !host.is_empty() && host != "?");
            let line = self.line(host.as_deref().unwrap_or(asked), port)?;
            owners.push(Owner { last, line });
        }
        owners.sort_by_key(|owner| owner.last);
        Ok(owners)
    }

    fn line(&self, host: &str, port: u16) -> Result<Arc<Line>, RedisError> {
        let mut cluster = self.lock();
        if let Some(line) = cluster.lines.get(&(host.to_owned(), port)) {
            return Ok(Arc::clone(line));
        }
        let Some(seed) = self.place.seeds.first() else { return Ok(Arc::clone(&self.first)) };
        let line = Line::to_server(&self.place, at(seed, host, port), &self.options)?;
        let line = Arc::new(line);
        cluster.lines.insert((host.to_owned(), port), Arc::clone(&line));
        Ok(line)
    }

    fn forget_owners(&self) {
        self.lock().owners = Arc::default();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pipeline(commands: impl Iterator<Item = Cmd>) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for command in commands {
        pipeline.add_command(command);
    }
    pipeline
}

/// Whether a cluster has moved what was asked for, or is about to.
fn is_elsewhere(error: &RedisError) -> bool {
    const CODES: [&str; 5] = ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY"];
    let moved = error.clone().into_server_errors();
    let moved = moved.is_some_and(|all| all.iter().any(|(_, one)| CODES.contains(&one.code())));
    // A server that is gone may have been replaced.
    moved || error.is_connection_refusal() || error.is_connection_dropped()
}

/// The slot of a key: that of what stands between the first braces, if anything does.
fn slot(key: &[u8]) -> u16 {
    let tag = || {
        let open = key.iter().position(|byte| *byte == b'{')?;
        let rest = key.get(open + 1..)?;
        let close = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..close).filter(|tag| !tag.is_empty())
    };
    crc16(tag().unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, which the specification of Redis Cluster asks for.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_slots_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"ic:payments:{3f}u42"), slot(b"ic:account:{3f}u42"));
        assert_eq!(slot(b"{}x"), crc16(b"{}x") % SLOTS);
    }
}
