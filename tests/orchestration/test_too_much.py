"""What is too large to save: refused at once, in words that name the setting, and nothing is kept."""

import pytest

from orchestration.language import compile_definition
from orchestration.models import Definition

STEPS = "".join(f"  s{n}: {{agent: echo}}\n" for n in range(5_000))
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
TOO_MUCH = {
    "5 MB": ("name: d\ndescription: " + "x" * 5_000_000, "DEFINITION_MOST_CHARACTERS"),
    "5 MB, no document": ("{[&*!" * 1_000_000, "DEFINITION_MOST_CHARACTERS"),
    "5,000 steps": (f"name: d\nsteps:\n{STEPS}", "DEFINITION_MOST_STEPS"),
    "deep": ("name: " + "[" * 3_000, "DEFINITION_DEEPEST"),
    "deep by indentation": ("\n".join(" " * n + "a:" for n in range(60)), "DEFINITION_DEEPEST"),
    "deep JSON": ('{"a":' * 3_000, "DEFINITION_DEEPEST"),
    "anchors": (BOMB, "DEFINITION_MOST_VALUES"),
    "values": ("name: d\nsteps: [" + "1," * 30_000 + "]", "DEFINITION_MOST_VALUES"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_is_too_much_is_one_finding_that_names_the_setting(name):
    text, setting = TOO_MUCH[name]
    compiled = compile_definition(text, file="f.yaml", agents={}, policies=())
    (one,) = compiled.findings
    assert (compiled.plan, one.rule) == (None, "too-large")
    assert setting in one.fix


@pytest.mark.parametrize("name", TOO_MUCH)
def test_the_api_says_so_too_and_keeps_nothing(name, client_of, members, agents, policies):
    text, setting = TOO_MUCH[name]
    refused = client_of(members.builder).post("/api/v1/definitions/", {"text": text}, format="json")
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["rule"]) == (400, "too-large")
    assert setting in error["fix"]
    assert not Definition.objects.exists()


def test_a_limit_can_be_set(settings):
    settings.DEFINITION_MOST_STEPS = 1
    text = "name: d\ndescription: &two {a: 1, b: 2}\nsteps: "
    for steps in ("{a: {approval: {title: t}}, b: {approval: {title: t}}}", "*two"):
        (one,) = compile_definition(text + steps, file="f.yaml", agents={}, policies=["default"]).findings
        assert (one.line, one.rule) == (3, "too-large")
        assert one.fix == "At most 1 are taken (setting DEFINITION_MOST_STEPS)."
