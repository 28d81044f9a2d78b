import json
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder

from accounts.models import Member, Role
from orchestration.engine import bulk, messages
from orchestration.engine.outcomes import NotRecordable
from orchestration.exceptions import InvalidInput, OrchestrationError
from orchestration.lever import Lever
from orchestration.levers import AT_MANY, BY_NAME, LEVERS, step_of
from orchestration.models import Run
from orchestration.reasons import Reason
from ui.schema_forms import field_of

FIELD = "field:"  # what was given for a field of a lever
TO_A_STEP = "This is done to a step: name it with --step."
NOT_AT_STEPS = "This is not done to steps of many runs; leave --step out."


class Command(BaseCommand):
    help = "Say why a run is where it is; pull a lever at it; send it a message."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        explain = actions.add_parser("explain", help="say why a run is where it is")
        explain.add_argument("run", help="its public id")
        explain.add_argument("--json", action="store_true", help="one list of reasons")
        for name in dict.fromkeys(lever.name for lever in LEVERS):
            alike = [lever for lever in LEVERS if lever.name == name]
            words = as_help(" / ".join(lever.does for lever in alike))
            add_lever(actions.add_parser(name, help=words, description=words), alike)

        message = actions.add_parser("message", help="send a message to a run")
        message.add_argument("run", help="its public id")
        message.add_argument("name", help="one of those that its definition declares")
        message.add_argument("--data", default="null", help="JSON: the output of the step that takes it")
        message.add_argument("--id", help="the sender's own name for it: it counts once")
        message.add_argument("--as", required=True, metavar="MEMBER", dest="by", help="who sends it")

    def handle(self, *, action: str, run: str | None, **given: Any) -> None:
        if action == "explain":
            why = named_run(run or "").explain()
            self.stdout.write(as_json(why) if given["json"] else "\n".join(reason.sentence for reason in why))
        elif action == "message":
            self.stdout.write(sent(named_run(run or ""), **given))
        elif (run is None) is (given.get("filter") is None):
            raise CommandError("Name a run, or choose many with --filter.")
        elif run is None:
            self._pull_many(action, given)
        else:
            self._pull(named_run(run), action, given)

    def _pull_many(self, name: str, given: dict[str, Any]) -> None:
        """Look, or with the digest of the look do it. The workers pull the lever, one run after the other."""
        lever, chosen = bulk.LEVERS.get(f"step-{name}" if given.get("step") else name), bulk.Chosen(given["filter"])
        if lever is None:
            raise CommandError(NOT_AT_STEPS if given.get("step") else TO_A_STEP)
        by, words = member_named(given["by"], given["organization"], lever.role), values_of(lever, given)
        if given.get("step"):
            words["step"] = given["step"]
        try:
            if given["yes"]:
                begun = bulk.begin(lever, chosen, words, reason=given["reason"], digest=given["yes"], by=by)
                self.stdout.write(begun.public_id)
                return
            found = bulk.look(lever, chosen, words, by=by)
        except InvalidInput as exc:
            raise CommandError(in_words(exc.errors)) from exc
        except OrchestrationError as exc:
            raise CommandError(str(exc)) from exc
        refused = [f"{run.public_id}: {why}" for run, why in found.refused]
        self.stdout.write("\n".join([*refused, f"It can be done to {found.able} of {len(found.runs)} runs. To do it:"]))
        self.stdout.write(f"--yes {found.digest}")

    def _pull(self, run: Run, name: str, given: dict[str, Any]) -> None:
        lever = BY_NAME.get(("step" if given.get("step") else "run", name))
        if lever is None:
            raise CommandError(TO_A_STEP)
        by = member_with(lever.role, run, given["by"])
        place = {word: given[word] for word in ("index", "round") if given.get(word) is not None}
        step = step_of(run, given["step"], **place) if lever.of == "step" else None
        if lever.of == "step" and step is None:
            raise CommandError(f"The run has no step {given['step']!r} like this.")
        words = values_of(lever, given)
        if given["dry_run"]:
            seen = [f"--{name}={shown(step or run)}" for name, shown in lever.seen.items()]
            self.stdout.write(
                lever.refusal(step or run) or "\n".join([lever.does, *lever.look(run, step, words), *seen])
            )
            return
        if not given["reason"].strip():
            raise CommandError("The reason is missing.")
        try:
            result = lever.pull(run, step, {"reason": given["reason"], **words}, by=by)
        except InvalidInput as exc:
            raise CommandError(in_words(exc.errors)) from exc
        except OrchestrationError as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(result.public_id if isinstance(result, Run) else lever.done)


