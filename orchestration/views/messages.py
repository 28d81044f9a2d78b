"""Messages to a run: a form for each that it takes, and what became of those that came."""

import secrets
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.authentication import member_of
from accounts.json_values import unstorable
from accounts.models import Role
from accounts.permissions import page
from orchestration.engine.messages import send
from orchestration.engine.outcomes import NotRecordable
from orchestration.exceptions import InvalidInput, OrchestrationError
from orchestration.mailbox import came
from orchestration.models import Run
from orchestration.run_rows import RunRows
from orchestration.views.run import frame, seen_rows_of
from ui.schema_forms import SchemaForm


@require_http_methods(["GET", "HEAD", "POST"])
@page(Role.OPERATOR)
def run_messages(request: HttpRequest, public_id: str) -> HttpResponse:
    """`key`: the same form sent twice is one message."""
    rows = seen_rows_of(request, public_id)
    name = request.POST.get("message", "")
    if request.method != "POST":
        return _page(request, rows, {})
    if name not in rows.outline.messages:
        raise Http404("The run takes no such message.")
    form = form_of(rows, name, request.POST)
    status = 400
    if form.is_valid():
        try:
            _send(request, rows.run, name, form.value())
            messages.success(request, f"{name}: kept.")
            return redirect("pages:run-messages", public_id)
        except InvalidInput as exc:
            form.add_findings((error["pointer"].removeprefix("/data"), error["message"]) for error in exc.errors)
        except NotRecordable as exc:
            form.add_error(None, str(exc))
        except OrchestrationError as exc:
            status = exc.status
            form.add_error(None, str(exc))
    return _page(request, seen_rows_of(request, public_id), {name: form}, status=status)


def _send(request: HttpRequest, run: Run, name: str, data: Any) -> None:
    if problem := unstorable(data):
        raise InvalidInput([{"pointer": "", "message": problem}])
    send(run, name=name, data=data, sender_id=request.POST.get("key", "")[:200] or None, by=member_of(request))


def form_of(rows: RunRows, name: str, data: Any = None) -> SchemaForm:
    schema = rows.outline.messages[name]
    return SchemaForm(schema if isinstance(schema, dict) else {}, data, prefix=name, label="What it says")


def _page(request: HttpRequest, rows: RunRows, sent: dict[str, SchemaForm], *, status: int = 200) -> HttpResponse:
    """`sent`: the form that was just sent, and not taken."""
    takes = rows.run.status not in (*Run.ENDED, Run.Status.CANCELING) and member_of(request).has_role(Role.OPERATOR)
    forms = [
        {
            "name": name,
            "form": sent.get(name) or form_of(rows, name),
            "key": secrets.token_urlsafe(18),
            "is_open": name in sent,
        }
        for name in (rows.outline.messages if takes else ())
    ]
    context = frame(request, rows, "messages") | {"forms": forms, "came": came(rows.run)}
    return render(request, "orchestration/run_messages.html", context, status=status)
