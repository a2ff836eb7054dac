//! A component that Dapr's SDK for Go makes: `tests/sdks/component`, which says what it does.
//! `tests/run.sh pluggable` builds it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bindery_contract::Registration;
use bindery_contract::settings::Properties;
use bindery_pluggable::Sockets;
use bindery_testkit::servers::Outage;

/// The component's process, its folder of sockets, and the folder that its input reads.
pub struct Component {
    process: Option<Child>,
    folder: tempfile::TempDir,
}

impl Component {
    /// A component whose process does not run yet.
    pub fn absent() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["sockets", "spool"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self {
            process: None,
            folder,
        }
    }

    /// A component that runs.
    pub fn started() -> Self {
        let mut component = Self::absent();
        component.start();
        component
    }

    pub fn sockets(&self) -> PathBuf {
        self.folder.path().join("sockets")
    }

    pub fn spool(&self) -> Spool {
        Spool(self.folder.path().join("spool"))
    }

    pub fn registration(&self, type_name: &str) -> Registration {
        Sockets::of(self.sockets()).registration(type_name)
    }

    /// What its Init wants, and these operations.
    pub fn settings(&self, operations: &str) -> Properties {
        let folder = self.spool().0.display().to_string();
        let settings = [("folder", folder.as_str()), ("operations", operations)];
        settings.into_iter().collect()
    }

    fn has_sockets(&self) -> bool {
        let sockets = Sockets::of(self.sockets());
        ["spool", "outbox", "inbox"].iter().all(|name| {
            let socket = self.sockets().join(format!("{name}.sock"));
            sockets.has(&format!("bindings.{name}"))
                && std::os::unix::net::UnixStream::connect(socket).is_ok()
        })
    }
}

impl Outage for Component {
    /// By `kill -9`, so the sockets' files stay.
    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn start(&mut self) {
        let mut command = Command::new(program());
        command.env("DAPR_COMPONENT_SOCKETS_FOLDER", self.sockets());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        for _ in 0..1000 {
            if self.has_sockets() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the component does not listen");
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        self.stop();
    }
}

fn program() -> PathBuf {
    let built = std::env::var_os("BINDERY_TEST_SDK_COMPONENT").map_or_else(
        || {
            let home = || std::env::var("HOME").map(|home| format!("{home}/.cache"));
            let cache = std::env::var("XDG_CACHE_HOME").or_else(|_| home());
            Path::new(&cache.unwrap_or_default()).join("bindery/sdk-component/app")
        },
        PathBuf::from,
    );
    assert!(
        built.is_file(),
        "the component is not built; tests/run.sh builds it, or set BINDERY_TEST_SDK_COMPONENT"
    );
    built
}

/// The folder that a component's input reads.
#[derive(Clone)]
pub struct Spool(PathBuf);

impl Spool {
    /// Puts an event in, whole at once.
    pub fn put(&self, data: &str) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = self.0.join(format!("{number:09}"));
        let text = format!(r#"{{"data": {data:?}, "metadata": {{"from": "the spool"}}}}"#);
        std::fs::write(&file, text).unwrap();
        std::fs::rename(&file, file.with_extension("json")).unwrap();
    }

    /// The component's stream of events ends when the answer of this is dropped.
    #[allow(dead_code, reason = "not all tests ask")]
    pub fn brief(&self) -> Brief {
        let file = self.0.with_extension("brief");
        std::fs::write(&file, "").unwrap();
        Brief(file)
    }

    /// What the component was told of its events, a line for each answer.
    #[allow(dead_code, reason = "not all tests ask")]
    pub fn told(&self) -> String {
        std::fs::read_to_string(self.0.with_extension("told")).unwrap_or_default()
    }
}

/// While it is there, a stream that began meanwhile goes on.
pub struct Brief(PathBuf);

impl Drop for Brief {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
