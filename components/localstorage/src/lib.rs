//! `bindings.localstorage`: files below one folder.

mod output;
mod root;
mod settings;

use bindery_contract::settings::SettingsError;
use bindery_contract::{Binding, OpenContext, OpenError, Opened, Operation};

use self::output::Files;
use self::root::Root;
pub use self::settings::LocalStorageSettings;

/// The binding.
pub struct LocalStorage;

impl Binding for LocalStorage {
    const TYPE: &'static str = "bindings.localstorage";
    const SUMMARY: &'static str = "Stores and reads files below one folder of this machine.";
    const OPERATIONS: &'static [Operation] = &[
        Operation {
            name: "create",
            summary: "Writes data to metadata.fileName, or to a random name; text that is base64 \
                      as a whole is decoded first. Answers with {\"fileName\":…}.",
        },
        Operation {
            name: "get",
            summary: "Answers with the bytes of metadata.fileName.",
        },
        Operation {
            name: "list",
            summary: "Answers with the paths of all files below the folder metadata.fileName, or \
                      below the root, as a JSON array; null when there is none.",
        },
        Operation {
            name: "delete",
            summary: "Removes metadata.fileName.",
        },
    ];
    type Settings = LocalStorageSettings;

    fn check(settings: &LocalStorageSettings) -> Result<(), SettingsError> {
        Root::resolve(&settings.root_path).map(drop)
    }

    async fn open(settings: LocalStorageSettings, cx: OpenContext) -> Result<Opened, OpenError> {
        let opening = cx.blocking(move || {
            let root = Root::resolve(&settings.root_path).map_err(OpenError::invalid)?;
            root.create().map_err(OpenError::refused)?;
            Ok(root)
        });
        let root = opening.await.map_err(OpenError::disconnected)??;
        Ok(Opened::per_thread(move |cx| {
            let files = Files::new(root.clone(), cx);
            async move { Ok(files) }
        }))
    }
}
