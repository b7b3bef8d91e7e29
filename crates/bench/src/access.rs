//! Who may do what: what a decision costs where there are many rules and the caller holds all of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use opentaco_control::Access;
use opentaco_domain::access::document::{Permission, Role};
use opentaco_domain::access::rule::{Actions, Effect, Rule};
use opentaco_domain::access::{Document, Member, Name};
use opentaco_domain::{Action, Caller, Policy as _, UnitId};
use opentaco_storage::Bucket;
use opentaco_storage::records::{RecordName, Records, Shelf};

use crate::failure::{Doing as _, Failure};
use crate::report::{Aim, Report, figure};
use crate::rounds::Gate;
use crate::throughput::median;

const ROLES: usize = 200;
const RULES_OF_ROLE: usize = 5;
const DECISION_US_MAX: f64 = 100.0;
/// Decisions that are timed together, and how often.
const TOGETHER: usize = 50;
const TIMES: usize = 40;
const CALLER: &str = "bench";

/// Measures, prints, and keeps the rows.
///
/// # Errors
/// If the rules cannot be written, or decide nothing.
pub fn report(report: &mut Report<'_>) -> Result<(), Failure> {
    let gate = Gate::new();
    let access = with_rules(&gate)?;
    let caller = Caller::user(CALLER);
    let units: Vec<UnitId> = (0..TOGETHER)
        .map(|n| UnitId::parse(&format!("team-{}/app-{n}/prod", n * 4)))
        .collect::<Result<_, _>>()
        .doing("naming units")?;
    gate.drive(access.refresh()).doing("reading the policy")?;

    let before = gate.requests();
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        for unit in &units {
            // The last action is one that no rule grants, so that every rule is looked at.
            for action in [Action::Read, Action::ForceUnlock] {
                std::hint::black_box(access.decide(&caller, action, unit)).doing("deciding")?;
            }
        }
        times.push(began.elapsed().as_secs_f64() * 1e6 / (2 * TOGETHER) as f64);
    }
    let typical = median(&mut times);
    report.row("access.decide.median", typical, "us");
    let in_time = report.judge(Aim::AtMost(DECISION_US_MAX));
    report.row(
        "access.decide.requests",
        (gate.requests() - before) as f64,
        "requests",
    );
    let for_nothing = report.judge(Aim::AtMost(0.0));
    report.say(format!(
        "\nA decision with {} rules in {ROLES} roles, all held by the caller: {} us ({in_time}), {} requests to the bucket in {} decisions ({for_nothing})\n",
        ROLES * RULES_OF_ROLE,
        figure(typical),
        gate.requests() - before,
        2 * TOGETHER * TIMES
    ))?;
    Ok(())
}

/// A policy of many rules, put into the bucket as it lies there.
fn with_rules(gate: &Gate) -> Result<Access, Failure> {
    let surroundings = gate.surroundings();
    let bucket = Bucket::new(Arc::new(gate.clone()), "", surroundings.clone());
    let records = Records::new(bucket);
    let mut document = Document::default();
    let mut held = BTreeSet::new();
    for n in 0..ROLES {
        let name: Name = format!("team-{n}").parse().doing("naming a role")?;
        let role = Role {
            description: String::new(),
            permissions: [name.clone()].into(),
        };
        document.permissions.insert(name.clone(), permission(n)?);
        document.roles.insert(name.clone(), role);
        held.insert(name);
    }
    document.members.insert(Member::User(CALLER.into()), held);
    let policy = RecordName::new(Shelf::Access, &["policy.json"]).doing("naming the policy")?;
    let (put, _) = gate
        .drive(records.swap(&policy, None, &document))
        .doing("writing the policy")?;
    drop(put.doing("writing the policy")?);
    let opening = Access::open(records, surroundings);
    let (access, _) = gate.drive(opening).doing("opening the policy")?;
    Ok(access)
}

/// What one team may do: much of its own, and a little of everybody's.
fn permission(team: usize) -> Result<Permission, Failure> {
    let rule = |effect, actions: &[Action], unit: String| {
        Ok::<_, Failure>(Rule {
            effect,
            actions: actions.iter().copied().map(Actions::One).collect(),
            units: vec![unit.parse().doing("writing a pattern")?],
            outputs: Vec::new(),
            sensitive: false,
        })
    };
    let rules = vec![
        rule(
            Effect::Allow,
            &[Action::Read, Action::Lock],
            format!("team-{team}/**"),
        )?,
        rule(Effect::Allow, &[Action::Write], format!("team-{team}/*/dev"))?,
        rule(
            Effect::Allow,
            &[Action::Create],
            format!("team-{team}/app-*/prod"),
        )?,
        rule(Effect::Deny, &[Action::Delete], format!("team-{team}/**/prod"))?,
        rule(Effect::Allow, &[Action::ReadOutputs], format!("shared/{team}-*"))?,
    ];
    assert_eq!(rules.len(), RULES_OF_ROLE, "as many as are told");
    Ok(Permission {
        description: String::new(),
        rules,
    })
}
