"""What our fuzzing of the management API adds to schemathesis: a note of every answer, and what may be refused."""

import os

import schemathesis

NOTES = os.environ["OPENTACO_FUZZ_NOTES"]

# What a JSON Schema cannot say: which names are units, and limits in bytes.
UNSAYABLE = {"bad_unit_id"}
UNSAYABLE_OF = {
    # A unit's id, and labels whose bytes are more than their characters.
    "create_unit": {"invalid"},
    # The labels that a unit has already count, too.
    "change_unit": {"invalid"},
    # A page token holds a name.
    "list_units": {"invalid"},
    # Limits in bytes.
    "assign_role": {"invalid"},
    "revoke_role": {"invalid"},
    "init_access": {"invalid"},
    # A permission that does not exist, and what is no pattern.
    "set_role": {"invalid"},
    "set_permission": {"invalid"},
    # What is done to a unit has to name one.
    "test_access": {"invalid"},
    # Nobody logs in at the service that is tried: it knows no provider.
    "exchange": {"invalid"},
    "issue_s3_credentials": {"invalid"},
    "revoke": {"invalid"},
    # Root has no tokens of its own.
    "create_token": {"invalid"},
    # Ends that can be no units, and letters of base58 that are no digest.
    "find_edge": {"invalid"},
    "get_edge": {"invalid"},
    # A name that can be no unit.
    "reconcile_graph": {"bad_query"},
    # Without an id it has to be forced.
    "unlock_unit": {"invalid"},
}


@schemathesis.hook
def after_call(context, case, response):
    with open(NOTES, "a", encoding="utf-8") as notes:
        notes.write(f"{response.status_code} {case.operation.label}\n")


@schemathesis.check
def understood(ctx, response, case):
    """A request that the description allows is refused only for what the description cannot say."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if response.status_code != 400 or case.method == "HEAD":
        return
    if not all((case.headers or {}).values()):
        return  # an empty header, which no pattern of ours allows, and which is called allowed all the same
    code = response.json()["error"]
    operation = case.operation.definition.raw["operationId"]
    assert code in UNSAYABLE | UNSAYABLE_OF.get(operation, set()), f"{code}: {response.text}"
