"""Policies and requests for staff. A request is decided here by the same form and the same verb as on its page."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast, Length
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.views.decorators.http import require_http_methods, require_POST
from unfold.decorators import action, display

from accounts import audit
from accounts.admin import LABELS, Admin, ReadOnlyInline, StaffReadOnlyAdmin, actor_of, is_list
from accounts.authentication import member_of
from accounts.clock import ClockTimestamp
from accounts.exceptions import NotAMember
from accounts.models import Member
from approvals.changes import changes_decided, edits_of
from approvals.exceptions import AlreadyEnded
from approvals.forms import LOOK, Answer
from approvals.models import CONTINUE, Decision, Policy, Request
from approvals.sheets import Sheet
from approvals.views import choice_of, decided, is_answer_of, mistakes_in, shown
from ui.addresses import LARGEST_KEY, whole_number
from ui.templatetags.ui import at

MOST_AT_ONCE = 100
LARGEST_PREVIEW = 5_000  # signs of JSON shown of each among many
LONGEST_TITLE = 60  # signs in the list: its other columns stay in sight
only_looks_and_posts = require_http_methods(["GET", "HEAD", "POST"])


@admin.register(Policy)
class PolicyAdmin(Admin):
    list_display = ("slug", "organization", "who", "not_the_requester")
    list_select_related = ("organization",)
    list_filter = ("organization",)
    search_fields = ("slug",)

    @display(description="Roles")
    def who(self, policy: Policy) -> str:
        return ", ".join(policy.roles)

    def save_model(self, request: HttpRequest, obj: Policy, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        audit.record(
            organization=obj.organization,
            actor=actor_of(request),
            action="policy.change" if change else "policy.add",
            target=obj.slug,
            data={
                "roles": obj.roles,
                "not_the_requester": obj.not_the_requester,
                "by": request.user.get_username(),
            },
        )


class DecisionInline(ReadOnlyInline):
    model = Decision
    fields = readonly_fields = ("at", "member", "answer", "note", "changes", "digest_seen", "door", "late")
    verbose_name_plural = "answers, late ones too"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("member__user", "member__organization")

    @display(description="Answer")
    def answer(self, decision: Decision) -> str:
        return decision.request.word_of(decision.choice)

    @display(description="Changes")
    def changes(self, decision: Decision) -> SafeString:
        changes, left = edits_of(decision.request, decision)
        return render_to_string("admin/approvals/_edits.html", {"changes": changes, "left": left})


@admin.register(Request)
class RequestAdmin(StaffReadOnlyAdmin):
    list_display = (
        "question",
        "state",
        "answered",
        "organization",
        "policy",
        "deadline_at",
        "created_at",
        "decided_by",
    )
    list_select_related = ("organization", "policy", "decided_by__user", "decided_by__organization")
    list_filter = ("status", "organization")
    search_fields = ("public_id", "title")
    ordering = ("-pk",)
    large = ("payload", "answer", "payload_schema", "digest_parts")
    inlines = (DecisionInline,)
    actions = ("decide_selected",)
    actions_detail = ("decide",)
    fieldsets = (
        (
            None,
            {"fields": ("title", "status", "organization", "policy", "requested_by", "created_at", "deadline", "run")},
        ),
        ("What is asked", {"fields": ("figures",)}),
        ("The answer", {"fields": ("answered", "note", "decided_by", "decided_at", "edited")}),
        ("In detail", {"classes": ("collapse",), "fields": ("public_id", "digest", "subject", "choices", "editable")}),
    )
    readonly_fields = ("answered", "deadline", "run", "figures", "edited")

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request).annotate(now=ClockTimestamp())
        return rows if is_list(request) else rows.select_related("requested_by__user", *self.list_select_related)

    # --- columns and fields

    @display(description="Question", ordering="title")
    def question(self, row: Request) -> str:
        return Truncator(row.title).chars(LONGEST_TITLE)

    @display(description="Status", ordering="status", label=LABELS)
    def state(self, row: Request) -> tuple[str, str]:
        return row.status, row.get_status_display()

    @display(description="Choice", ordering="choice")
    def answered(self, row: Request) -> str:
        return row.choice_word

    @display(description="Deadline")
    def deadline(self, row: Request) -> str:
        return format_html("{}, then {}", at(row.deadline_at), row.deadline_word) if row.deadline_at else ""

    @display(description="Run")
    def run(self, row: Request) -> SafeString | str:
        if not row.run:
            return ""
        return format_html(
            '<a class="text-link" href="{}">{} ({})</a>', reverse("pages:run", args=[row.run]), row.run, row.step or ""
        )

    @display(description="Payload")
    def figures(self, row: Request) -> SafeString:
        return render_to_string("admin/approvals/_figures.html", {"sheet": Sheet(row, may_edit=False)})

    @display(description="Changed with the answer")
    def edited(self, row: Request) -> SafeString | str:
        if row.answer_digest is None or row.answer == row.payload:
            return "nothing"
        changes, left = changes_decided(row)
        return render_to_string("approvals/_changes.html", {"changes": changes, "left": left, "label": "Changes"})

    # --- one

    @action(description="Look and decide…", url_path="decide", icon="gavel")
    @method_decorator(only_looks_and_posts)
    def decide(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The page to confirm on: a GET shows it, and only its POST decides."""
        row = self._visible(request, object_id)
        member = self._member(request)
        if request.method != "POST":
            return self._confirmation(request, shown(row, member))
        answer = Answer.of(request.POST, row)
        if LOOK in request.POST:
            return self._confirmation(request, shown(row, member, answer, mistakes_in(row, answer)))
        problem = decided(row, member, answer, door="admin")
        if problem is None:
            self.message_user(request, f"{row.title[:200]}: {row.word_of(answer.choice)}.", messages.SUCCESS)
            return redirect("admin:approvals_request_change", row.pk)
        row = self._visible(request, object_id)
        if isinstance(problem, AlreadyEnded) and is_answer_of(row, member, answer):
            return redirect("admin:approvals_request_change", row.pk)
        return self._confirmation(request, shown(row, member, answer, problem), problem.status)

    def _visible(self, request: HttpRequest, key: str) -> Request:
        found: Request | None = self.get_object(request, key)
        if found is None or not self.has_view_permission(request, found):
            raise Http404
        return found

    def _member(self, request: HttpRequest) -> Member:
        try:
            return member_of(request)
        except NotAMember as exc:
            raise PermissionDenied(str(exc)) from exc

    def _confirmation(self, request: HttpRequest, words: dict[str, Any], status: int = 200) -> HttpResponse:
        return TemplateResponse(
            request, "admin/approvals/decide.html", self._frame(request, "Look and decide") | words, status=status
        )

    def _frame(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "opts": self.opts, "title": title}

    # --- many

    def get_urls(self) -> list[Any]:
        many = self.admin_site.admin_view(self.decide_many)
        return [path("decide/", many, name="approvals_request_decide_many"), *super().get_urls()]

    @admin.action(description="Decide…", permissions=["view"])
    def decide_selected(self, request: HttpRequest, rows: QuerySet[Request]) -> HttpResponse | None:
        """Only a preview: what each of them asks, and whether the reader may answer. Its form decides."""
        member = self._member(request)
        chosen = list(rows[: MOST_AT_ONCE + 1])
        if len(chosen) > MOST_AT_ONCE:
            self.message_user(request, f"Decide at most {MOST_AT_ONCE} at once.", messages.ERROR)
            return None
        payloads = _small_payloads(chosen)
        previews = [_preview(row, member, payloads) for row in chosen]
        open_ones = [preview["row"] for preview in previews if not preview["refusal"]]
        offered = dict.fromkeys(choice for row in open_ones for choice in row.choices)
        words = {"previews": previews, "choices": [choice_of(choice, []) for choice in offered], "first": CONTINUE}
        return TemplateResponse(
            request, "admin/approvals/decide_many.html", self._frame(request, "Decide several requests") | words
        )

    @method_decorator(require_POST)
    def decide_many(self, request: HttpRequest) -> HttpResponse:
        """Each with the digest that the preview showed, in a transaction of its own; what became of each."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        member = self._member(request)
        seen = [pair.partition(":") for pair in request.POST.getlist("request")[:MOST_AT_ONCE]]
        keys = {whole_number(key, largest=LARGEST_KEY) for key, _, _ in seen} - {None}
        rows = {str(row.pk): row for row in self.get_queryset(request).filter(pk__in=keys)}
        choice, note = request.POST.get("choice", ""), request.POST.get("note", "").replace("\r\n", "\n")
        results = [_result(rows[key], member, Answer(choice, digest, note)) for key, _, digest in seen if key in rows]
        return TemplateResponse(
            request,
            "admin/approvals/decided_many.html",
            self._frame(request, "What became of each")
            | {"results": results, "taken": sum(not result["problem"] for result in results)},
        )


def _small_payloads(rows: list[Request]) -> dict[int, tuple[Any, Any]]:
    """Of those that fit into a preview of many, with their schemas."""
    sizes = Request.objects.annotate(size=Length(Cast("payload", TextField())))
    keys = [row.pk for row in rows]
    found = sizes.filter(pk__in=keys, size__lte=LARGEST_PREVIEW).values_list("pk", "payload", "payload_schema")
    return {key: (payload, schema) for key, payload, schema in found}


def _preview(row: Request, member: Member, payloads: dict[int, tuple[Any, Any]]) -> dict[str, Any]:
    ended = row.ended_as(row.now)  # type: ignore[attr-defined]
    refusal = f"It is {ended}." if ended else row.refusal_of(member)
    if not refusal and row.pk in payloads:
        row.payload, row.payload_schema = payloads[row.pk]
        return {"row": row, "refusal": "", "sheet": Sheet(row, may_edit=False)}
    return {"row": row, "refusal": refusal, "sheet": None}


def _result(row: Request, member: Member, answer: Answer) -> dict[str, Any]:
    problem = decided(row, member, answer, door="admin")
    if isinstance(problem, AlreadyEnded) and is_answer_of(row, member, answer):
        problem = None
    words = [str(problem), *(error["message"] for error in getattr(problem, "errors", []))] if problem else []
    return {"row": row, "problem": " ".join(words), "choice": row.word_of(answer.choice)}
