"""Every setting, each read once from the environment; `.env.example` explains each variable.

Where a variable comes from, first found wins: the environment, `.env` beside manage.py, and `countersign.env` in the
data directory, which `bin/up` writes while it runs.
"""

from pathlib import Path

import environ

from config.limits import LIMITS
from config.logs import logging_at
from config.skin import UNFOLD as UNFOLD  # the admin's looks

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
env.read_env(BASE_DIR / ".env")
DATA_DIR = Path(env("COUNTERSIGN_DATA", default=str(BASE_DIR / "var"))).resolve()
env.read_env(DATA_DIR / "countersign.env")

# --- Django
SECRET_KEY = env("SECRET_KEY")  # absent: refuse to start; bin/up makes one in the data directory
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
DEBUG = env.bool("DEBUG", default=False)
BASE_URL = env("BASE_URL", default="http://localhost:8000")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
INSTALLED_APPS = [
    "ui",
    "accounts",
    "agents",
    "approvals",
    "orchestration",
    "simulators",
    "config",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "django.contrib.humanize",
    "channels",
    "rest_framework",
    "drf_spectacular",
]
MIDDLEWARE = [
    "config.middleware.guard",
    "config.middleware.Compress",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.middleware.in_the_frame",
    "ui.middleware.in_the_readers_zone",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "ui.shell.shell",
            ]
        },
    }
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = "config.formats"
TIME_ZONE = env("TIME_ZONE", default="UTC")
USE_TZ = True

# --- PostgreSQL, the only database
DATABASES = {"default": env.db_url("DATABASE_URL")}
DATABASES["default"].update(
    ENGINE="django.db.backends.postgresql",
    CONN_MAX_AGE=0,  # the pool keeps connections; Django must not
)
DATABASES["default"].setdefault("OPTIONS", {}).update(
    pool={"min_size": 0, "max_size": env.int("DATABASE_POOL_SIZE", default=8), "timeout": 15},
    options="-c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
)

# --- Valkey or Redis: hints, nothing that would be missed
REDIS_URL = env("REDIS_URL")
CACHES = {"default": {"BACKEND": "config.cache.ForgivingRedisCache", "LOCATION": REDIS_URL}}

# --- Celery: runs the worker processes; the engine in them finds its own work
WORKER_QUEUES = env.list("WORKER_QUEUES", default=["default", "context", "tool", "orchestrator"])
WORKER_THREADS = env.int("WORKER_THREADS", default=64)
WORKER_LEASE_SECONDS = env.float("WORKER_LEASE_SECONDS", default=15.0)
WORKER_HEARTBEAT_SECONDS = env.float("WORKER_HEARTBEAT_SECONDS", default=3.0)
WORKER_DRAIN_SECONDS = env.float("WORKER_DRAIN_SECONDS", default=20.0)
WORKER_SWEEP_SECONDS = env.float("WORKER_SWEEP_SECONDS", default=1.0)
WORKER_LOST_LIMIT = env.int("WORKER_LOST_LIMIT", default=3)
WORKER_CPU = env.int("WORKER_CPU", default=-1)  # -1: any

# --- Agents: the outside systems they reach; see docs/gateways.md
AGENT_CALL_TIMEOUT_SECONDS = env.float("AGENT_CALL_TIMEOUT_SECONDS", default=60.0)
LONGEST_RETRY_AFTER_SECONDS = env.float("LONGEST_RETRY_AFTER_SECONDS", default=3600.0)
OPENAI_API_KEY = env("OPENAI_API_KEY", default="")
OPENAI_BASE_URL = env("OPENAI_BASE_URL", default="https://api.openai.com/v1")
OPENAI_MODEL = env("OPENAI_MODEL", default="gpt-5-mini")
# Dollars a million tokens, read and written; an estimate for models named here, none for others.
MODEL_PRICES_USD = {"gpt-5": [1.25, 10], "gpt-5-mini": [0.25, 2], "gpt-5-nano": [0.05, 0.4]}
MODEL_PRICES_USD.update(env.json("MODEL_PRICES_USD", default={}))
# By the name that an agent's `connection` gives; empty: our own database, as a role that may only read the demo's KPIs.
AGENT_DATABASES = {"supabase": env("SUPABASE_DB_URL", default="")}
AGENT_DATABASE_POOL_SIZE = env.int("AGENT_DATABASE_POOL_SIZE", default=4)

