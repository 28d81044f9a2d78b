import contextlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import DatabaseError, transaction

from accounts.models import Member, Organization
from accounts.public_ids import new_public_id
from orchestration.engine.connection import rows
from orchestration.engine.hints import hint_after_commit, hints
from orchestration.engine.outcomes import NotRecordable, dump
from orchestration.engine.plans import plan_of
from orchestration.exceptions import AgentGone, DefinitionGone, InvalidInput, LimitFull, Refused, UnknownDefinition
from orchestration.models import Definition, DefinitionVersion, Run

START = "select runs, queues, ready from engine_start_v3(%s, %s, %s::text[], %s::jsonb[], %s, %s, %s, %s, %s::jsonb[])"
JOIN = "select engine_debounce_v1(%s, %s, %s, %s::jsonb, %s::jsonb, %s::jsonb)"
JOINED = """
select engine_debounced_v1(v.definition_id, %s, %s, clock_timestamp(), 1, %s::jsonb)
from orchestration_definitionversion v where v.id = %s
"""
FULL = "CS409"  # the SQL state of a start that its definition refuses while so many run
NO_LAYOUT = "23502"  # the SQL state, not null, of a run laid from a version that is not there any more
NAMES_A_VERSION = {"orchestration_run", "orchestration_debounce"}
GONE = "CS404"  # the SQL state of a start whose agent is not there any more


@dataclass(frozen=True, slots=True)
class Asked:
    """A start that may be: its input as JSON, and what its run has beside its steps."""

    text: str
    facts: dict[str, Any]

    @property
    def asks(self) -> dict[str, Any]:
        """What the run's start waits for."""
        return dict(self.facts["waits"]["admits"])


class Begun(NamedTuple):
    """`joined`: the run was there, and waits for more such starts."""

    run: Run
    joined: bool


class BegunTogether(NamedTuple):
    """`runs`: ids, in the order of the inputs. `joined`: all were there, and wait for more such starts."""

    runs: list[int]
    joined: bool


def start(*, organization: Organization, definition: str, given: Any, by: Member, version: int | None = None) -> Run:
    """The run of `begin`. Raises as it does."""
    return begin(organization=organization, definition=definition, given=given, by=by, version=version).run


def begin(*, organization: Organization, definition: str, given: Any, by: Member, version: int | None = None) -> Begun:
    """Start a run of the version of that number, or of the one that new runs begin with now. Raises UnknownDefinition,
    InvalidInput, Refused, LimitFull."""
    found = _startable(organization, definition)
    public = new_public_id("run")
    chosen = found.version_for(public) if version is None else _numbered(found, version)
    with transaction.atomic():
        pk = start_version(chosen or 0, organization.pk, given, by=by.pk, public=public)
    run = Run.objects.get(pk=pk)
    return Begun(run, joined=run.public_id != public)


def start_many(*, organization: Organization, definition: str, inputs: Sequence[Any], by: Member) -> list[int]:
    """The runs of `begin_many`. Raises as it does."""
    return begin_many(organization=organization, definition=definition, inputs=inputs, by=by).runs


def begin_many(*, organization: Organization, definition: str, inputs: Sequence[Any], by: Member) -> BegunTogether:
    """Start a run for each of the inputs, or none. Raises as `begin` does; pointers into bad inputs begin with
    `/inputs/N`."""
    found = _startable(organization, definition)
    publics = [new_public_id("run") for _ in inputs]
    chosen = [found.version_for(public) or 0 for public in publics]
    begun: dict[int, int] = {}
    with transaction.atomic():
        for version in sorted(set(chosen)):
            asked = {place: inputs[place] for place, one in enumerate(chosen) if one == version}
            ids = [publics[place] for place in asked]
            runs = start_versions(version, organization.pk, asked.values(), by=by.pk, publics=ids, places=list(asked))
            begun |= zip(asked, runs, strict=True)
    joined = bool(begun) and not Run.objects.filter(public_id__in=publics).exists()
    return BegunTogether([begun[place] for place in range(len(inputs))], joined)


def _startable(organization: Organization, definition: str) -> Definition:
    found = Definition.objects.filter(organization=organization, slug=definition, current_version__isnull=False).first()
    if found is None:
        raise UnknownDefinition(definition)
    if found.archived_at is not None:
        raise Refused(f"{definition} is archived; restore it to start runs of it.")
    return found


def _numbered(definition: Definition, number: int) -> int:
    found: int | None = definition.versions.filter(number=number).values_list("pk", flat=True).first()
    if found is None:
        raise InvalidInput([{"pointer": "/version", "message": f"{definition.slug} has no version {number}."}])
    return found


def start_version(
    version: int,
    organization: int,
    given: Any,
    *,
    by: int | None,
    parent: Sequence[int] = (),
    depth: int = 0,
    facts: dict[str, Any] | None = None,
    public: str | None = None,
) -> int:
    """The new run's id. `parent` is (run, key) of the step that waits for it; `facts` as `engine_lay` takes them;
    `public` is its public id, made here if left out. Raises InvalidInput, AgentGone, LimitFull."""
    asked = _checked(version, organization, given, by, joins=not parent)
    (run,) = _begin(version, organization, [asked], by, parent, depth, facts or {}, [public] if public else None)
    return run


