//! What a change will come to, before anything is done.

use super::diagnostic::{self, Path};
use super::object::Object;
use super::schema::{Giver, Schema};
use super::value::Value;

/// What a change will come to.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The resource as it will be; unknown where only the service will say.
    pub planned: Object,
    /// The attributes for which it has to be made anew.
    pub replacing: Vec<Path>,
}

/// Plans the change from `prior`, which is none if the resource is to be created, to what is configured.
///
/// `proposed` is Terraform's first idea: the configuration, and the prior value where it says nothing and may. `derive`
/// sets the attributes that follow from others, and `is_another` says whether a value makes another resource. A change of nothing that can be configured is no change: then what the
/// service tells keeps the value it had, and the plan is empty.
pub fn plan(
    schema: &Schema,
    prior: Option<&Object>,
    proposed: Object,
    configured: &Object,
    derive: impl FnOnce(&mut Object),
    is_another: impl Fn(&str, &Value, &Value) -> bool,
) -> Plan {
    let mut planned = proposed;
    schema.complete(configured, &mut planned);
    derive(&mut planned);
    let differs = |prior: &Object, name: &str| prior.get(name) != planned.get(name);
    let changes = prior.is_none_or(|prior| {
        let mut configurable = schema
            .attributes
            .iter()
            .filter(|attribute| attribute.giver.may_be_configured());
        configurable.any(|attribute| differs(prior, attribute.name))
    });
    let replaces = |prior: &Object, name: &str| is_another(name, prior.get(name), planned.get(name));
    let replacing = schema
        .attributes
        .iter()
        .filter(|attribute| attribute.replaces && prior.is_some_and(|prior| replaces(prior, attribute.name)))
        .map(|attribute| diagnostic::attribute(attribute.name))
        .collect();
    for attribute in &schema.attributes {
        let stays = match attribute.giver {
            Giver::Service => !changes,
            Giver::ServiceOnce => true,
            _ => continue,
        };
        let value = prior
            .filter(|_| stays)
            .map(|prior| prior.get(attribute.name).clone());
        planned.set(attribute.name, value.unwrap_or(Value::Unknown));
    }
    Plan { planned, replacing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::schema::Attribute;

    fn schema() -> Schema {
        Schema {
            about: "",
            example: "",
            attributes: vec![
                Attribute::text("id", "").replacing(),
                Attribute::text("note", "").by(Giver::Default("".into())),
                Attribute::text("size", "").told(),
                Attribute::text("made", "").by(Giver::ServiceOnce),
            ],
        }
    }

    fn object(id: &str, note: Value, size: Value, made: Value) -> Object {
        Object::of([("id", id.into()), ("note", note), ("size", size), ("made", made)])
    }

    fn planned(prior: Option<&Object>, id: &str, note: &Value) -> Plan {
        let configured = object(id, note.clone(), Value::Null, Value::Null);
        // As Terraform proposes: what may be computed keeps its value where the configuration says nothing.
        let mut proposed = configured.clone();
        if let Some(prior) = prior {
            for name in ["note", "size", "made"] {
                if *configured.get(name) == Value::Null {
                    proposed.set(name, prior.get(name).clone());
                }
            }
        }
        plan(
            &schema(),
            prior,
            proposed,
            &configured,
            |_| {},
            |_, prior, planned| prior != planned,
        )
    }

    #[test]
    fn what_the_service_tells_is_unknown_before_there_is_a_resource() {
        let plan = planned(None, "a", &Value::Null);
        assert_eq!(
            plan.planned,
            object("a", "".into(), Value::Unknown, Value::Unknown)
        );
        assert_eq!(plan.replacing, Vec::<Path>::new());
    }

    #[test]
    fn where_nothing_that_can_be_configured_changes_nothing_does() {
        let prior = object("a", "".into(), "7".into(), "then".into());
        let plan = planned(Some(&prior), "a", &Value::Null);
        assert_eq!(plan.planned, prior);
    }

    #[test]
    fn a_change_makes_unknown_what_may_change_with_it_and_nothing_else() {
        let prior = object("a", "x".into(), "7".into(), "then".into());
        let plan = planned(Some(&prior), "a", &Value::Null);
        assert_eq!(
            plan.planned,
            object("a", "".into(), Value::Unknown, "then".into())
        );
        assert_eq!(plan.replacing, Vec::<Path>::new());
    }

    #[test]
    fn another_value_of_some_attributes_makes_another_resource() {
        let prior = object("a", "".into(), "7".into(), "then".into());
        assert_eq!(
            planned(Some(&prior), "b", &Value::Null).replacing,
            [diagnostic::attribute("id")]
        );
    }
}
