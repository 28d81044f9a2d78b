"""How the admin writes times: never without their zone."""

DATETIME_FORMAT = "j M Y H:i T"
DATE_FORMAT = "j M Y"
