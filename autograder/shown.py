"""What a student's file calls things, made fit for a report: printable, and not without end."""

from collections.abc import Sequence

from autograder.records import Finding

MAX_FINDINGS = 50  # of one room on one submission; more tell nobody more


def shown(text: str, characters: int = 200) -> str:
    """The beginning of a text, with escapes for all that does not print.

    Half a surrogate pair, which JSON and file names can hold, could not be written to a file.
    """
    cut = text[:characters] + ("..." if len(text) > characters else "")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def capped(findings: Sequence[Finding], subject: str) -> tuple[Finding, ...]:
    """At most MAX_FINDINGS, the last of which says how many more there are."""
    if len(findings) <= MAX_FINDINGS:
        return tuple(findings)
    kept = findings[: MAX_FINDINGS - 1]
    more = f"{len(findings) - len(kept)} more findings of the same kinds are not listed."
    return (*kept, Finding(subject, more))
