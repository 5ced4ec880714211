//! What may be done, in small numbers that mean something in every state: shrinking leaves fewer
//! steps and smaller numbers, and they still make sense.

use proptest::prelude::*;

/// How the table is at first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) version: u8,
    pub(super) partition: Partition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Partition {
    None,
    Region,
    Bucket,
    RegionAndDay,
}

impl Partition {
    pub(super) const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Region => &["region"],
            Self::Bucket => &["bucket(3, id)"],
            Self::RegionAndDay => &["region", "day"],
        }
    }
}

/// One thing that is done. `u8`s choose among what there is, whatever that is.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Append {
        first: i64,
        count: i64,
    },
    Overwrite {
        first: i64,
        count: i64,
    },
    OverwritePartitions {
        first: i64,
        count: i64,
    },
    /// Rows of these numbers go, by copying files or by delete files.
    Delete {
        first: i64,
        count: i64,
        copy: bool,
    },
    /// Rows of a region are replaced.
    OverwriteRegion {
        region: i64,
        count: i64,
        copy: bool,
    },
    Upsert {
        first: i64,
        count: i64,
        copy: bool,
    },
    AppendToBranch {
        branch: u8,
        first: i64,
        count: i64,
    },
    Tag(u8),
    Branch(u8),
    DropRef(u8),
    /// Back to one of the states that the head descends from.
    Rollback(u8),
    /// `main` moves along to a branch that descends from it.
    Publish(u8),
    /// `main` gets the rows that were appended elsewhere.
    CherryPick(u8),
    /// A new, optional column; one that was dropped comes back as another.
    AddColumn(u8),
    /// A column that was added goes, with its values.
    DropColumn(u8),
    /// A column that was added takes another name.
    RenameColumn(u8),
    /// What is written from here on is partitioned otherwise.
    PartitionBy(Partition),
    /// Whole numbers become longer ones.
    Widen,
    /// Everything goes that is no head and not tagged, but for the last few of each branch.
    Expire {
        retain: usize,
    },
    /// Files that no state names go.
    Clean,
    RewriteManifests,
    Compact,
    /// From here on through another handle, that has nothing cached.
    Reopen,
}

fn partition() -> impl Strategy<Value = Partition> {
    prop_oneof![
        Just(Partition::None),
        Just(Partition::Region),
        Just(Partition::Bucket),
        Just(Partition::RegionAndDay),
    ]
}

pub(super) fn layout() -> impl Strategy<Value = Layout> {
    (2_u8..=3, partition()).prop_map(|(version, partition)| Layout { version, partition })
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let rows = || (0_i64..24, 1_i64..9);
    prop_oneof![
        6 => rows().prop_map(|(first, count)| Step::Append { first, count }),
        1 => rows().prop_map(|(first, count)| Step::Overwrite { first, count }),
        2 => rows().prop_map(|(first, count)| Step::OverwritePartitions { first, count }),
        3 => (rows(), any::<bool>())
            .prop_map(|((first, count), copy)| Step::Delete { first, count, copy }),
        1 => (0_i64..3, 1_i64..5, any::<bool>())
            .prop_map(|(region, count, copy)| Step::OverwriteRegion { region, count, copy }),
        3 => (rows(), any::<bool>())
            .prop_map(|((first, count), copy)| Step::Upsert { first, count, copy }),
        2 => (any::<u8>(), rows())
            .prop_map(|(branch, (first, count))| Step::AppendToBranch { branch, first, count }),
        1 => any::<u8>().prop_map(Step::Tag),
        1 => any::<u8>().prop_map(Step::Branch),
        1 => any::<u8>().prop_map(Step::DropRef),
        2 => any::<u8>().prop_map(Step::Rollback),
        2 => any::<u8>().prop_map(Step::Publish),
        1 => any::<u8>().prop_map(Step::CherryPick),
        1 => (0_u8..3).prop_map(Step::AddColumn),
        1 => any::<u8>().prop_map(Step::DropColumn),
        1 => any::<u8>().prop_map(Step::RenameColumn),
        1 => partition().prop_map(Step::PartitionBy),
        1 => Just(Step::Widen),
        1 => (1_usize..4).prop_map(|retain| Step::Expire { retain }),
        1 => Just(Step::Clean),
        1 => Just(Step::RewriteManifests),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}