# --- People; see docs/sign_in.md
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/accounts/login/"
CSRF_FAILURE_VIEW = "config.errors.csrf_refused"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
EMAIL_URL = env("EMAIL_URL", default="")
DEFAULT_FROM_EMAIL = env("DEFAULT_FROM_EMAIL", default="countersign@localhost")
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"  # until there is an EMAIL_URL
EMAIL_TIMEOUT = 10
if EMAIL_URL:
    globals().update(env.email_url_config(EMAIL_URL))
ACCOUNT_ADAPTER = "accounts.adapters.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "accounts.forms.SignInForm",
    "change_password": "accounts.forms.ChangePasswordForm",
    "set_password": "accounts.forms.SetPasswordForm",
    "reauthenticate": "accounts.forms.ReauthenticateForm",
}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]  # nobody signs up; the login form reads it
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_NOTIFICATIONS = bool(EMAIL_URL)
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[Countersign] "
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 900
ACCOUNT_RATE_LIMITS = {"keep_form": "10/m/ip"}  # besides those of django-allauth
SOCIALACCOUNT_ADAPTER = "accounts.adapters.SocialAccountAdapter"
# {"okta": {"name": "Okta", "server_url": "https://…", "client_id": "…", "secret": "…"}}
OIDC_PROVIDERS = env.json("OIDC_PROVIDERS", default={})
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": key,
                "name": given.get("name", key),
                "client_id": given.get("client_id", ""),
                "secret": given.get("secret", ""),
                "settings": {"server_url": given.get("server_url", "")},
            }
            for key, given in OIDC_PROVIDERS.items()
        ],
    }
}
MFA_ADAPTER = "accounts.adapters.MfaAdapter"
MFA_FORMS = {"authenticate": "accounts.forms.SecondStepForm", "activate_totp": "accounts.forms.StartTotpForm"}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Countersign"
MFA_TOTP_TOLERANCE = 1
MFA_ALLOW_UNVERIFIED_EMAIL = True  # addresses are written by admins
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not BASE_URL.startswith("https://")  # browsers allow http on localhost only

# --- Transport security: on unless BASE_URL is plain http, as on one's own machine
SECURE = BASE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = SECURE
BEHIND_PROXY = env.bool("BEHIND_PROXY", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if BEHIND_PROXY else 0  # whose X-Forwarded-For names the address that is limited
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"

# --- Files
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # nothing to collect: they are served from where they lie

# --- Watching it: who asks for /metrics must send this as a bearer token; empty: anyone who can reach it may read them
METRICS_TOKEN = env("METRICS_TOKEN", default="")

# --- API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["config.api.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "config.schema.Schema",
    "EXCEPTION_HANDLER": "config.api.answer_error",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Countersign",
    "DESCRIPTION": "Durable workflows of agents, with people at the checkpoints.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "RunStatus": "orchestration.models.Run.Status",
        "StepStatus": "orchestration.models.Step.Status",
        "RequestStatus": "approvals.models.Status",
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("MAX_REQUEST_BYTES", default=6_000_000)

# --- Old runs: 0 keeps all of them
RETENTION_DAYS = env.int("RETENTION_DAYS", default=0)
PARTITION_DAYS = env.int("PARTITION_DAYS", default=30)

# --- What is too much
globals().update({name: env.int(name, default=most) for name, most in LIMITS.items()})

LOGGING = logging_at(env("LOG_LEVEL", default="INFO"))
