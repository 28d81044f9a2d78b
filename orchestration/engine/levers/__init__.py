"""What people do to runs that go on, or have failed. `orchestration.levers` lists them, for every door."""
