//! Look-ups on a runtime of their own.

use std::sync::Arc;

use async_trait::async_trait;
use icecore_core::{Error, Result};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::{LakeScore, ScoreLookup, ScoreRoute};

/// Look-ups that are done on this runtime, whoever waits for them: they take milliseconds of work,
/// for which no thread is to be held up that answers in microseconds.
#[derive(Debug)]
pub(crate) struct Apart {
    lookup: Arc<dyn ScoreLookup>,
    runtime: Handle,
}

impl Apart {
    pub(crate) fn new(lookup: Arc<dyn ScoreLookup>, runtime: Handle) -> Self {
        Self { lookup, runtime }
    }

    /// Does something there. It is given up with whoever waits for it.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work.in_current_span(), &self.runtime);
        match tasks.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(error)) => {
                Err(Error::internal("a look-up in the lakehouse was lost").with_source(error))
            }
            None => Err(Error::internal("a look-up in the lakehouse was lost")),
        }
    }
}

#[async_trait]
impl ScoreLookup for Apart {
    fn latency_path(&self) -> &str {
        self.lookup.latency_path()
    }

    async fn lookup(&self, route: &ScoreRoute, key: &str) -> Result<Option<LakeScore>> {
        let (lookup, route, key) = (Arc::clone(&self.lookup), route.clone(), key.to_owned());
        self.run(async move { lookup.lookup(&route, &key).await }).await
    }

    async fn check(&self, route: &ScoreRoute) -> Result<()> {
        let (lookup, route) = (Arc::clone(&self.lookup), route.clone());
        self.run(async move { lookup.check(&route).await }).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread::{self, ThreadId};

    use tokio::sync::Notify;

    use super::*;
    use crate::lake::tests::route;

    /// Says on which thread it was asked, and whether a look-up that hangs was given up.
    #[derive(Debug, Default)]
    struct Spy {
        asked_on: Mutex<Vec<ThreadId>>,
        came: Notify,
        given_up: Arc<Notify>,
    }

    struct Ended(Arc<Notify>);

    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }

    #[async_trait]
    impl ScoreLookup for Spy {
        fn latency_path(&self) -> &str {
            "spy"
        }

        async fn lookup(&self, _: &ScoreRoute, key: &str) -> Result<Option<LakeScore>> {
            self.asked_on.lock().unwrap().push(thread::current().id());
            match key {
                "hangs" => {
                    let _ended = Ended(Arc::clone(&self.given_up));
                    self.came.notify_one();
                    std::future::pending().await
                }
                "panics" => panic!("as it was asked to"),
                _ => Ok(None),
            }
        }
    }

    #[test]
    fn look_ups_are_done_elsewhere_and_given_up_with_who_waits_for_them() {
        let elsewhere = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        let elsewhere = elsewhere.unwrap();
        let here = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let spy = Arc::new(Spy::default());
        let apart = Apart::new(spy.clone(), elsewhere.handle().clone());
        here.block_on(async {
            let route = route();
            assert_eq!(apart.lookup(&route, "a").await.unwrap(), None);
            apart.check(&route).await.unwrap();
            let lost = apart.lookup(&route, "panics").await.unwrap_err();
            assert!(lost.to_string().contains("was lost"), "{lost}");
            tokio::select! {
                _ = apart.lookup(&route, "hangs") => unreachable!("it hangs"),
                () = spy.came.notified() => {}
            }
            spy.given_up.notified().await;
        });
        let asked_on = spy.asked_on.lock().unwrap();
        assert_eq!(asked_on.len(), 4);
        assert!(!asked_on.contains(&thread::current().id()));
    }
}
