from django.db import models


class Status(models.TextChoices):
    PENDING = "pending"  # -> decided, expired, withdrawn
    DECIDED = "decided"  # final: a person answered
    EXPIRED = "expired"  # final: the deadline answered with its choice
    WITHDRAWN = "withdrawn"  # final: the asker no longer wants to know


ANSWERED = (Status.DECIDED, Status.EXPIRED)
