//! A binding's row in the catalogue.

use std::future::Future;
use std::sync::Arc;

use crate::binding::{Binding, BoxFuture, EventMetadata, Opened, Operation, Role};
use crate::context::OpenContext;
use crate::error::OpenError;
use crate::event::Source;
use crate::settings::{Field, Properties, Remark, SettingsError, decode, fields_under, remarks};

/// A binding type without its Rust type: everything the runtime, `check`, the documentation and
/// the schema need to know of it.
#[derive(Clone)]
pub struct Registration {
    /// The type's name, e.g. `bindings.kafka`.
    pub type_name: &'static str,
    /// Its other names.
    pub aliases: &'static [&'static str],
    /// What it is, in one sentence.
    pub summary: &'static str,
    /// What the source does with an event that was not acknowledged; `None` without an input.
    pub input: Option<Source>,
    /// What the output can do; empty without an output.
    pub operations: &'static [Operation],
    /// The metadata that its events carry.
    pub event_metadata: &'static [EventMetadata],
    /// The settings.
    pub settings: fn() -> Arc<[Field]>,
    prepare: Arc<Prepare>,
    remarks: fn(&Properties) -> Vec<Remark>,
}

type Prepare = dyn Fn(&Properties) -> Result<Prepared, SettingsError> + Send + Sync;
type Open = Box<dyn FnOnce(OpenContext) -> BoxFuture<'static, Result<Opened, OpenError>> + Send>;

/// Settings that were decoded and checked, ready to be opened once.
pub struct Prepared {
    open: Open,
}

impl Registration {
    /// The row of a binding.
    pub fn of<B: Binding>() -> Self {
        Self {
            type_name: B::TYPE,
            aliases: B::ALIASES,
            summary: B::SUMMARY,
            input: B::INPUT,
            operations: B::OPERATIONS,
            event_metadata: B::EVENT_METADATA,
            settings: || fields_under::<B::Settings>(B::CONVENTIONS),
            prepare: Arc::new(prepare::<B>),
            remarks: |properties| remarks::<B::Settings>(properties, B::CONVENTIONS),
        }
    }

    /// The row of a type that is known only while the program runs. Nobody here knows its
    /// settings, so `open` gets all of them as they are, and nothing is checked before. Its
    /// operations are those that it offers when it is open ([`Output::operations`]); those that
    /// are declared stand for them until then.
    ///
    /// [`Output::operations`]: crate::Output::operations
    pub fn undeclared<F, R>(
        type_name: &'static str,
        summary: &'static str,
        input: Option<Source>,
        operations: &'static [Operation],
        open: F,
    ) -> Self
    where
        F: Fn(Properties, OpenContext) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<Opened, OpenError>> + Send + 'static,
    {
        Self {
            type_name,
            aliases: &[],
            summary,
            input,
            operations,
            event_metadata: &[],
            settings: || Arc::from([]),
            prepare: Arc::new(move |properties| {
                let (properties, open) = (properties.clone(), open.clone());
                Ok(Prepared {
                    open: Box::new(move |cx| Box::pin(open(properties, cx))),
                })
            }),
            remarks: |_| Vec::new(),
        }
    }

    /// Whether the type has this side.
    pub fn supports(&self, role: Role) -> bool {
        match role {
            Role::Input => self.input.is_some(),
            Role::Output => !self.operations.is_empty(),
        }
    }

    /// Decodes and checks settings without opening anything.
    ///
    /// # Errors
    /// The setting that can never work.
    pub fn prepare(&self, properties: &Properties) -> Result<Prepared, SettingsError> {
        (self.prepare)(properties)
    }

    /// What is no error in settings, and probably a mistake all the same.
    pub fn remarks(&self, properties: &Properties) -> Vec<Remark> {
        (self.remarks)(properties)
    }
}

impl Prepared {
    /// Opens the side of the binding that the context names.
    pub fn open(
        self,
        cx: OpenContext,
    ) -> impl Future<Output = Result<Opened, OpenError>> + Send + 'static {
        (self.open)(cx)
    }
}

fn prepare<B: Binding>(properties: &Properties) -> Result<Prepared, SettingsError> {
    let settings = decode::<B::Settings>(properties, B::CONVENTIONS)?;
    B::check(&settings)?;
    Ok(Prepared {
        open: Box::new(|cx| Box::pin(B::open(settings, cx))),
    })
}
