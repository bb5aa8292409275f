"""Course folders that go wrong in known ways."""
