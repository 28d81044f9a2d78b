"""Pages for people."""

urlpatterns: list[object] = []
