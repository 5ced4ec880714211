//! What a table that is there keeps, whatever is said of a new one.

use icecore_catalog::{AlterOptions, Alteration, TableDescription};
use icecore_core::{Error, Result};

use super::IngestJob;
use crate::Project;

impl Project {
    /// Refuses a job that asks for a layout that the table does not have: files are written as the
    /// table is, and nobody should believe otherwise.
    pub(super) async fn keeps_layout(
        &self,
        job: &IngestJob,
        table: &TableDescription,
    ) -> Result<()> {
        let name = &job.table;
        if let Some(version) = job.format_version
            && version != table.format_version
        {
            return Err(Error::invalid(format!(
                "`{name}` has format version {}, and not {version}",
                table.format_version
            ))
            .with_help(format!(
                "leave out the version; `icecore table upgrade {name} --to {version}` raises it"
            )));
        }
        let partition = Alteration::PartitionBy(job.partition_by.clone());
        let sort = Alteration::SortBy(job.sort_by.clone());
        let (by, sorted) = (&table.partition_by, &table.sort_by);
        let asked = [
            (!job.partition_by.is_empty(), partition, ["partitioned", "partitioning"], by),
            (!job.sort_by.is_empty(), sort, ["sorted", "order"], sorted),
        ];
        for (is_asked, alteration, [done, what], now) in asked {
            // The table says whether that is another layout, however it is written.
            let options = AlterOptions::dry_run();
            if !is_asked || !self.catalog().alter(name, &[alteration], options).await?.changed {
                continue;
            }
            let note = match now.as_slice() {
                [] => format!("it is not {done}"),
                now => format!("it is {done} by: {}", now.join(", ")),
            };
            return Err(Error::invalid(format!("`{name}` is {done} in another way"))
                .with_note(note)
                .with_help(format!(
                    "leave out the {what}: a table keeps its own; `icecore table alter {name}` \
                     changes it"
                )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use icecore_core::TableName;

    use super::*;
    use crate::{OpenOptions, Template, init};

    type Change = fn(&mut IngestJob);

    async fn ingest(project: &Project, dir: &Path, of: Change) -> Result<()> {
        let file = dir.join("rows.csv");
        std::fs::write(&file, "id,at\n1,2026-01-01T00:00:00Z\n").unwrap();
        let mut job = IngestJob::new(TableName::parse("shop.orders")?, vec![file]);
        of(&mut job);
        project.ingest(job).await.map(|_| ())
    }

    #[tokio::test]
    async fn another_layout_is_refused_and_the_same_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        init(&path, Template::Empty).unwrap();
        let project = Project::open(&path, OpenOptions::default()).await.unwrap();
        ingest(&project, dir.path(), |job| {
            job.partition_by = vec!["day(at)".to_owned()];
            job.sort_by = vec!["id".to_owned()];
        })
        .await
        .unwrap();
        // However it is written, and if it is not.
        ingest(&project, dir.path(), |_| {}).await.unwrap();
        ingest(&project, dir.path(), |job| {
            job.partition_by = vec![" day( at )".to_owned()];
            job.sort_by = vec!["id ASC nulls first".to_owned()];
            job.format_version = Some(2);
        })
        .await
        .unwrap();
        let cases: [(Change, &str); 3] = [
            (
                |job| job.sort_by = vec!["id desc".to_owned()],
                "`shop.orders` is sorted in another way",
            ),
            (
                |job| job.partition_by = vec!["month(at)".to_owned()],
                "`shop.orders` is partitioned in another way",
            ),
            (|job| job.format_version = Some(3), "`shop.orders` has format version 2, and not 3"),
        ];
        for (of, expected) in cases {
            let error = ingest(&project, dir.path(), of).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
            assert!(error.help().is_some());
        }
    }
}
