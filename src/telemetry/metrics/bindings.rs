//! What is read when somebody asks, because it is known anyway: how the bindings are, and what
//! the policies have done.

use bindery_actors::{
    Breaker, BreakerState, ComponentStatus, Core, InputCounters, PolicyUse, SideStatus,
};
use bindery_contract::Role;

use super::families::{self as f, Family};
use super::text::{Text, number, push_label};

/// Labels, written out.
pub(super) fn labels(pairs: &[(&str, &str)]) -> String {
    let mut labels = String::new();
    for (name, value) in pairs {
        push_label(&mut labels, name, value);
    }
    labels
}

/// The bindings, and the lanes of their events.
pub(super) fn write(text: &mut Text, core: &Core, app_id: &str) {
    let components = core.status().components();
    let mut of_sides = |family: &Family, value: &dyn Fn(&SideStatus) -> f64| {
        text.family(family);
        for (component, side) in sides(&components) {
            let labels = labels(&[
                ("app_id", app_id),
                ("component", &component.name),
                ("direction", side.role.as_str()),
            ]);
            text.sample(family, &labels, value(side));
        }
    };
    of_sides(&f::BINDING_RESTARTS, &|side| number(side.restarts));
    of_sides(&f::BINDING_PANICS, &|side| number(side.panics));
    of_sides(&f::BINDING_IN_FLIGHT, &|side| {
        let calls = || side.output.as_ref().map_or(0, |output| output.in_flight());
        let events = side.input.as_ref().map(|input| input.counters.in_flight());
        number(events.unwrap_or_else(calls))
    });
    text.family(&f::BINDING_STATE);
    for (component, side) in sides(&components) {
        for state in SideStatus::STATES {
            let labels = labels(&[
                ("app_id", app_id),
                ("component", &component.name),
                ("direction", side.role.as_str()),
                ("state", state),
            ]);
            let is_it = side.shown_state() == state;
            text.sample(&f::BINDING_STATE, &labels, f64::from(u8::from(is_it)));
        }
    }
    events(text, core, &components, app_id);
}

fn sides(
    components: &[std::sync::Arc<ComponentStatus>],
) -> impl Iterator<Item = (&ComponentStatus, &SideStatus)> {
    let each = components.iter();
    each.flat_map(|component| component.sides.iter().map(move |side| (&**component, side)))
}

/// The inputs and their lanes.
fn events(
    text: &mut Text,
    core: &Core,
    components: &[std::sync::Arc<ComponentStatus>],
    app_id: &str,
) {
    let now = core.clock().wall();
    let mut of_inputs = |family: &Family, value: &dyn Fn(&InputCounters) -> Option<f64>| {
        text.family(family);
        for (component, side) in sides(components) {
            let value = side.input.as_ref().and_then(|input| value(&input.counters));
            if let Some(value) = value {
                let labels = labels(&[("app_id", app_id), ("component", &component.name)]);
                text.sample(family, &labels, value);
            }
        }
    };
    of_inputs(&f::EVENT_ATTEMPTS, &|it| Some(number(it.attempts())));
    of_inputs(&f::EVENT_REFUSALS, &|it| Some(number(it.refused_count())));
    of_inputs(&f::DEAD_LETTERS, &|it| Some(number(it.buried_count())));
    of_inputs(&f::REPLY_FAILURES, &|it| Some(number(it.reply_failures())));
    of_inputs(&f::BLOCKED_KEYS, &|it| {
        Some(number(it.blocked().len() as u64))
    });
    of_inputs(&f::LAST_EVENT_AGE, &|it| {
        let age = now.duration_since(it.last_event()?);
        Some(age.unwrap_or_default().as_secs_f64())
    });
    text.family(&f::LANE_DEPTH);
    for (lane, depth) in core.lanes().enumerate() {
        let labels = labels(&[("app_id", app_id), ("lane", &lane.to_string())]);
        text.sample(&f::LANE_DEPTH, &labels, number(depth as u64));
    }
    text.family(&f::PERMITS_FREE);
    let free = number(core.free_permits() as u64);
    text.sample(&f::PERMITS_FREE, &labels(&[("app_id", app_id)]), free);
}

/// What the policies that are in force have done. A reload of them begins anew.
pub(super) fn write_policies(text: &mut Text, core: &Core, app_id: &str) {
    let Some(policies) = core.policies() else {
        return;
    };
    let (name, namespace) = policies.document();
    let used = policies.in_use();
    let of = |it: &PolicyUse, policy: &str, status: &str| {
        labels(&[
            ("app_id", app_id),
            ("flow_direction", flow(it.role)),
            ("name", name),
            ("namespace", namespace),
            ("policy", policy),
            ("status", status),
            ("target", &format!("Binding_{}", it.component)),
        ])
    };
    text.family(&f::RESILIENCY_COUNT);
    for it in &used {
        let counts = it.policy.counts();
        for (policy, has_it) in [
            ("timeout", it.policy.timeout.is_some()),
            ("retry", it.policy.retry.is_some()),
        ] {
            if has_it {
                let labels = of(it, policy, "");
                text.sample(&f::RESILIENCY_COUNT, &labels, number(counts.uses));
            }
        }
        if let Some(breaker) = &it.policy.breaker {
            for (state, counts) in breaker.history() {
                if counts.asked > 0 {
                    let labels = of(it, "circuitbreaker", state.as_str());
                    text.sample(&f::RESILIENCY_COUNT, &labels, number(counts.asked));
                }
            }
        }
    }
    text.family(&f::RESILIENCY_ACTIVATIONS);
    for it in &used {
        let counts = it.policy.counts();
        for (policy, count) in [("timeout", counts.timeouts), ("retry", counts.retries)] {
            if count > 0 {
                let labels = of(it, policy, "");
                text.sample(&f::RESILIENCY_ACTIVATIONS, &labels, number(count));
            }
        }
        let history = it.policy.breaker.as_ref().map(Breaker::history);
        for (state, counts) in history.into_iter().flatten() {
            if counts.entered > 0 {
                let labels = of(it, "circuitbreaker", state.as_str());
                text.sample(&f::RESILIENCY_ACTIVATIONS, &labels, number(counts.entered));
            }
        }
    }
    text.family(&f::RESILIENCY_BREAKERS);
    for it in &used {
        let Some(breaker) = &it.policy.breaker else {
            continue;
        };
        let now = breaker.state(core.clock().now());
        let known = BreakerState::ALL.map(|state| (state.as_str(), state == now));
        for (state, is_it) in known.into_iter().chain([("unknown", false)]) {
            let labels = of(it, "circuitbreaker", state);
            text.sample(&f::RESILIENCY_BREAKERS, &labels, f64::from(u8::from(is_it)));
        }
    }
}

/// The direction of a call, as the reference names it.
fn flow(role: Role) -> &'static str {
    match role {
        Role::Input => "inbound",
        Role::Output => "outbound",
    }
}
