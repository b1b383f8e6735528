"""Lowest validation loss of a run, and the number of validations since."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_fabric import Fabric


@dataclass
class ValidationRecord:
    """Record of the validations of a run, the same in all its processes.

    The checkpoint `best` and early stopping depend on it, and both are collective: processes that decided differently
    would wait for each other forever. So the loss of global rank 0 counts in all of them, although theirs may differ by
    rounding.

    Attributes:
        best_loss: Lowest validation loss so far.
        stale_validations: Number of validations since then.
    """

    best_loss: float = float("inf")
    stale_validations: int = 0

    def add(self, loss: float, fabric: Fabric) -> bool:
        """Record a validation, and return True if its loss is the lowest so far; all processes must call.

        Args:
            loss: Validation loss of this process.
            fabric: Fabric of the run.
        """
        loss = fabric.broadcast(loss)
        improved = loss < self.best_loss
        if improved:
            self.best_loss = loss
        self.stale_validations = 0 if improved else self.stale_validations + 1
        return improved
