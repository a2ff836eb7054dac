//! `bindings.cron`: an event at the times a schedule names. No server needed.

mod input;
mod schedule;
mod settings;

use bindery_contract::settings::SettingsError;
use bindery_contract::{Binding, OpenContext, OpenError, Opened, Source};

pub use self::schedule::{Schedule, ScheduleError};
pub use self::settings::CronSettings;

/// The binding.
pub struct Cron;

impl Binding for Cron {
    const TYPE: &'static str = "bindings.cron";
    const SUMMARY: &'static str = "Triggers the app on a schedule.";
    /// A tick is delivered once; nobody can bring it back.
    const INPUT: Option<Source> = Some(Source::Signal);
    type Settings = CronSettings;

    fn check(settings: &CronSettings) -> Result<(), SettingsError> {
        settings.schedule().map(drop)
    }

    async fn open(settings: CronSettings, cx: OpenContext) -> Result<Opened, OpenError> {
        let schedule = settings.schedule().map_err(OpenError::invalid)?;
        Ok(Opened::input(input::Ticker::new(
            schedule,
            cx.clock().clone(),
        )))
    }
}
