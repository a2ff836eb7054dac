//! Watches the files while the sidecar runs, and takes in what has changed (runtime §3.5).
//!
//! The decision what is to be done is [`Live`]'s, the doing is the actors'. Whatever the system
//! forgets to tell, the next look at everything finds out.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bindery_actors::Runtime;
use bindery_contract::Clock;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::http::Api;
use crate::resources::{Changes, Configuration, Inspection, Live, LoadError, Sources};

/// How long the files must be left alone before they are read: editors write in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// How long a file that is written again and again can put that off.
const LATEST: Duration = Duration::from_secs(1);
/// When a file that was empty is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Somebody wants the files looked at now; the answer is what is wrong in them.
pub(super) type LookNow = oneshot::Sender<Vec<String>>;

/// Takes changes of the files into a running sidecar.
pub(super) struct Reloader {
    pub(super) clock: Clock,
    pub(super) sources: Arc<Sources>,
    /// The Configuration files, and what they came to last.
    pub(super) configurations: Vec<PathBuf>,
    pub(super) configuration: Arc<Configuration>,
    pub(super) live: Live,
    pub(super) runtime: Rc<Runtime>,
    pub(super) api: Arc<Api>,
    /// How often everything is looked at without a cause; `None` looks only when it is asked to.
    pub(super) watch: Option<Duration>,
}

impl Reloader {
    /// Watches and takes in, until it is dropped.
    pub(super) async fn run(mut self, mut asked: mpsc::UnboundedReceiver<LookNow>) {
        let changed = Arc::new(Notify::new());
        let mut watcher = None;
        if self.watch.is_some() {
            tracing::info!(
                target: "dapr.runtime.hotreload",
                "Hot reloading enabled. Daprd will reload 'Component' and 'Resiliency' resources \
                 on change."
            );
            watcher = self.watcher(&changed);
            // Whatever has changed since the start read it.
            changed.notify_one();
        }
        let mut look_again = false;
        loop {
            let next = match self.watch {
                _ if look_again => Some(LOOK_AGAIN),
                interval => interval,
            };
            let mut waiting = Vec::new();
            tokio::select! {
                () = changed.notified() => self.settle(&changed).await,
                () = self.clock.sleep(next.unwrap_or_default()), if next.is_some() => {
                    // A folder that was deleted and made again is watched no more.
                    if self.watch.is_some() && !look_again {
                        drop(watcher.take());
                        watcher = self.watcher(&changed);
                    }
                }
                Some(answer) = asked.recv() => waiting.push(answer),
            }
            while let Ok(answer) = asked.try_recv() {
                waiting.push(answer);
            }
            look_again = self.look().await;
            for answer in waiting {
                let _ = answer.send(self.live.errors());
            }
        }
    }

    /// Waits until nothing has changed for a moment.
    async fn settle(&self, changed: &Notify) {
        let latest = self.clock.now() + LATEST;
        while self.clock.now() < latest {
            let quiet = self.clock.timeout(QUIET, changed.notified()).await;
            if quiet.is_none() {
                return;
            }
        }
    }

    /// Tells `changed` whenever something happens in a folder.
    fn watcher(&self, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
        let tell = Arc::clone(changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file, as we do ourselves, is no change. An error may hide one.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                tell.notify_one();
            }
        });
        let fail = |what: &dyn std::fmt::Display, error: notify::Error| {
            tracing::warn!(
                target: "dapr.runtime.hotreload",
                "{what} cannot be watched: {error}. Changes are found out at the next look at \
                 everything (--hot-reload-reconcile-interval)"
            );
        };
        let mut watcher = match watcher {
            Ok(watcher) => watcher,
            Err(error) => {
                fail(&"the resources", error);
                return None;
            }
        };
        // The folder of a file, because editors and Kubernetes put another file in its place.
        let folder_of = |file: &'_ PathBuf| match file.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let configurations: Vec<PathBuf> = self.configurations.iter().map(folder_of).collect();
        for folder in self.sources.folders.iter().chain(&configurations) {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                fail(&folder.display(), error);
            }
        }
        Some(watcher)
    }

    /// Reads everything. A Configuration that is wrong now leaves the last good one in force.
    async fn read(&mut self) -> Result<Inspection, String> {
        let (sources, files) = (Arc::clone(&self.sources), self.configurations.clone());
        let before = Arc::clone(&self.configuration);
        let reading = tokio::task::spawn_blocking(move || {
            let (configuration, wrong) =
                match Configuration::load(&files, &sources.surroundings.env) {
                    Ok((configuration, _)) => (Arc::new(configuration), None),
                    Err(wrong) => (before, Some(wrong)),
                };
            let mut inspection = sources.look(&configuration)?;
            inspection.errors.extend(wrong);
            Ok::<_, LoadError>((inspection, configuration))
        });
        match reading.await {
            Ok(Ok((inspection, configuration))) => {
                if configuration != self.configuration {
                    tracing::info!(target: "dapr.runtime.hotreload", "Configuration updated");
                    self.api.set_access(configuration.access());
                    self.api
                        .secrets()
                        .set_scopes(configuration.secrets().clone());
                    self.configuration = configuration;
                }
                Ok(inspection)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(panic.to_string()),
        }
    }

    /// Reads everything and takes it in. Says whether to look again soon.
    async fn look(&mut self) -> bool {
        let changes = match self.read().await {
            Ok(inspection) => self.live.update(inspection),
            Err(problem) => self.live.fail(problem),
        };
        let Changes {
            removed,
            put,
            policies,
            stores,
            inventory,
            wrong,
            odd,
            look_again,
        } = changes;
        for finding in wrong {
            tracing::error!(
                target: "dapr.runtime.hotreload", "{finding}. What runs goes on as it is"
            );
        }
        for finding in odd {
            tracing::warn!(target: "dapr.runtime.hotreload", "{finding}");
        }
        if let Some(policies) = policies {
            tracing::info!(target: "dapr.runtime.hotreload", "Resiliency updated");
            self.runtime.core().set_policies(policies);
        }
        if let Some(stores) = stores {
            self.api.secrets().set_stores(stores);
        }
        for name in &removed {
            tracing::info!(target: "dapr.runtime.hotreload", "Component deleted: {name}");
        }
        for component in &put {
            let shown = component.display();
            tracing::info!(
                target: "dapr.runtime.hotreload", "Adding Component for processing: {shown}"
            );
        }
        if !removed.is_empty() || !put.is_empty() {
            self.runtime.change(&removed, put);
        }
        if let Some(inventory) = inventory {
            self.api.set_inventory(inventory);
        }
        look_again
    }
}
