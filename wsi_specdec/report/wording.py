"""What is said of slides and their tiles, said of images where a run is on those."""

import re
from dataclasses import dataclass
from typing import Final

from wsi_specdec.report.tables import HEADLINE, Metric

_THING: Final = re.compile(r"\b(?:slide|tile)(s?)\b")
_CAPITAL: Final = re.compile(r"\b(?:Slide|Tile)(s?)\b")
_TRUTH: Final = re.compile(r"\b(with|without) tumour\b")


@dataclass(frozen=True)
class Wording:
    """How texts of the report read for one run.

    Attributes
    ----------
    of_images
        Whether the run is on packed images: each stands where a slide and its only tile would.
    positive
        Name of the positive class.

    Examples
    --------
    >>> Wording(of_images=True, positive="COVID")("Slide AUROC: tiles without tumour")
    'Image AUROC: images without COVID'
    >>> Wording()("Slide AUROC: tiles without tumour")
    'Slide AUROC: tiles without tumour'
    """

    of_images: bool = False
    positive: str = "tumour"

    def __call__(self, text: str) -> str:
        """Return a text of ours, which quotes no id, in the run's words."""
        if not self.of_images:
            return text
        text = _CAPITAL.sub(r"Image\1", _THING.sub(r"image\1", text))
        return _TRUTH.sub(lambda found: f"{found[1]} {self.positive}", text)

    @property
    def headline(self) -> list[Metric]:
        """The headline metrics with their titles; of images without those of tiles."""
        shown = [m for m in HEADLINE if not (self.of_images and m.unit == "patch")]
        return [Metric(m.unit, m.name, self(m.title)) for m in shown]

    @property
    def noun(self) -> str:
        """What is called: `slide` or `image`."""
        return self("slide")


OF_SLIDES: Final = Wording()