def start_versions(
    version: int,
    organization: int,
    inputs: Collection[Any],
    *,
    by: int | None,
    publics: Sequence[str] | None = None,
    places: Sequence[int] | None = None,
) -> list[int]:
    """The new runs' ids, in the order of their inputs. `places`: what pointers call them. Raises InvalidInput."""
    checked, errors = [], []
    for number, given in zip(places or range(len(inputs)), inputs, strict=True):
        try:
            checked.append(_checked(version, organization, given, by, joins=True))
        except InvalidInput as exc:
            errors += [
                {**one, "pointer": f"/inputs/{number}{one['pointer'].removeprefix('/input')}"} for one in exc.errors
            ]
    if errors:
        raise InvalidInput(errors)
    return _begin(version, organization, checked, by, (), 0, {}, publics) if checked else []


def facts_of(version: int, organization: int, given: Any, *, by: int | None, joins: bool = False) -> dict[str, Any]:
    """What a run of it has beside its steps, as `engine_lay` takes it. `joins`: it may come together with others.
    Raises InvalidInput."""
    plan = plan_of(version)
    own = {name: said for name, said in (("budget", plan.budget), ("expects", plan.expects)) if said is not None}
    more = plan.at_start.facts(given, by, organization, joins=joins)
    return {"level": plan.level, "timeout": plan.timeout, **own, **more}


def _checked(version: int, organization: int, given: Any, by: int | None, *, joins: bool) -> Asked:
    try:
        text = dump(given)
    except NotRecordable as exc:
        raise InvalidInput([{"pointer": "", "message": str(exc)}]) from exc
    try:
        plan = plan_of(version)
    except DefinitionVersion.DoesNotExist as exc:
        raise DefinitionGone(DefinitionGone.__doc__) from exc
    if errors := plan.input_errors(given):
        raise InvalidInput(errors)
    return Asked(text, facts_of(version, organization, given, by=by, joins=joins))


def _begin(
    version: int,
    organization: int,
    asked: Sequence[Asked],
    by: int | None,
    parent: Sequence[int],
    depth: int,
    facts: dict[str, Any],
    publics: Sequence[str] | None,
) -> list[int]:
    """One statement, however many, unless starts wait for something; hints follow the commit."""
    waits = any("waits" in one.facts for one in asked)
    publics = publics or [new_public_id("run") for _ in asked]
    with agents_there(), transaction.atomic() if waits else contextlib.nullcontext():
        if any("together" in one.facts for one in asked):
            return _together(version, organization, asked, by, facts, publics)
        runs, ready = _laid(version, organization, asked, by, parent, depth, facts, publics)
        if waits:
            ready += admitted(organization, [limit for one in asked for limit in one.asks["limits"]], runs)
    hint_after_commit(ready, runs)
    return runs


@contextlib.contextmanager
def agents_there() -> Iterator[None]:
    """Runs are laid within. Raises AgentGone, DefinitionGone, LimitFull."""
    try:
        yield
    except DatabaseError as exc:
        state, diag = getattr(exc.__cause__, "sqlstate", None), getattr(exc.__cause__, "diag", None)
        if state == NO_LAYOUT and diag is not None and diag.table_name in NAMES_A_VERSION:
            raise DefinitionGone(DefinitionGone.__doc__) from exc
        if state == GONE:
            raise AgentGone(str(exc).partition("\n")[0]) from exc
        if state == FULL and diag is not None:
            raise LimitFull(**json.loads(diag.message_detail)) from exc
        raise


def _laid(
    version: int,
    organization: int,
    asked: Sequence[Asked],
    by: int | None,
    parent: Sequence[int],
    depth: int,
    facts: dict[str, Any],
    publics: Sequence[str],
) -> tuple[list[int], Counter[str]]:
    """The runs, and how many steps are ready in which queues."""
    inputs = [one.text for one in asked]
    known = [json.dumps(one.facts | facts) for one in asked]
    given = [version, organization, list(publics), inputs, by, *(parent or (None, None)), depth, known]
    ((runs, queues, ready),) = rows(START, given)
    return list(runs), Counter(dict(zip(queues or (), ready or (), strict=True)))


def admitted(organization: int, limits: Sequence[dict[str, Any]], runs: Sequence[int]) -> Counter[str]:
    """Give new runs their turn, in their order: how many steps became ready in which queues. Their limits are locked at
    first, all at once, and so in the same order by everyone."""
    each = {(limit["kind"], limit["key"]): limit for limit in limits}
    rows("select engine_limits_v1(%s, %s::jsonb)", [organization, json.dumps(list(each.values()))])
    ready: Counter[str] = Counter()
    for run in runs:
        ready.update(dict(rows("select queue, ready from engine_admit_v1(%s, true)", [run])))
    hint_after_commit({hints.ANSWERS: 1}, ())  # one may be in another's place
    return ready


def _together(
    version: int,
    organization: int,
    asked: Sequence[Asked],
    by: int | None,
    facts: dict[str, Any],
    publics: Sequence[str],
) -> list[int]:
    """Of each start the run that it joins, or begins and others may join. Keys are locked in their order."""
    found: dict[int, int] = {}
    for place, one in sorted(enumerate(asked), key=lambda each: (each[1].facts["together"], each[0])):
        key, asks, labels = one.facts["together"], json.dumps(one.asks), json.dumps(one.facts.get("labels"))
        ((run,),) = rows(JOIN, [organization, version, key, one.text, asks, labels])
        if run is None:
            ((run,), _) = _laid(version, organization, [one], by, (), 0, facts, [publics[place]])
            rows(JOINED, [key, run, asks, version])
        found[place] = run
    hint_after_commit({hints.ANSWERS: 1}, found.values())
    return [found[place] for place in range(len(asked))]
