//! Queries: what may be asked, and which tables it reads.

mod depth;

use std::collections::BTreeMap;

use datafusion::dataframe::DataFrame;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{SetExpr, Statement as Sql};
use icecore_core::{Error, PinnedTable, Result, SnapshotSelector, TableName};

use crate::describe;
use crate::error::OrOurs as _;
use crate::parse::parse_statements;
use crate::resolve::{Named, Resolver};
use crate::session::{CATALOG, NO_NAMESPACE};
use crate::view::{self, is_views_table};
use crate::{dialect, maps};

/// Parses one query. Whatever would change something, or read what is not a table, is refused.
pub(crate) fn parse(sql: &str) -> Result<Statement> {
    let mut statements = parse_statements(sql).or_ours().map_err(|error| with_hint(error, sql))?;
    let Some(mut statement) = statements.pop_front() else {
        return Err(Error::invalid("there is no query").with_help("write one, such as `SELECT 1`"));
    };
    if !statements.is_empty() {
        return Err(
            Error::invalid("there is more than one statement").with_help("run one query at a time")
        );
    }
    check(&statement)?;
    dialect::rewrite(&mut statement);
    Ok(statement)
}

/// Other engines write the version that is read into the query.
fn with_hint(error: Error, sql: &str) -> Error {
    let words: Vec<String> = sql.split_whitespace().map(str::to_uppercase).collect();
    let kinds = ["SYSTEM_TIME", "SYSTEM_VERSION", "VERSION", "TIMESTAMP"];
    let versioned = words.windows(3).any(|words| match words {
        [kind, r#as, of] => kinds.contains(&kind.as_str()) && r#as == "AS" && of == "OF",
        _ => false,
    });
    if versioned {
        error.with_help("read a table as it was with `icecore sql QUERY --at TABLE=SELECTOR`")
    } else {
        error
    }
}

fn check(statement: &Statement) -> Result<()> {
    let help = match statement {
        Statement::Explain(explain) => return check(&explain.statement),
        Statement::CopyTo(_) => "write results to a file with `icecore sql --output`",
        Statement::CreateExternalTable(_) => "bring files into a table with `icecore ingest`",
        Statement::Reset(_) => "settings are in `icecore.toml`",
        Statement::Statement(sql) => match sql.as_ref() {
            Sql::Query(query) => {
                check_body(&query.body)?;
                return dialect::check_samples(sql);
            }
            Sql::ExplainTable { .. } => return Ok(()),
            Sql::Insert(_) | Sql::Merge { .. } | Sql::Copy { .. } | Sql::LoadData { .. } => {
                "rows are added by `icecore ingest`, by models and by jobs"
            }
            Sql::Delete(_) | Sql::Truncate { .. } => {
                "delete rows with `icecore table delete TABLE --where CONDITION`"
            }
            Sql::Update { .. } => {
                "change rows with `icecore ingest TABLE FILE --mode upsert --key COLUMNS`"
            }
            Sql::CreateTable(_) | Sql::CreateView { .. } => {
                "tables are made by `icecore table create` and `icecore ingest`, by models and by jobs"
            }
            Sql::ShowTables { .. } | Sql::ShowDatabases { .. } | Sql::ShowSchemas { .. } => {
                "list tables with `icecore table list`"
            }
            Sql::Set(_) | Sql::ShowVariable { .. } => "settings are in `icecore.toml`",
            _ => "a query begins with `SELECT` or `WITH`",
        },
    };
    Err(Error::unsupported("this is not a query").with_help(help))
}

/// `WITH x AS (…) INSERT …` is a query to the parser.
fn check_body(body: &SetExpr) -> Result<()> {
    match body {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            Err(Error::unsupported("this is not a query")
                .with_help("rows are added by `icecore ingest`, by models and by jobs"))
        }
        _ => Ok(()),
    }
}

/// Plans a parsed query in a session.
pub(crate) async fn plan(session: &SessionContext, statement: Statement) -> Result<DataFrame> {
    let plan = session.state().statement_to_plan(statement).await.or_ours()?;
    // `SELECT … INTO` and data-changing subqueries are queries to the parser.
    let queries =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    if queries.verify_plan(&plan).is_err() {
        return Err(Error::unsupported("this query would change something")
            .with_help("a query only reads; rows are added by `icecore ingest` and by jobs"));
    }
    depth::check(&plan)?;
    if let LogicalPlan::DescribeTable(described) = &plan {
        return session.read_batch(describe::rows(&described.schema)?).or_ours();
    }
    maps::check_uncompared(&plan)?;
    Ok(DataFrame::new(session.state(), plan))
}

