"""A finding: what is wrong, in words a person can act on, with the numbers that show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mvgeom.errors import InputError

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        code: what it is, for programs: `too_few_boards`, `mirrored_images`, `camera_disagrees`, ...
        severity: an error makes the result useless or impossible, a warning makes it worse than it could be, a note
            tells what was done.
        cameras: those concerned.
        text: one or two sentences: what, how it shows, what to do.
        evidence: the numbers in the text.
    """

    code: str
    severity: Severity
    cameras: tuple[str, ...]
    text: str
    evidence: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "evidence", {name: float(value) for name, value in self.evidence.items()})


def error(code: str, cameras: Sequence[str], text: str, **evidence: float) -> Finding:
    """A finding that makes the result useless or impossible; evidence by name."""
    return Finding(code=code, severity="error", cameras=tuple(cameras), text=text, evidence=evidence)


def warning(code: str, cameras: Sequence[str], text: str, **evidence: float) -> Finding:
    """A finding that makes the result worse than it could be; evidence by name."""
    return Finding(code=code, severity="warning", cameras=tuple(cameras), text=text, evidence=evidence)


def note(code: str, cameras: Sequence[str], text: str, **evidence: float) -> Finding:
    """A finding that tells what was done; evidence by name."""
    return Finding(code=code, severity="note", cameras=tuple(cameras), text=text, evidence=evidence)


class CalibrationError(InputError):
    """Images that do not allow a calibration.

    Attributes:
        findings: Reasons, errors first.
    """

    findings: tuple[Finding, ...]

    def __init__(self, findings: Iterable[Finding]) -> None:
        ordered = sort_findings(findings)
        text = "; ".join(each.text for each in ordered if each.severity == "error")
        super().__init__(text, code="no-calibration", findings=ordered)

    def __reduce__(self) -> tuple[type[CalibrationError], tuple[tuple[Finding, ...]]]:
        return CalibrationError, (self.findings,)


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, then notes; the order is kept within each."""
    return tuple(sorted(findings, key=lambda each: ("error", "warning", "note").index(each.severity)))
