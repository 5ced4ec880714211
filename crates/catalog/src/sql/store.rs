//! Pointers and namespaces in tables of a database: the same calls for SQLite and Postgres, whose
//! types have nothing in common that would let a function be written over both.

/// Implements the stores for a type with `pool`, `name`, `begin()`, `queue_up()` and `is_queued()`,
/// next to a function `end` that commits.
macro_rules! sql_stores {
    ($store:ty) => {
        impl $store {
            /// Executes a statement over a table and returns how many rows it touched.
            async fn over(
                tx: &mut Tx,
                statement: &'static str,
                values: &[&str],
            ) -> sqlx::Result<u64> {
                let mut query = sqlx::query(statement);
                for value in values {
                    query = query.bind((*value).to_owned());
                }
                query.execute(&mut **tx).await.map(|done| done.rows_affected())
            }

            /// Executes one statement in a transaction of its own.
            async fn change(&self, statement: &'static str, values: &[&str]) -> Swap {
                let mut tx = match self.begin().await {
                    Ok(tx) => tx,
                    Err(failed) => return failed,
                };
                let changed = Self::over(&mut tx, statement, values).await;
                end(tx, changed).await
            }

            async fn insert(
                &self,
                tx: &mut Tx,
                table: &TableName,
                location: &str,
            ) -> sqlx::Result<u64> {
                let values = [&self.name, table.namespace(), table.table(), location];
                let inserted = Self::over(tx, statements::INSERT, &values).await?;
                self.note_namespace(tx, table.namespace()).await?;
                Ok(inserted)
            }

            async fn moved(
                &self,
                tx: &mut Tx,
                (table, to): (&TableName, &TableName),
                at: &str,
            ) -> sqlx::Result<u64> {
                let (from_space, to_space) = (table.namespace(), to.namespace());
                let values = [&self.name, from_space, table.table(), at, to_space, to.table()];
                let renamed = Self::over(tx, statements::RENAME, &values).await?;
                self.note_namespace(tx, to_space).await?;
                Ok(renamed)
            }

            async fn is_taken(&self, tx: &mut Tx, name: &TableName) -> sqlx::Result<bool> {
                let found: i64 = sqlx::query_scalar(statements::IS_TAKEN)
                    .bind(&self.name)
                    .bind(name.namespace())
                    .bind(name.table())
                    .fetch_one(&mut **tx)
                    .await?;
                Ok(found > 0)
            }

            /// Makes a namespace exist.
            async fn note_namespace(&self, tx: &mut Tx, namespace: &str) -> sqlx::Result<()> {
                let (key, value) = statements::EXISTS;
                let values = [&self.name, namespace, key, value];
                Self::over(tx, statements::INSERT_PROPERTY, &values).await.map(|_| ())
            }
        }

        #[async_trait]
        impl PointerStore for $store {
            async fn list(&self) -> Result<Vec<TableName>> {
                let rows: Vec<(String, String)> = sqlx::query_as(statements::LIST)
                    .bind(&self.name)
                    .fetch_all(&self.pool)
                    .await
                    .context(|| "cannot list the tables of the catalog")?;
                Ok(super::names(rows))
            }

            async fn find(&self, table: &TableName) -> Result<Option<String>> {
                let found: Option<Option<String>> = sqlx::query_scalar(statements::FIND)
                    .bind(&self.name)
                    .bind(table.namespace())
                    .bind(table.table())
                    .fetch_optional(&self.pool)
                    .await
                    .context(|| format!("cannot look up table `{table}`"))?;
                match found {
                    Some(None) => Err(Error::corrupt(format!(
                        "the catalog's row of table `{table}` names no metadata"
                    ))),
                    Some(location) => Ok(location),
                    None => Ok(None),
                }
            }

            async fn create(&self, table: &TableName, location: &str) -> Swap {
                let mut tx = match self.begin().await {
                    Ok(tx) => tx,
                    Err(failed) => return failed,
                };
                let inserted = self.insert(&mut tx, table, location).await;
                end(tx, inserted).await
            }

            async fn swap(&self, table: &TableName, from: &str, to: &str) -> Swap {
                let values = [&*self.name, table.namespace(), table.table(), from, to];
                self.change(statements::SWAP, &values).await
            }

            async fn rename(&self, table: &TableName, to: &TableName, at: &str) -> Swap {
                let mut tx = match self.begin().await {
                    Ok(tx) => tx,
                    Err(failed) => return failed,
                };
                let renamed = self.moved(&mut tx, (table, to), at).await;
                let is_taken = match &renamed {
                    Ok(0) => self.is_taken(&mut tx, to).await.unwrap_or(false),
                    // Somebody took the name in the same moment.
                    Err(error) => {
                        error.as_database_error().is_some_and(|error| error.is_unique_violation())
                    }
                    Ok(_) => false,
                };
                match is_taken {
                    true => Swap::Failed(taken(to)),
                    false => end(tx, renamed).await,
                }
            }

            async fn remove(&self, table: &TableName, at: &str) -> Swap {
                let values = [&*self.name, table.namespace(), table.table(), at];
                self.change(statements::REMOVE, &values).await
            }

            async fn queue(&self, table: &TableName) -> Result<Place> {
                self.queue_up(table).await
            }

            async fn has_queue(&self, table: &TableName) -> bool {
                self.is_queued(table).await
            }

            fn namespaces(&self) -> Option<&dyn NamespaceStore> {
                Some(self)
            }
        }

        #[async_trait]
        impl NamespaceStore for $store {
            async fn list(&self) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
                let rows: Vec<(String, String, String)> = sqlx::query_as(statements::NAMESPACES)
                    .bind(&self.name)
                    .fetch_all(&self.pool)
                    .await
                    .context(|| "cannot list the namespaces of the catalog")?;
                let mut found = BTreeMap::<_, BTreeMap<_, _>>::new();
                for (namespace, key, value) in rows {
                    let properties = found.entry(namespace).or_default();
                    if (&*key, &*value) != statements::EXISTS {
                        properties.insert(key, value);
                    }
                }
                Ok(found)
            }

            async fn put(
                &self,
                namespace: &str,
                properties: &BTreeMap<String, String>,
            ) -> Result<()> {
                let work = async {
                    let mut tx = self.begin().await?;
                    let of = [&*self.name, namespace];
                    let mut worked = Self::over(&mut tx, statements::REMOVE_NAMESPACE, &of).await;
                    let exists = std::iter::once(statements::EXISTS);
                    let pairs = properties.iter().map(|(key, value)| (&**key, &**value));
                    for (key, value) in pairs.chain(exists) {
                        if worked.is_ok() {
                            let values = [&*self.name, namespace, key, value];
                            worked =
                                Self::over(&mut tx, statements::INSERT_PROPERTY, &values).await;
                        }
                    }
                    Ok(end(tx, worked.map(|_| 1)).await)
                };
                match work.await {
                    Ok(Swap::Done | Swap::Moved) => Ok(()),
                    Ok(Swap::Failed(error) | Swap::Unknown(error))
                    | Err(Swap::Failed(error) | Swap::Unknown(error)) => Err(error),
                    Err(Swap::Done | Swap::Moved) => Ok(()),
                }
            }

            async fn remove(&self, namespace: &str) -> Result<bool> {
                let mut tx = match self.begin().await {
                    Ok(tx) => tx,
                    Err(Swap::Failed(error) | Swap::Unknown(error)) => return Err(error),
                    Err(Swap::Done | Swap::Moved) => return Ok(false),
                };
                let of = [&*self.name, namespace];
                let removed = Self::over(&mut tx, statements::REMOVE_NAMESPACE, &of).await;
                let were_there = removed.as_ref().is_ok_and(|rows| *rows > 0);
                match end(tx, removed.map(|rows| rows.min(1))).await {
                    Swap::Done | Swap::Moved => Ok(were_there),
                    Swap::Failed(error) | Swap::Unknown(error) => Err(error),
                }
            }
        }
    };
}

pub(super) use sql_stores;
