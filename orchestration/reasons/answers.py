"""It waits for an answer that another step asks for."""

from orchestration.models import CacheEntry, CachePlace, Run, Step


def asked_by(step: Step) -> Run | None:
    """The run whose step asks, or will next; None if that is not what the step waits for."""
    place = CachePlace.objects.filter(run_id=step.run_id, key=step.key, fence=step.fence).first()
    if place is None:
        return None
    asked = CacheEntry.objects.filter(organization_id=place.organization_id, digest=place.digest)
    return Run.objects.for_list().filter(pk__in=asked.values("run_id")).first()
