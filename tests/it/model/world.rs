//! The table and its oracle, going hand in hand.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, Schema};
use icecore_catalog::{
    AlterOptions, Alteration, CatalogOptions, CleanOptions, CompactOptions, ExpireOptions,
    FsckOptions, IcebergCatalog, RewriteManifestsOptions, RollbackPolicy, TagMove,
};
use icecore_core::{
    Clock as _, CommitOptions, Committed, ErrorKind, NewTable, PinnedTable, RefName, ScanOptions,
    SnapshotCatalog as _, SnapshotSelector, Span, SystemClock, TableName, Timestamp, WriteMode,
};

use super::oracle::{COUNT, Column, DAY, FIXED, ID, Oracle, REGION, Ref, Row, visible};
use super::step::{Layout, Partition, Step};
use crate::matrix::{difference, scratch};
use crate::rows::{Rows, Value};

pub(super) type Told = Result<(), String>;

pub(super) struct World {
    root: tempfile::TempDir,
    pub(super) catalog: IcebergCatalog,
    pub(super) table: TableName,
    pub(super) oracle: Oracle,
    layout: Layout,
    /// Whether rows may lie in partitions of another layout.
    has_moved: bool,
}

impl World {
    pub(super) async fn new(layout: Layout) -> Self {
        let root = scratch();
        let catalog = open(&root).await;
        let (table, oracle) = (TableName::parse("model.t").unwrap(), Oracle::new());
        let new = NewTable::new(visible(&oracle.columns, &[]).schema())
            .with_partition_by(layout.partition.fields().iter().copied())
            .with_format_version(layout.version);
        assert!(catalog.ensure_table(&table, &new).await.unwrap());
        Self { root, catalog, table, oracle, layout, has_moved: false }
    }

    /// Takes a step on both sides.
    pub(super) async fn take(&mut self, number: usize, step: &Step) -> Told {
        match *step {
            Step::Append { first, count } => {
                self.write(WriteMode::Append, None, &self.fresh(number, first, count)).await
            }
            Step::Overwrite { first, count } => {
                self.write(WriteMode::Overwrite, None, &self.fresh(number, first, count)).await
            }
            // What is in one partition of a new layout lies in several of an old one.
            Step::OverwritePartitions { .. } if self.has_moved => Ok(()),
            Step::OverwritePartitions { first, count } => {
                let rows = self.fresh(number, first, count);
                self.write(WriteMode::OverwritePartitions, None, &rows).await
            }
            Step::Delete { first, count, copy } => self.delete(first..first + count, copy).await,
            Step::OverwriteRegion { region, count, copy } => {
                let rows = (0..count).map(|at| self.oracle.row(60 + 3 * at + region, number));
                self.overwrite_region(&rows.collect::<Vec<_>>(), copy).await
            }
            Step::Upsert { first, count, copy } => {
                self.upsert(self.fresh(number, first, count), copy).await
            }
            Step::AppendToBranch { branch, first, count } => {
                let Some(name) = self.branch(branch) else { return Ok(()) };
                let rows = self.fresh(number, first, count);
                self.write(WriteMode::Append, Some(&name), &rows).await
            }
            Step::Tag(pick) => self.name(pick, true).await,
            Step::Branch(pick) => self.name(pick, false).await,
            Step::DropRef(pick) => self.drop_ref(pick).await,
            Step::Rollback(pick) => self.rollback(pick).await,
            Step::Publish(pick) => self.publish(pick).await,
            Step::CherryPick(pick) => self.cherry_pick(pick).await,
            Step::AddColumn(which) => self.add_column(which).await,
            Step::DropColumn(pick) => self.drop_column(pick).await,
            Step::RenameColumn(pick) => self.rename_column(pick).await,
            Step::PartitionBy(partition) => self.partition_by(partition).await,
            Step::Widen => self.widen().await,
            Step::Expire { retain } => self.expire(retain).await,
            Step::Clean => self.clean().await,
            Step::RewriteManifests => {
                let options = RewriteManifestsOptions::default().with_force(true);
                self.catalog.rewrite_manifests(&self.table, options).await.map_err(told)?;
                self.settle().await
            }
            Step::Compact => {
                // Files of an old layout are written in the new one, and so lie in its partitions.
                let options = CompactOptions::default().with_all(true);
                self.catalog.compact(&self.table, options).await.map_err(told)?;
                self.settle().await
            }
            Step::Reopen => {
                self.catalog = open(&self.root).await;
                Ok(())
            }
        }
    }

