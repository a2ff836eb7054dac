//! The settings of `bindings.cron`.

use bindery_contract::settings::SettingsError;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::schedule::Schedule;

/// Settings of `bindings.cron`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct CronSettings {
    /// When to fire: five fields (minute hour day-of-month month day-of-week), six (seconds
    /// first), or a descriptor such as `@daily` or `@every 1h30m`. `CRON_TZ=Europe/Berlin `
    /// before it names a time zone; without one the process's own counts.
    #[schemars(extend("examples" = ["@every 15m", "0 30 6 * * *", "CRON_TZ=Europe/Berlin 0 9 * * mon-fri"]))]
    pub schedule: String,
}

impl CronSettings {
    /// The schedule, parsed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn schedule(&self) -> Result<Schedule, SettingsError> {
        if self.schedule.trim().is_empty() {
            return Err(SettingsError::new("schedule", "schedule not set"));
        }
        Schedule::parse(&self.schedule).map_err(|error| {
            let text = &self.schedule;
            SettingsError::new(
                "schedule",
                format!("invalid schedule format '{text}': {error}"),
            )
        })
    }
}
