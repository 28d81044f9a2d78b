"""What a definition says of each of its starts: what the run is found by, and its turn among others."""

from collections.abc import Mapping
from typing import Any

from orchestration.engine.names import member_name, organization_slug
from orchestration.exceptions import InvalidInput
from orchestration.language.expressions import ExpressionError, Template, Typing, TypingError, as_text, compile_template

LONGEST = 200
PRIORITIES, WEIGHTS = (-100, 100), (1, 100)


class AtStart:
    """Templates of a plan that are evaluated before there is a run."""

    def __init__(self, plan: Mapping[str, Any], typing: Typing) -> None:
        self._typing = typing
        self._labels = {name: compile_template(value) for name, value in plan.get("labels", {}).items()}
        self._priority = compile_template(plan["priority"]) if "priority" in plan else None
        self._fair_by = compile_template(plan["fair_by"]) if "fair_by" in plan else None
        self._fair_weight = compile_template(plan.get("fair_weight", 1))
        self._limits = [Limit(plan["name"], key, plan[key]) for key in ("concurrency", "rate") if key in plan]
        self._when_full = plan.get("concurrency", {}).get("when_full")
        self._debounce = plan.get("debounce")
        self._together = compile_template(self._debounce["key"]) if self._debounce else None
        self._is_empty = not (self._labels or self._priority or self._fair_by or self._limits or self._debounce)

    def facts(self, given: Any, by: int | None, organization: int, *, joins: bool) -> dict[str, Any]:
        """{labels, priority, fair_by, fair_weight, waits}, those that there are, as `engine_lay` takes them; and
        `together`, the key of its debounce, if it `joins` others or they may join it. Raises InvalidInput."""
        if self._is_empty:
            return {}
        run = {"started_by": member_name(by), "organization": organization_slug(organization)}
        try:
            known = {"input": self._typing.apply(given), "run": run}
        except TypingError as exc:
            raise InvalidInput([{"pointer": "/input", "message": str(exc)}]) from exc
        labels = {name: _text(f"labels/{name}", template, known) for name, template in self._labels.items()}
        facts = {
            "labels": {name: text for name, text in labels.items() if text is not None} or None,
            "priority": _whole("priority", self._priority, known, *PRIORITIES) if self._priority is not None else None,
            **self._turns(known),
            "waits": self._waits(known, joins) or None,
            "together": (_text("debounce/key", self._together, known) or "") if self._together and joins else None,
        }
        return {name: fact for name, fact in facts.items() if fact is not None}

    def _turns(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """With whom it shares them, and how often they come: where it says nothing, as a run that it is below."""
        key = _text("fair_by", self._fair_by, known) if self._fair_by is not None else None
        weight = _whole("fair_by/weight", self._fair_weight, known, *WEIGHTS)
        return {"fair_by": key, "fair_weight": weight if key is not None and weight != 1 else None}

    def _waits(self, known: Mapping[str, Any], joins: bool) -> dict[str, Any]:
        """What the run's start waits for: that no other joins it, and all of its limits at once."""
        asks: dict[str, Any] = {}
        if self._debounce and joins:
            asks["debounce"] = {name: self._debounce[name] for name in ("for", "at_most", "gather")}
        if self._limits:
            asks |= {"limits": [limit.wanted(known) for limit in self._limits], "when_full": self._when_full}
        # one that is laid by a step has its turn by a sweep, right after
        return {**({"for": "limit"} if joins else {"for": "time", "at": "now"}), "admits": asks} if asks else {}


class Limit:
    """`concurrency` or `rate`: a limit that the definition's starts share."""

    def __init__(self, slug: str, name: str, said: Mapping[str, Any]) -> None:
        self._slug = slug
        self._name = name
        self._key = compile_template(said["key"])
        self._kind = "starts" if name == "concurrency" else "start_rate"
        self._most = {"max": said["max"], "per": said.get("per"), "units": 1}

    def wanted(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """As `engine_acquire` takes it."""
        key = _text(f"{self._name}/key", self._key, known)
        return {"kind": self._kind, "key": self._slug if key is None else f"{self._slug}:{key}", **self._most}


def _text(key: str, template: Template, known: Mapping[str, Any]) -> str | None:
    """One short text, or None if there is none."""
    value = _value(key, template, known)
    if isinstance(value, dict | list):
        raise _refused(key, "It gives no text and no number.")
    text = None if value is None else as_text(value)
    if text is not None and len(text) > LONGEST:
        raise _refused(key, f"It is longer than {LONGEST} signs.")
    return text


def _whole(key: str, template: Template, known: Mapping[str, Any], least: int, most: int) -> int:
    value = _value(key, template, known)
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    if not is_whole or not least <= value <= most:
        raise _refused(key, f"It gives no whole number from {least} to {most}.")
    return int(value)


def _value(key: str, template: Template, known: Mapping[str, Any]) -> Any:
    try:
        return template.evaluate(known)
    except ExpressionError as exc:
        raise _refused(key, f"{str(exc).rstrip('.')}.") from exc


def _refused(key: str, message: str) -> InvalidInput:
    return InvalidInput([{"pointer": f"/definition/{key}", "message": message}])
