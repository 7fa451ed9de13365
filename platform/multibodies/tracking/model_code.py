"""The registered model as MLflow runs it: a script that it copies beside the weights and executes.

What it needs of this package lies beside it too; nothing is pickled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class People(PythonModel):
    """Photographs of one person each -> n bodies each; see `multibodies.bundles.Bundle.predict`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read network, prior and body. Raises UserError where a licensed body is not given."""
        from multibodies.bundles import Bundle

        self.bundle = Bundle(context.artifacts["bundle"])

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,  # MLflow warns of other hints, also of `Any` and of none
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return arrays [N, n, ...] of images or of paths; params: n, flow_weight."""
        return self.bundle.predict(model_input, **(params or {}))


set_model(People())
