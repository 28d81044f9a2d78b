from django.db import models

from accounts.clock import ClockTimestamp


class Organization(models.Model):
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=ClockTimestamp(), editable=False)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug
