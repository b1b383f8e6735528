"""Findings: problems described in text and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mvgeom.errors import InputError
from mvgeom.wording import counted

__all__ = ["CalibrationError", "Finding", "Severity", "describe_shift", "error", "note", "sort_findings", "warning"]

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem, or a fact worth knowing.

    Attributes:
        code: Kind of finding, for programs: `too_few_boards`, `mirrored_images`, `camera_disagrees`, ...
        severity: Severity of the finding. An error means that the result is useless or impossible, a warning that it is
            worse than it could be; a note describes a correction that was made.
        cameras: Names of the affected cameras.
        text: Description in one or two sentences: the problem, its evidence, and what to do.
        evidence: Numbers in the text, by name.
    """

    code: str
    severity: Severity
    cameras: tuple[str, ...]
    text: str
    evidence: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "evidence", {name: float(value) for name, value in self.evidence.items()})


def describe_shift(frames: int, later: str = "late", earlier: str = "early") -> str:
    """Return a shift in words, such as `1 frame late`; positive numbers are later."""
    return f"{counted(abs(frames), 'frame')} {later if frames > 0 else earlier}"


def error(code: str, cameras: Sequence[str], text: str, **evidence: float) -> Finding:
    """Create a finding for a result that is useless or impossible; evidence by name."""
    return Finding(code=code, severity="error", cameras=tuple(cameras), text=text, evidence=evidence)


def warning(code: str, cameras: Sequence[str], text: str, **evidence: float) -> Finding:
    """Create a finding for a result that is worse than it could be; evidence by name."""
    return Finding(code=code, severity="warning", cameras=tuple(cameras), text=text, evidence=evidence)


def note(code: str, cameras: Sequence[str], text: str, **evidence: float) -> Finding:
    """Create a finding that describes a correction that was made; evidence by name."""
    return Finding(code=code, severity="note", cameras=tuple(cameras), text=text, evidence=evidence)


class CalibrationError(InputError):
    """The detections do not allow a calibration.

    Attributes:
        findings: Findings that give the reasons, errors first.
    """

    findings: tuple[Finding, ...]

    def __init__(self, findings: Iterable[Finding]) -> None:
        ordered = sort_findings(findings)
        text = "; ".join(each.text for each in ordered if each.severity == "error")
        super().__init__(text, code="no-calibration", findings=ordered)

    def __reduce__(self) -> tuple[type[CalibrationError], tuple[tuple[Finding, ...]]]:
        return CalibrationError, (self.findings,)


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings: errors, then warnings, then notes; the order within each severity is kept."""
    return tuple(sorted(findings, key=lambda each: ("error", "warning", "note").index(each.severity)))
