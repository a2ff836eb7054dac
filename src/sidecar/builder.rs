//! Building a sidecar.

use std::fmt::Display;
use std::path::PathBuf;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::{App, Error};
use bindery_contract::{Binding, Event, Registration};

use super::component::Component;
use super::config::{AppConfig, Config, HttpConfig};
use super::control::{self, Plan};
use super::{Sidecar, StartError};
use crate::app::{InProcessApp, IntoAnswer, Routes};
use crate::catalogue::Catalogue;

/// Sets a sidecar up. Made by [`Sidecar::builder`].
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    config: Config,
    catalogue: Catalogue,
    components: Vec<Component>,
    app: Option<AppConfig>,
    in_process: InProcessApp,
}

impl From<Config> for Builder {
    fn from(config: Config) -> Self {
        Self {
            config,
            catalogue: Catalogue::default(),
            components: Vec::new(),
            app: None,
            in_process: InProcessApp::default(),
        }
    }
}

impl Builder {
    /// Reads the YAML files directly in a folder. May be called several times.
    ///
    /// ```
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let components = folder.path();
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let builder = bindery::Sidecar::builder("shop").resources(components);
    /// builder.start().await?.shutdown().await;
    /// # Ok::<(), bindery::StartError>(())
    /// # }).unwrap();
    /// ```
    pub fn resources(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.resources.push(folder.into());
        self
    }

    /// Adds a component that is written in code.
    ///
    /// ```
    /// use bindery::{Component, NO_METADATA, Sidecar};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let root = folder.path().to_str().unwrap();
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let files = Component::new("files", "bindings.localstorage").set("rootPath", root);
    /// let sidecar = Sidecar::builder("shop").component(files).start().await?;
    /// sidecar.invoke("files", "list", "", NO_METADATA).await?;
    /// sidecar.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn component(mut self, component: Component) -> Self {
        self.components.push(component);
        self
    }

    /// Adds a binding type of your own, or replaces one that is built in.
    /// `examples/own-binding.rs` writes one.
    ///
    /// ```
    /// use bindery::contract::{Binding, OpenContext, OpenError, Opened, Operation};
    ///
    /// # #[derive(serde::Deserialize, schemars::JsonSchema)] struct Settings {}
    /// struct Mine;
    ///
    /// impl Binding for Mine {
    ///     const TYPE: &'static str = "bindings.example.mine";
    ///     const SUMMARY: &'static str = "An example.";
    /// #   type Settings = Settings;
    ///     async fn open(_: Settings, _: OpenContext) -> Result<Opened, OpenError> {
    ///         Err(OpenError::refused("not today"))
    ///     }
    /// }
    ///
    /// let builder = bindery::Sidecar::builder("shop").binding::<Mine>();
    /// # drop(builder);
    /// ```
    pub fn binding<B: Binding>(mut self) -> Self {
        self.catalogue.register(Registration::of::<B>());
        self
    }

    /// Handles the events of an input by a plain async function. It runs on the thread that
    /// delivers the event, so its future need not be [`Send`]. `Ok` acknowledges the event; an
    /// error refuses it, and it is tried again as its source has it.
    ///
    /// ```
    /// use bindery::{Component, Event, Sidecar};
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let sidecar = Sidecar::builder("shop")
    ///     .component(Component::new("tick", "bindings.cron").set("schedule", "@every 10ms"))
    ///     .on("tick", move |_: Event| {
    ///         let tell = tell.clone();
    ///         async move { tell.send("tick").map_err(|_| "nobody listens any more") }
    ///     })
    ///     .start()
    ///     .await?;
    /// assert_eq!(told.recv(), Ok("tick"));
    /// sidecar.shutdown().await;
    /// # Ok::<(), bindery::StartError>(())
    /// # }).unwrap();
    /// ```
    pub fn on<F, R, T, E>(self, input: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + 'static,
        T: IntoAnswer,
        E: Display,
    {
        self.in_process.handlers.set(input, handler);
        self
    }

    /// Gives events to the routes of a service in this process, without a socket: a `POST` to
    /// `/{name}` of the input, as an app over HTTP would get it. Every input is wanted then. The
    /// service is made once on each thread that delivers events.
    ///
    /// ```
    /// use actix_web::{App, HttpResponse, web};
    /// use bindery::{Component, Sidecar};
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let sidecar = Sidecar::builder("shop")
    ///     .component(Component::new("tick", "bindings.cron").set("schedule", "@every 10ms"))
    ///     .routes(move || {
    ///         let tell = tell.clone();
    ///         App::new().route("/tick", web::post().to(move || {
    ///             let _ = tell.send("tick");
    ///             HttpResponse::Ok()
    ///         }))
    ///     })
    ///     .start()
    ///     .await?;
    /// assert_eq!(told.recv(), Ok("tick"));
    /// sidecar.shutdown().await;
    /// # Ok::<(), bindery::StartError>(())
    /// # }).unwrap();
    /// ```
    pub fn routes<F, T, B>(mut self, factory: F) -> Self
    where
        F: Fn() -> App<T> + Send + Sync + 'static,
        T: ServiceFactory<
                ServiceRequest,
                Config = (),
                Response = ServiceResponse<B>,
                Error = Error,
                InitError = (),
            > + 'static,
        B: MessageBody + 'static,
    {
        self.in_process.routes = Some(Routes::new(factory));
        self
    }

    /// Gives events to an app on a port. Handlers and routes are not used then.
    ///
    /// ```
    /// use bindery::Sidecar;
    /// use bindery::sidecar::AppConfig;
    ///
    /// let builder = Sidecar::builder("shop").app(AppConfig::port(5000));
    /// # drop(builder);
    /// ```
    pub fn app(mut self, app: AppConfig) -> Self {
        self.app = Some(app);
        self
    }

    /// Serves the HTTP API on a port of this machine; 0 lets the system choose.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let sidecar = bindery::Sidecar::builder("shop").listen(0).start().await?;
    /// println!("http://{}/v1.0/metadata", sidecar.http_addresses()[0]);
    /// sidecar.shutdown().await;
    /// # Ok::<(), bindery::StartError>(())
    /// # }).unwrap();
    /// ```
    pub fn listen(mut self, port: u16) -> Self {
        self.config.http = Some(HttpConfig::port(port));
        self
    }

    /// Changes whatever has no method of its own.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let patient = bindery::Sidecar::builder("shop")
    ///     .configure(|config| config.grace = Some(Duration::from_secs(30)));
    /// # drop(patient);
    /// ```
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Reads and checks everything, then opens the port, then the bindings. Returns when outputs
    /// can be called (those that are still connecting make their callers wait a moment); inputs
    /// may still be on their way, see [`Sidecar::ready`].
    ///
    /// Works under any tokio runtime, and under actix's: the sidecar has threads of its own.
    ///
    /// # Errors
    /// What can never work. Then nothing was opened, and no thread is left.
    pub async fn start(self) -> Result<Sidecar, StartError> {
        let Self {
            config,
            catalogue,
            components,
            app,
            in_process,
        } = self;
        let plan = Plan {
            config,
            catalogue,
            components: components
                .into_iter()
                .map(Component::into_manifest)
                .collect(),
            app,
            in_process,
        };
        control::start(plan).await
    }
}
