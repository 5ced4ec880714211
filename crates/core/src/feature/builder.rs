//! Definitions in code: the same as in files, with the same defaults.

use std::collections::BTreeMap;

use super::{Aggregate, Derived, Emit, Entity, FeatureView, JoinKey, OnlineForm, RequestInput};
use crate::{AggregateFunction, Closed, Span, TableName, ValueType, Window, WriteMode};

/// The partition of feature tables that no definition names another for.
const FEATURE_DATE: &str = "feature_date";

impl Entity {
    /// An entity that a column of its own name identifies.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { join_keys: vec![JoinKey::new(name.clone())], name, description: None }
    }

    /// Identified by these columns.
    #[must_use]
    pub fn with_join_keys<K: Into<JoinKey>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.join_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Says what it is, to people.
    #[must_use]
    pub fn with_description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }
}

impl Aggregate {
    /// What is computed over which windows; of rows, until a column is named.
    pub fn new(
        name: impl Into<String>,
        function: AggregateFunction,
        windows: impl IntoIterator<Item = Window>,
    ) -> Self {
        Self {
            name: name.into(),
            function,
            column: None,
            filter: None,
            windows: windows.into_iter().collect(),
            closed: None,
            description: None,
        }
    }

    /// Over the values of this column.
    #[must_use]
    pub fn with_column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// Only events for which this SQL expression is true.
    #[must_use]
    pub fn with_filter(mut self, condition: impl Into<String>) -> Self {
        self.filter = Some(condition.into());
        self
    }

    /// These ends of the windows belong to them.
    #[must_use]
    pub const fn with_closed(mut self, closed: Closed) -> Self {
        self.closed = Some(closed);
        self
    }

    /// Says what it is, to people.
    #[must_use]
    pub fn with_description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }
}

impl Derived {
    /// A feature that is this SQL expression over others.
    pub fn new(name: impl Into<String>, expression: impl Into<String>) -> Self {
        Self { name: name.into(), expression: expression.into(), description: None }
    }

    /// Says what it is, to people.
    #[must_use]
    pub fn with_description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }
}

impl RequestInput {
    /// A value of this type, under this name.
    pub fn new(name: impl Into<String>, value_type: ValueType) -> Self {
        Self { name: name.into(), value_type, description: None }
    }

    /// Says what it is, to people.
    #[must_use]
    pub fn with_description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }
}

/// ```
/// use icecore_core::{
///     Aggregate, AggregateFunction, Derived, Entity, FeatureView, Span, TableName, Window,
/// };
///
/// let days = |days| Window::last(Span::from_days(days));
/// let user = Entity::new("user").with_join_keys(["user_token"]);
/// let payments = FeatureView::new("payments", ["user"])
///     .with_source(TableName::parse("events.raw_transactions")?)
///     .with_table(TableName::parse("ml_features.payments")?)
///     .with_ttl(Span::from_days(90))
///     .with_aggregate(
///         Aggregate::new("spend", AggregateFunction::Sum, [days(7), days(30)])
///             .with_column("amount")
///             .with_filter("status = 'approved'"),
///     )
///     .with_derived(Derived::new("trend", "spend_7d / spend_30d"));
/// assert_eq!(payments.feature_names(), ["spend_7d", "spend_30d", "trend"]);
/// assert_eq!(user.join_keys.len(), 1);
/// # Ok::<(), icecore_core::Error>(())
/// ```
impl FeatureView {
    /// A view of these entities, with the defaults that a file has.
    pub fn new<E: Into<String>>(
        name: impl Into<String>,
        entities: impl IntoIterator<Item = E>,
    ) -> Self {
        Self {
            name: name.into(),
            entities: entities.into_iter().map(Into::into).collect(),
            source: None,
            source_sql: None,
            event_timestamp: "event_timestamp".to_owned(),
            created_timestamp: None,
            filter: None,
            ttl: None,
            closed: Closed::default(),
            emit: Emit::default(),
            table: None,
            partition_by: Vec::new(),
            write: WriteMode::OverwritePartitions,
            columns: Vec::new(),
            aggregates: Vec::new(),
            derived: Vec::new(),
            request_inputs: Vec::new(),
            online: OnlineForm::default(),
            description: None,
            owner: None,
            tags: BTreeMap::new(),
        }
    }

    /// Events come from this table.
    #[must_use]
    pub fn with_source(mut self, table: TableName) -> Self {
        self.source = Some(table);
        self
    }

    /// What an online store keeps of it.
    #[must_use]
    pub const fn with_online(mut self, form: OnlineForm) -> Self {
        self.online = form;
        self
    }

    /// Events come from this query.
    #[must_use]
    pub fn with_source_sql(mut self, query: impl Into<String>) -> Self {
        self.source_sql = Some(query.into());
        self
    }

    /// The column with the moment that an event happened; `event_timestamp` unless named.
    #[must_use]
    pub fn with_event_timestamp(mut self, column: impl Into<String>) -> Self {
        self.event_timestamp = column.into();
        self
    }

    /// The column with the moment that an event became known.
    #[must_use]
    pub fn with_created_timestamp(mut self, column: impl Into<String>) -> Self {
        self.created_timestamp = Some(column.into());
        self
    }

    /// Only source rows for which this SQL expression is true.
    #[must_use]
    pub fn with_filter(mut self, condition: impl Into<String>) -> Self {
        self.filter = Some(condition.into());
        self
    }

    /// How old a feature row may be when it is joined.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Span) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Which ends of the windows belong to them.
    #[must_use]
    pub const fn with_closed(mut self, closed: Closed) -> Self {
        self.closed = closed;
        self
    }

    /// When there is a row.
    #[must_use]
    pub fn with_emit(mut self, emit: Emit) -> Self {
        self.emit = emit;
        self
    }

    /// The table that holds the features.
    #[must_use]
    pub fn with_table(mut self, table: TableName) -> Self {
        self.table = Some(table);
        self
    }

    /// How that table is partitioned. Say it after the aggregates, the first of which makes it
    /// `feature_date`.
    #[must_use]
    pub fn with_partition_by<F: Into<String>>(
        mut self,
        fields: impl IntoIterator<Item = F>,
    ) -> Self {
        self.partition_by = fields.into_iter().map(Into::into).collect();
        self
    }

    /// What writing does with the rows that are there.
    #[must_use]
    pub const fn with_write(mut self, write: WriteMode) -> Self {
        self.write = write;
        self
    }

    /// Stored features: these columns of the source, as they are.
    #[must_use]
    pub fn with_columns<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.columns.extend(columns.into_iter().map(Into::into));
        self
    }

    /// One more aggregate.
    #[must_use]
    pub fn with_aggregate(mut self, aggregate: Aggregate) -> Self {
        if self.aggregates.is_empty() && self.partition_by.is_empty() {
            self.partition_by.push(FEATURE_DATE.to_owned());
        }
        self.aggregates.push(aggregate);
        self
    }

    /// One more feature that is computed from others.
    #[must_use]
    pub fn with_derived(mut self, derived: Derived) -> Self {
        self.derived.push(derived);
        self
    }

    /// One more value that requests bring.
    #[must_use]
    pub fn with_request_input(mut self, input: RequestInput) -> Self {
        self.request_inputs.push(input);
        self
    }

    /// Says what it is, to people.
    #[must_use]
    pub fn with_description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Says who answers for it.
    #[must_use]
    pub fn with_owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// One more tag.
    #[must_use]
    pub fn with_tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }
}