/// The tables and views that a query names, each once.
pub(crate) async fn names(
    state: &SessionState,
    statement: &Statement,
    resolver: &Resolver,
) -> Result<Vec<TableName>> {
    let mut names = Vec::new();
    for reference in state.resolve_table_references(statement).or_ours()? {
        let reference = reference.resolve(CATALOG, NO_NAMESPACE);
        let named = resolver.named(&reference.catalog, &reference.schema, &reference.table).await?;
        // Files and partitions are those of one state, as rows are.
        let name = match named {
            Named::Table(name) => name,
            Named::Metadata(name, which) if which.is_of_snapshot() => name,
            Named::Metadata(..) | Named::Function => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// What names come to.
pub(crate) struct Expanded {
    /// The tables among them, and those that the views among them read, each once.
    pub(crate) tables: Vec<TableName>,
    /// The views among them that the catalog keeps, and those that these read, with their queries.
    pub(crate) kept_views: BTreeMap<TableName, String>,
}

/// Looks through views, down to tables.
pub(crate) async fn expand(
    state: &SessionState,
    mut open: Vec<TableName>,
    resolver: &Resolver,
) -> Result<Expanded> {
    let mut expanded = Expanded { tables: Vec::new(), kept_views: BTreeMap::new() };
    let mut seen = Vec::new();
    while let Some(name) = open.pop() {
        if resolver.has_rows(&name) || seen.contains(&name) {
            continue;
        }
        match resolver.view(&name).await? {
            Some(sql) => {
                open.extend(names(state, &parse(&sql)?, resolver).await?);
                if !resolver.has_view(&name) {
                    expanded.kept_views.insert(name.clone(), sql);
                }
            }
            None => expanded.tables.push(name.clone()),
        }
        seen.push(name);
    }
    expanded.tables.sort();
    Ok(expanded)
}

/// Whether the table in which views are kept is one that a query with such a view reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ViewsTable {
    Read,
    LeftOut,
}

/// How tables are pinned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pinning<'a> {
    /// States that are named.
    pub(crate) at: &'a [(TableName, SnapshotSelector)],
    pub(crate) of_views: ViewsTable,
    /// Whether it is a mistake to name a table that the query does not read.
    pub(crate) is_strict: bool,
}

/// Pins every table that a query reads.
pub(crate) async fn pin(
    state: &SessionState,
    statement: &Statement,
    resolver: &Resolver,
    Pinning { at, of_views, is_strict }: Pinning<'_>,
) -> Result<Vec<PinnedTable>> {
    if let Some((table, selector)) = at.iter().find(|(name, _)| is_views_table(name)) {
        // What views say decides which tables are read.
        resolver.pin(table, selector).await?;
    }
    let expanded = expand(state, names(state, statement, resolver).await?, resolver).await?;
    let mut names = expanded.tables;
    let is_read = !expanded.kept_views.is_empty() && of_views == ViewsTable::Read;
    if is_read && !names.iter().any(is_views_table) {
        names.push(view::table()?);
    }
    let unread = at.iter().find(|(name, _)| !names.contains(name));
    if let Some((unread, _)) = unread.filter(|_| is_strict) {
        let read: Vec<&str> = names.iter().map(TableName::as_str).collect();
        return Err(Error::invalid(format!("the query does not read `{unread}`"))
            .with_note(format!("it reads: {}", read.join(", ")))
            .with_candidates(unread.as_str(), read.iter().copied()));
    }
    let wanted: Vec<(TableName, SnapshotSelector)> = names
        .into_iter()
        .map(|name| {
            let chosen = at.iter().find(|(table, _)| *table == name);
            let selector = chosen.map_or(SnapshotSelector::Latest, |(_, chosen)| chosen.clone());
            (name, selector)
        })
        .collect();
    let mut pins = resolver.pin_all(&wanted).await?;
    pins.sort();
    Ok(pins)
}