def add_lever(parser: ArgumentParser, alike: Iterable[Lever]) -> None:
    if any(not lever.seen if lever.of == "run" else lever.name in AT_MANY for lever in alike):
        parser.add_argument("run", nargs="?", help="its public id")
        parser.add_argument(
            "--filter", metavar="QUERY", help="many: as the address of their list, such as status=failed"
        )
        parser.add_argument("--yes", metavar="DIGEST", help="do to many what was looked at")
        parser.add_argument("--organization", help="of the many, where the member is in several")
    else:
        parser.add_argument("run", help="its public id")
    parser.add_argument("--as", required=True, metavar="MEMBER", dest="by", help="who does it")
    parser.add_argument("--reason", required=True, help="for the audit")
    parser.add_argument("--dry-run", action="store_true", help="say what it would do, and do nothing")
    if any(lever.of == "step" for lever in alike):
        parser.add_argument("--step", help="the step it is done to")
        parser.add_argument("--index", type=int, help="of an item of a map")
        parser.add_argument("--round", type=int, help="the newest, if left out")
    for name, schema in {name: schema for lever in alike for name, schema in lever.fields.items()}.items():
        words = as_help(str(schema.get("description", schema.get("title", ""))))
        parser.add_argument(f"--{name.replace('_', '-')}", dest=f"{FIELD}{name}", metavar="VALUE", help=words)


def values_of(lever: Lever, given: dict[str, Any]) -> dict[str, Any]:
    """What was given for the lever's fields, as JSON. Raises CommandError in words."""
    found = {}
    for name, schema in lever.fields.items():
        text = given.get(f"{FIELD}{name}")
        if text is None:
            continue
        try:
            found[name] = None if text == "null" else field_of(schema, label=name, required=False).clean(text)
        except ValidationError as exc:
            raise CommandError(f"--{name.replace('_', '-')}: {' '.join(exc.messages)}") from exc
    return found


def in_words(errors: Iterable[dict[str, Any]]) -> str:
    return "\n".join(
        ": ".join(filter(None, (error["pointer"].removeprefix("/"), error["message"]))) for error in errors
    )


def as_help(words: str) -> str:
    return words.replace("%", "%%")


def named_run(public_id: str) -> Run:
    run = Run.objects.for_list().without_values().filter(public_id=public_id).first()
    if run is None:
        raise CommandError(f"No run is called {public_id!r}.")
    return run


def member_with(role: str, run: Run, name: str) -> Member:
    """A member of the run's organization who may do this."""
    found = Member.objects.active().filter(organization_id=run.organization_id, user__username=name).first()
    if found is None or not found.has_role(role):
        raise CommandError(f"{name} is no {role} of the run's organization.")
    return found


def member_named(name: str, organization: str | None, role: str) -> Member:
    found = Member.objects.active().filter(user__username=name)
    if organization:
        found = found.filter(organization__slug=organization)
    members = [member for member in found if member.has_role(role)]
    if len(members) != 1:
        raise CommandError(f"{name} is {role} of {len(members)} organizations; name one with --organization.")
    return members[0]


def sent(run: Run, *, name: str, data: str, id: str | None, by: str, **_: Any) -> str:
    """What its sender is told."""
    try:
        message, is_new = messages.send(
            run, name=name, data=json.loads(data), sender_id=id, by=member_with(Role.OPERATOR, run, by)
        )
    except InvalidInput as exc:
        raise CommandError(in_words(exc.errors)) from exc
    except (OrchestrationError, json.JSONDecodeError, NotRecordable) as exc:
        raise CommandError(str(exc)) from exc
    reply = "" if message.reply is None else f" {json.dumps(message.reply, ensure_ascii=False)}"
    return f"{message.public_id}{'' if is_new else ' (was here already)'}{reply}"


def as_json(found: list[Reason]) -> str:
    return json.dumps([reason.as_json() for reason in found], indent=2, cls=DjangoJSONEncoder)
