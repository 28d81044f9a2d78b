"""Pages for people; sign-in and what belongs to it is django-allauth's, below /accounts/."""

from django.urls import path
from django.views.generic import RedirectView

from accounts.views import device, doors, frame, members, saved, tokens, trail

to_security = RedirectView.as_view(pattern_name="pages:security")

urlpatterns = [
    path("counts/", frame.counts, name="counts"),
    path("settings/", device.preferences, name="settings"),
    path("settings/preference/", device.preference, name="preference"),
    path("settings/organization/", device.switch_organization, name="switch-organization"),
    path("settings/views/<int:pk>/delete/", saved.drop_view, name="drop-view"),
    path("settings/views/<str:list_name>/", saved.save_view, name="save-view"),
    path("settings/security/", device.security, name="security"),
    path("settings/security/sessions/end/", device.end_other_sessions, name="end-other-sessions"),
    path("settings/security/sessions/<int:pk>/end/", device.end_session, name="end-session"),
    path("settings/tokens/", tokens.tokens, name="tokens"),
    path("settings/tokens/<str:public_id>/revoke/", tokens.revoke_token, name="revoke-token"),
    path("settings/members/", members.members, name="members"),
    path("settings/members/<int:pk>/", members.one_member, name="member"),
    path("settings/members/<int:pk>/roles/", members.change_roles, name="member-roles"),
    path("settings/members/<int:pk>/email/", members.change_email, name="member-email"),
    path("settings/members/<int:pk>/password/", members.new_password, name="member-password"),
    path("settings/members/<int:pk>/activation/", members.activation, name="member-activation"),
    path("settings/audit/", trail.audit, name="audit"),
    path("again/", doors.again, name="again"),
    # Before django-allauth's own of the same addresses.
    path("accounts/logout/", doors.sign_out),
    path("accounts/2fa/", to_security),
    path("accounts/2fa/webauthn/", to_security),
    path("accounts/sessions/", to_security),
    path("accounts/email/", to_security),
    path("accounts/confirm-email/", to_security),
    path("accounts/3rdparty/", doors.connected_services),
    path("accounts/oidc/<str:provider_id>/login/", doors.leave_for_oidc),
    path("accounts/password/reset/", doors.forgotten),
]
