import zoneinfo
from typing import Any

from django import forms
from django.http import HttpResponseBase

from ui.shell import DENSITIES, THEMES, Preferences, set_preference

ZONES = sorted(name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith("Etc/"))


class PreferencesForm(forms.Form):
    theme = forms.ChoiceField(choices=THEMES.items(), required=False)
    density = forms.ChoiceField(choices=DENSITIES.items(), required=False)
    zone = forms.ChoiceField(
        label="Time zone",
        choices=[("", "As this device"), ("UTC", "UTC"), *((name, name.replace("_", " ")) for name in ZONES)],
        required=False,
    )
    keys = forms.BooleanField(label="Keyboard shortcuts", required=False)

    @staticmethod
    def initial_of(kept: Preferences) -> dict[str, Any]:
        zone = kept.zone if kept.zone_is_chosen else ""
        return {"theme": kept.theme, "density": kept.density, "zone": zone, "keys": kept.keys}

    def keep(self, response: HttpResponseBase) -> None:
        chosen = self.cleaned_data
        set_preference(response, "theme", chosen["theme"])
        set_preference(response, "density", chosen["density"])
        set_preference(response, "zone", chosen["zone"])
        set_preference(response, "zone_is_chosen", "1" if chosen["zone"] else "")
        set_preference(response, "keys", "" if chosen["keys"] else "off")