    fn fresh(&self, number: usize, first: i64, count: i64) -> Vec<Row> {
        (first..first + count).map(|id| self.oracle.row(id, number)).collect()
    }

    fn head(&self, branch: Option<&str>) -> Option<usize> {
        match branch {
            None => self.oracle.main,
            Some(name) => self.oracle.refs.get(name).map(|found| found.state()),
        }
    }

    /// Notes a state that a commit made on a branch.
    pub(super) fn note(
        &mut self,
        branch: Option<&str>,
        made: &PinnedTable,
        rows: Vec<Row>,
    ) -> usize {
        let parent = self.head(branch);
        let place = self.oracle.commit(made.snapshot, parent, rows);
        match branch {
            None => self.oracle.main = Some(place),
            Some(name) => {
                self.oracle.refs.insert(name.to_owned(), Ref::Branch(place));
            }
        }
        place
    }

    async fn write(&mut self, mode: WriteMode, branch: Option<&str>, rows: &[Row]) -> Told {
        let mut options = CommitOptions::new(mode);
        if let Some(name) = branch {
            options = options.with_branch(named(name));
        }
        let stream = visible(&self.oracle.columns, rows).to_stream();
        let done = self.catalog.commit(&self.table, stream, options).await.map_err(told)?;
        let before = self.oracle.rows_of(self.head(branch));
        let mut after = match mode {
            WriteMode::Append => before.clone(),
            WriteMode::OverwritePartitions => {
                let touched: Vec<_> = rows.iter().map(|row| self.partition(row)).collect();
                let kept = before.iter().filter(|row| !touched.contains(&self.partition(row)));
                kept.cloned().collect()
            }
            _ => Vec::new(),
        };
        let removed = before.len() - after.len();
        after.extend(rows.iter().cloned());
        let at = self.note(branch, &done.pinned, after);
        if mode == WriteMode::Append {
            self.oracle.states[at].appended = Some(rows.to_vec());
        }
        counted(&done, rows.len(), removed)
    }

    /// The partition that a row lies in.
    fn partition(&self, row: &Row) -> Vec<Value> {
        let value = |number: u32| row.get(&number).cloned().unwrap_or(Value::Null);
        match self.layout.partition {
            Partition::None => Vec::new(),
            Partition::Region => vec![value(REGION)],
            Partition::Bucket => vec![Value::Int(bucket_of_three(&value(ID)))],
            Partition::RegionAndDay => vec![value(REGION), value(DAY)],
        }
    }

    fn branch(&self, pick: u8) -> Option<String> {
        let branches = self.oracle.refs.iter().filter(|(_, found)| matches!(found, Ref::Branch(_)));
        let names: Vec<&String> = branches.map(|(name, _)| name).collect();
        (!names.is_empty()).then(|| names[usize::from(pick) % names.len()].clone())
    }

    async fn name(&mut self, pick: u8, is_tag: bool) -> Told {
        let live: Vec<usize> =
            (0..self.oracle.states.len()).filter(|at| !self.oracle.states[*at].expired).collect();
        if live.is_empty() {
            return Ok(());
        }
        let at = live[usize::from(pick) % live.len()];
        let name = format!("{}{}", if is_tag { "tag" } else { "branch" }, pick % 3);
        let pin = self.pin_of(at).await?;
        let done = if is_tag {
            self.catalog.tag(&pin, &named(&name), TagMove::Refuse).await
        } else {
            self.catalog.branch(&pin, &named(&name)).await
        };
        match (done, self.oracle.refs.get(&name)) {
            (Ok(()), None) => {
                let found = if is_tag { Ref::Tag(at) } else { Ref::Branch(at) };
                self.oracle.refs.insert(name, found);
                Ok(())
            }
            (Ok(()), Some(there)) if is_tag && *there == Ref::Tag(at) => Ok(()),
            (Ok(()), Some(_)) => Err(format!("`{name}` was taken, and moved")),
            (Err(error), Some(_)) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            (Err(error), _) => Err(told(error)),
        }
    }

