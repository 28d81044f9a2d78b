"""Each shipped example is checked and run, and there is one for all that a definition may say."""

import pytest
from ruamel.yaml import YAML

from orchestration.language.shape import SCHEMA
from orchestration.models import Definition, Run
from orchestration.seeding import EXAMPLES, LIBRARY, seed_definitions, seed_examples, start_examples
from orchestration.testkit.files import scripts_in

SCRIPTS = scripts_in(EXAMPLES)
DEFINITIONS = [path for path in EXAMPLES.glob("*.yaml") if path not in {script.path for script in SCRIPTS}]


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_an_example_runs_as_its_play_says(script, db):
    run = script.perform()
    assert run.row.definition_version.definition.slug == f"example-{script.name}"


def test_each_example_has_a_play():
    assert sorted(DEFINITIONS) == sorted(script.definition for script in SCRIPTS)


def test_the_demo_has_the_examples_and_a_run_of_each(organization, members, agents, policies):
    seed_definitions(organization)
    for _ in range(2):
        seed_examples(organization)
        start_examples(members.operator)
    assert Run.objects.count() == len(SCRIPTS)
    assert Definition.objects.count() == len(SCRIPTS) + len(list(LIBRARY.glob("*.yaml")))


def keys_in(schema, at=""):
    """Pointers of all properties that the schema names."""
    if isinstance(schema, dict):
        for name, below in schema.items():
            if name in ("examples", "default"):
                continue
            if name == "properties" and isinstance(below, dict):
                yield from (f"{at}/properties/{key}" for key in below)
            yield from keys_in(below, f"{at}/{name}")
    elif isinstance(schema, list):
        for number, below in enumerate(schema):
            yield from keys_in(below, f"{at}/{number}")


def used_in(value, schema, at=""):
    """Pointers of the properties that a value has."""
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        at = schema["$ref"].removeprefix("#")
        yield from used_in(value, at_pointer(SCHEMA, at), at)
    for word in ("oneOf", "anyOf", "allOf"):
        for number, below in enumerate(schema.get(word, [])):
            yield from used_in(value, below, f"{at}/{word}/{number}")
    if isinstance(value, dict):
        for key, content in value.items():
            if key in schema.get("properties", {}):
                yield f"{at}/properties/{key}"
                yield from used_in(content, schema["properties"][key], f"{at}/properties/{key}")
            else:
                yield from used_in(content, schema.get("additionalProperties"), f"{at}/additionalProperties")
    elif isinstance(value, list):
        for content in value:
            yield from used_in(content, schema.get("items"), f"{at}/items")


def at_pointer(schema, pointer):
    for part in pointer.split("/")[1:]:
        schema = schema[part]
    return schema


def test_each_key_of_the_language_has_an_example():
    documents = [YAML(typ="safe", pure=True).load(path.read_text()) for path in DEFINITIONS]
    used = {pointer for document in documents for pointer in used_in(document, SCHEMA)}
    assert set(keys_in(SCHEMA)) - used == set()
