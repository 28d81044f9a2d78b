from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView

from config import health
from orchestration.language import SCHEMA

handler400 = "config.errors.bad_request"
handler403 = "config.errors.forbidden"
handler404 = "config.errors.not_found"
handler500 = "config.errors.broken"
# No way round the second step.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


def definition_schema(request: HttpRequest) -> JsonResponse:
    """The language's JSON Schema, for editors."""
    return JsonResponse(SCHEMA, content_type="application/schema+json", headers={"Access-Control-Allow-Origin": "*"})


api: list[URLPattern | URLResolver] = [
    path("", include("accounts.urls")),
    path("", include("agents.urls")),
    path("", include("approvals.urls")),
    path("", include("orchestration.urls")),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
]

pages: list[URLPattern | URLResolver] = [
    path("", include("ui.site_urls")),
    path("", include("accounts.site_urls")),
    path("", include("approvals.site_urls")),
    path("", include("orchestration.site_urls")),
]

urlpatterns = [
    path("", include((pages, "pages"))),
    path("api/v1/", include(api)),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("schema/definition.json", definition_schema, name="definition-schema"),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
]
