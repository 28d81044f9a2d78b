from concurrent.futures import ThreadPoolExecutor

from django.db import connection

from accounts.exceptions import LastAdmin
from accounts.models import Member, Role


def test_of_two_admins_who_remove_each_other_one_stays(committed, person):
    ada, bea = person("ada", "admin"), person("bea", "admin")

    def remove(member):
        try:
            member.deactivate(by=member)
        except LastAdmin:
            return False
        else:
            return True
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(remove, (ada, bea)))
    assert sorted(done) == [False, True]
    assert Member.objects.active().filter(roles__contains=[Role.ADMIN]).count() == 1
