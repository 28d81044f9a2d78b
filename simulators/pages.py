"""Every address a person may open, found in the URL configuration, with ids of rows that are there."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.urls import NoReverseMatch, URLPattern, URLResolver, get_resolver, reverse

from accounts.models import ApiToken, Member, Organization
from approvals.models import Request
from orchestration.models import TRIAL_PREFIX, Bulk, Deliverable, Limit, Run, Step

# Whose pages: ours, django-allauth's, and the admin's as far as they need no id.
OURS = "pages"
OUR_APPS = ("accounts", "agents", "approvals", "orchestration")
NOT_FOR_PEOPLE = ("healthz", "readyz", "metrics", "definition-schema")


@dataclass(frozen=True)
class Rows:
    """What ids in addresses are taken from; empty where the organization has none."""

    member: Member
    run: str = ""
    trial: str = ""
    request: str = ""
    deliverable: str = ""
    token: str = ""
    action: str = ""
    limit: str = ""
    definition: str = "kpi-tracking"
    agent: str = "summarizer"

    @classmethod
    def of(cls, organization: Organization, member: Member, *, definition: str = "kpi-tracking") -> "Rows":
        """Of the run that made the newest deliverable, if there is one."""
        deliverable = Deliverable.objects.filter(run__organization_id=organization.pk).order_by("-pk").first()
        run = deliverable.run if deliverable else Run.objects.filter(organization=organization).order_by("-pk").first()
        asked = Request.objects.filter(organization=organization)
        request = asked.pending().order_by("-pk").first() or asked.order_by("-pk").first()
        token = ApiToken.objects.filter(member=member).first()
        tried = Run.objects.filter(
            organization=organization, definition_version__definition__slug__startswith=TRIAL_PREFIX
        )
        found = {
            "run": run,
            "trial": tried.order_by("-pk").first(),
            "request": request,
            "deliverable": deliverable,
            "token": token,
            "limit": Limit.objects.filter(organization=organization).order_by("-pk").first(),
            "action": Bulk.objects.filter(organization=organization).order_by("-pk").first(),
        }
        ids = {name: row.public_id for name, row in found.items() if row is not None}
        return cls(member=member, definition=definition, **ids)

    @cached_property
    def step(self) -> str:
        """The run's first."""
        steps = Step.objects.shown().filter(run__public_id=self.run, head=None).order_by("key")
        return steps.values_list("name", flat=True).first() or ""

    def value(self, name: str, argument: str) -> Any:
        """What `argument` of the address called `name` may be. Raises LookupError for one nobody knows."""
        words = name.partition(":")[2].split("-")
        if argument == "number":
            return 1
        if argument == "pk":
            return self.member.pk
        if argument == "slug":
            return self.agent if "agent" in words else self.definition
        if argument == "public_id":
            kinds = {"approval": self.request, "deliverable": self.deliverable, "token": self.token}
            kinds |= {
                "trial": self.trial,
                "run": self.run,
                "step": self.run,
                "action": self.action,
                "limit": self.limit,
            }
            for word in words:
                if word in kinds:
                    return kinds[word]
        if argument == "list_name":
            return "runs"
        if name == "pages:run-raw":
            return "input"
        if argument == "name":
            return "cancel" if name == "pages:runs-act" else self.step
        raise LookupError(f"simulators/pages.py does not know what <{argument}> of {name} may be")


def addresses(rows: Rows) -> dict[str, str]:
    """By name. Among them are parts of pages, files and addresses that take POST alone: look at the answer."""
    found = {}
    for name, arguments in named(get_resolver()):
        if not name.startswith(f"{OURS}:") and (arguments or not is_for_people(name)):
            continue
        values = {argument: rows.value(name, argument) for argument in arguments}
        if all(value != "" for value in values.values()):
            try:
                found[name] = reverse(name, kwargs=values)
            except NoReverseMatch:  # an address with a choice of several forms
                continue
    return found


def is_for_people(name: str) -> bool:
    """django-allauth's, and of the admin the first page and the lists of what is ours."""
    space, _, rest = name.rpartition(":")
    if space == "admin":
        return rest == "index" or (rest.endswith("_changelist") and rest.partition("_")[0] in OUR_APPS)
    return not space and name not in NOT_FOR_PEOPLE


def named(resolver: URLResolver, space: str = "") -> Iterator[tuple[str, list[str]]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            if str(pattern.pattern) != "api/v1/":
                yield from named(pattern, f"{space}{pattern.namespace}:" if pattern.namespace else space)
        elif isinstance(pattern, URLPattern) and pattern.name:
            yield f"{space}{pattern.name}", list(pattern.pattern.converters)