    async fn drop_ref(&mut self, pick: u8) -> Told {
        let names: Vec<String> = self.oracle.refs.keys().cloned().collect();
        if names.is_empty() {
            return Ok(());
        }
        let name = &names[usize::from(pick) % names.len()];
        self.catalog.drop_ref(&self.table, &named(name)).await.map_err(told)?;
        self.oracle.refs.remove(name);
        Ok(())
    }

    async fn rollback(&mut self, pick: u8) -> Told {
        let ancestors = self.oracle.ancestors(self.oracle.main);
        if ancestors.is_empty() {
            return Ok(());
        }
        let to = ancestors[usize::from(pick) % ancestors.len()];
        let id = self.oracle.states[to].id;
        let policy = RollbackPolicy::AncestorsOnly;
        self.catalog.rollback(&self.table, id, policy).await.map_err(told)?;
        self.oracle.main = Some(to);
        Ok(())
    }

    async fn publish(&mut self, pick: u8) -> Told {
        let Some(name) = self.branch(pick) else { return Ok(()) };
        let at = self.head(Some(&name));
        let done = self.catalog.publish(&self.table, &named(&name)).await;
        let descends = |of, from: Option<usize>| {
            from.is_none_or(|from| self.oracle.ancestors(of).contains(&from))
        };
        match done {
            Ok(_) if descends(at, self.oracle.main) => {
                self.oracle.main = at;
                Ok(())
            }
            Ok(_) if descends(self.oracle.main, at) => Ok(()),
            Ok(_) => Err(format!("`{name}` was published, and what `main` had is lost")),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                if descends(at, self.oracle.main) {
                    Err(told(error))
                } else {
                    Ok(())
                }
            }
            Err(error) => Err(told(error)),
        }
    }

    async fn cherry_pick(&mut self, pick: u8) -> Told {
        let states = self.oracle.states.iter().enumerate();
        let appends: Vec<usize> = states
            .filter(|(_, state)| !state.expired && state.appended.is_some())
            .map(|(at, _)| at)
            .collect();
        if appends.is_empty() {
            return Ok(());
        }
        let from = appends[usize::from(pick) % appends.len()];
        let id = self.oracle.states[from].id;
        let done = self.catalog.cherry_pick(&self.table, id, &RefName::main()).await;
        if self.oracle.ancestors(self.oracle.main).contains(&from) {
            return match done {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                other => Err(format!("`main` has these rows: {other:?}")),
            };
        }
        let done = done.map_err(told)?;
        let appended = self.oracle.states[from].appended.take().unwrap_or_default();
        if self.oracle.states[from].parent == self.oracle.main {
            self.oracle.main = Some(from);
            return Ok(());
        }
        let mut rows = self.oracle.rows_of(self.oracle.main);
        rows.extend(appended);
        self.note(None, &done.pinned, rows);
        Ok(())
    }

    async fn evolve(&mut self, columns: Vec<Column>) -> Told {
        let field = |column: &Column| Field::new(&column.name, column.kind.clone(), true);
        let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
        self.catalog.evolve(&self.table, &std::sync::Arc::new(schema)).await.map_err(told)?;
        self.oracle.columns = columns;
        self.settle().await
    }

    /// A change of columns may have made a state of the same rows: then the head is that.
    async fn settle(&mut self) -> Told {
        let head = self.latest().await?;
        let known = self.oracle.main.map(|at| self.oracle.states[at].id);
        if head.snapshot != PinnedTable::EMPTY && known != Some(head.snapshot) {
            let rows = self.oracle.rows_of(self.oracle.main);
            self.note(None, &head, rows);
        }
        Ok(())
    }

    async fn add_column(&mut self, which: u8) -> Told {
        let name = format!("extra{which}");
        if self.oracle.columns.iter().any(|column| column.name == name) {
            return Ok(());
        }
        self.oracle.numbers += 1;
        let mut columns = self.oracle.columns.clone();
        columns.push(Column { number: self.oracle.numbers, name, kind: DataType::Utf8 });
        self.evolve(columns).await
    }

    async fn alter(&mut self, alteration: Alteration, columns: Vec<Column>) -> Told {
        let options = AlterOptions::default();
        self.catalog.alter(&self.table, &[alteration], options).await.map_err(told)?;
        self.oracle.columns = columns;
        self.settle().await
    }

    /// One of the columns that were added.
    fn added(&self, pick: u8) -> Option<usize> {
        let added = self.oracle.columns.len() - FIXED;
        (added > 0).then(|| FIXED + usize::from(pick) % added)
    }

    async fn drop_column(&mut self, pick: u8) -> Told {
        let Some(place) = self.added(pick) else { return Ok(()) };
        let mut columns = self.oracle.columns.clone();
        let dropped = columns.remove(place);
        self.alter(Alteration::DropColumn(dropped.name), columns).await
    }

    async fn rename_column(&mut self, pick: u8) -> Told {
        let Some(place) = self.added(pick) else { return Ok(()) };
        let mut columns = self.oracle.columns.clone();
        let to = format!("named{pick}");
        if columns.iter().any(|column| column.name == to) {
            return Ok(());
        }
        let column = std::mem::replace(&mut columns[place].name, to.clone());
        self.alter(Alteration::RenameColumn { column, to }, columns).await
    }

    async fn partition_by(&mut self, partition: Partition) -> Told {
        self.has_moved |= partition != self.layout.partition;
        self.layout.partition = partition;
        let fields = partition.fields().iter().map(|field| (*field).to_owned()).collect();
        let columns = self.oracle.columns.clone();
        self.alter(Alteration::PartitionBy(fields), columns).await
    }

    async fn widen(&mut self) -> Told {
        let mut columns = self.oracle.columns.clone();
        for column in columns.iter_mut().filter(|column| column.number == COUNT) {
            column.kind = DataType::Int64;
        }
        self.evolve(columns).await
    }

    async fn expire(&mut self, retain: usize) -> Told {
        let later = Timestamp::from_micros(SystemClock.now().micros() + 3_600_000_000);
        let options =
            ExpireOptions::default().with_older_than(Some(later)).with_retain_last(Some(retain));
        let report = self.catalog.expire(&self.table, options).await.map_err(told)?;
        let mut needed: BTreeSet<usize> = BTreeSet::new();
        for found in self.oracle.refs.values() {
            match found {
                Ref::Tag(at) => {
                    needed.insert(*at);
                }
                Ref::Branch(at) => needed.extend(self.last(Some(*at), retain)),
            }
        }
        needed.extend(self.last(self.oracle.main, retain));
        for (at, state) in self.oracle.states.iter_mut().enumerate() {
            let goes = report.expired.contains(&state.id);
            if goes == needed.contains(&at) && !state.expired {
                return Err(format!("state {at} goes: {goes}; it is needed: {}", !goes));
            }
            state.expired |= goes;
        }
        Ok(())
    }

    fn last(&self, head: Option<usize>, retain: usize) -> Vec<usize> {
        self.oracle.ancestors(head).into_iter().take(retain).collect()
    }

    async fn clean(&self) -> Told {
        let options = CleanOptions::default().with_older_than(Span::from_days(0));
        self.catalog.clean(&self.table, options).await.map_err(told)?;
        Ok(())
    }

    /// Nothing is wrong with any file that a state needs.
    async fn check_files(&self) -> Told {
        let options = FsckOptions::default().with_deep(true);
        let report = self.catalog.fsck(&self.table, options).await.map_err(told)?;
        match report.findings().next() {
            None => Ok(()),
            Some((_, finding)) => Err(format!("fsck: {finding:?}")),
        }
    }

    async fn latest(&self) -> Result<PinnedTable, String> {
        self.catalog.pin(&self.table, &SnapshotSelector::Latest).await.map_err(told)
    }

    async fn pin_of(&self, at: usize) -> Result<PinnedTable, String> {
        let id = self.oracle.states[at].id;
        self.catalog.pin(&self.table, &SnapshotSelector::Id(id)).await.map_err(told)
    }

    async fn read(&self, pin: &PinnedTable) -> Result<Rows, String> {
        let stream = self.catalog.scan(pin, ScanOptions::default()).await.map_err(told)?;
        Ok(Rows::from_batch(&stream.concat().await.map_err(told)?))
    }

    /// The head is where the oracle's is, and holds the same.
    pub(super) async fn check_head(&self) -> Told {
        let head = self.latest().await?;
        match self.oracle.main {
            None if head.snapshot == PinnedTable::EMPTY => Ok(()),
            Some(at) if head.snapshot == self.oracle.states[at].id => {
                same(&self.read(&head).await?, &self.oracle.states[at].visible())
            }
            expected => Err(format!("the head is {}, not state {expected:?}", head.snapshot)),
        }
    }

    /// Every state that was not expired reads as it did when it was made, by its id and by name.
    pub(super) async fn check_every_pin(&self) -> Told {
        self.check_files().await?;
        for (at, state) in self.oracle.states.iter().enumerate() {
            let told = |what| format!("state {at}, {}: {what}", state.id);
            if state.expired {
                match self.catalog.pin(&self.table, &SnapshotSelector::Id(state.id)).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    other => return Err(told(format!("it was expired, and pins as {other:?}"))),
                }
            }
            let pin = self.pin_of(at).await.map_err(told)?;
            same(&self.read(&pin).await.map_err(told)?, &state.visible()).map_err(told)?;
        }
        for (name, found) in &self.oracle.refs {
            let selector = SnapshotSelector::Ref(named(name));
            let pin = self.catalog.pin(&self.table, &selector).await;
            let expected = self.oracle.states[found.state()].id;
            if pin.as_ref().ok().map(|pin| pin.snapshot) != Some(expected) {
                return Err(format!("`{name}` is {pin:?}, not {expected}"));
            }
        }
        Ok(())
    }
}

