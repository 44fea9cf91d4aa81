"""What model files get right, and how closely they agree."""

from __future__ import annotations

from edgekit.evaluate.accuracy import FileAccuracy, Share, evaluate_files
from edgekit.evaluate.agreement import Agreement, AgreementResult, QuantizedAgreement, QuantizedAgreementResult
from edgekit.evaluate.compare import Comparison, LayerAgreement, compare_files

__all__ = [
    "Agreement",
    "AgreementResult",
    "Comparison",
    "FileAccuracy",
    "LayerAgreement",
    "QuantizedAgreement",
    "QuantizedAgreementResult",
    "Share",
    "compare_files",
    "evaluate_files",
]
