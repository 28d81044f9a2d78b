from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person who signs in. What they may do hangs on their memberships, not on them.

    `home` made the account, and no other organization ever had the person: its admins may help them to sign in.
    """

    home = models.ForeignKey("Organization", null=True, on_delete=models.SET_NULL, editable=False, related_name="+")
