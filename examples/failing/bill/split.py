"""Split a bill between people."""


def split(cents: int, people: int) -> list[int]:
    """Return what each pays. The bug: what does not divide evenly is lost."""
    return [cents // people] * people
