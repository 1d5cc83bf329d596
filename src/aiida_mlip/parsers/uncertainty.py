"""Parser of ``mlip.uncertainty``."""

from __future__ import annotations

from pathlib import Path

from aiida_mlip.data.uncertainty import UncertaintyData
from aiida_mlip.parsers.base import MlipParser, ParsingError, arrays_of, find_file, results_node
from aiida_mlip.schema.job import Result
from aiida_mlip.schema.uncertainty import CALIBRATION_FILE
from aiida_mlip.science.uncertainty.model import UNCERTAINTY_FILE


class UncertaintyParser(MlipParser):
    """Turn the uncertainty, its quality and the pairs behind it into nodes."""

    def _attach(self, result: Result, folder: Path) -> None:
        self.out("results", results_node(result))
        self.out("calibration", arrays_of(folder, CALIBRATION_FILE))
        try:
            uncertainty = UncertaintyData(find_file(folder, UNCERTAINTY_FILE))
        except ValueError as error:
            raise ParsingError("ERROR_MISSING_FILE", f"{error}. Submit again.") from error
        uncertainty.label = f"uncertainty {result.payload['kind']}"
        self.out("uncertainty", uncertainty)