async fn open(root: &tempfile::TempDir) -> IcebergCatalog {
    let path = |name: &str| root.path().join(name).display().to_string();
    let options = CatalogOptions::new(format!("sqlite:{}", path("catalog.db")), path("warehouse"));
    IcebergCatalog::open(options).await.unwrap()
}

fn named(name: &str) -> RefName {
    RefName::parse(name).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
pub(super) fn told(error: icecore_core::Error) -> String {
    format!("{error}: {:?}", error.notes())
}

fn same(found: &Rows, expected: &Rows) -> Told {
    if found.columns != expected.columns {
        return Err(format!("columns {:?}, not {:?}", found.columns, expected.columns));
    }
    let (found, expected) = (found.sorted(), expected.sorted());
    if found == expected { Ok(()) } else { Err(difference(&found, &expected)) }
}

fn counted(done: &Committed, added: usize, removed: usize) -> Told {
    let counts = (done.added_rows, done.removed_rows);
    let expected = (added as u64, removed as u64);
    if counts == expected {
        Ok(())
    } else {
        Err(format!("it says that it added and removed {counts:?} rows, not {expected:?}"))
    }
}

/// Iceberg's bucket of a whole number: the 32-bit Murmur3 hash of its eight bytes, little end first.
fn bucket_of_three(id: &Value) -> i64 {
    let Value::Int(id) = id else { return -1 };
    let mut hash = 0_u32;
    for half in [*id as u32, (*id >> 32) as u32] {
        let mixed = half.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
        hash = (hash ^ mixed).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    hash ^= 8;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^= hash >> 16;
    i64::from((hash & 0x7fff_ffff) % 3)
}
