"""Hopfield network. Hopfield, "Neural networks and physical systems with emergent collective ...", 1982.

danlu train hopfield                                                six letters, Hebb's rule
danlu train hopfield --glyphs.characters upper --patterns 26 --model.storage pseudo-inverse
danlu train hopfield --data digits --patterns 10 --model.storage pseudo-inverse
danlu train hopfield --data mnist --patterns 100 --model.form modern     Ramsauer et al. 2021
danlu train hopfield --data table:signs.csv                         rows of -1 and 1
danlu recall RUN damaged.png                                        the stored picture
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from danlu.data.base.dataset import DataInfo, DataSet
from danlu.data.base.page import Fraction
from danlu.data.base.split_settings import Split
from danlu.data.images.glyph_settings import Glyphs
from danlu.data.images.image_data import ImageData
from danlu.data.images.settings import Binarize
from danlu.data.settings import DataSettings
from danlu.data.tables.settings import Table
from danlu.data.tables.table_data import TableData
from danlu.models.energy.hopfield import Hopfield
from danlu.recipes.config.constructor_settings import Settings, settings
from danlu.recipes.config.recipe import Count, Recipe
from danlu.recipes.energy.sign_patterns import sign_patterns
from danlu.storage.access import Access
from danlu.tasks.pattern_storage import PatternStorage
from danlu.training.optimization.settings import OptimizerSettings, Positive

LETTERS = Glyphs(
    examples=62,
    characters=("A", "K", "M", "O", "T", "V"),  # six whose pictures are so different that Hebb's rule stores them
    family="sans",
    weight="bold",
    slant="upright",
    rotate=0.0,
    scale=(1.6, 1.6),
    translate=0.0,
)
"""upright bold letters that fill the picture"""


class HopfieldRecipe(Recipe, TableData, ImageData):
    """Patterns of -1 and 1 are stored in one turn, and recalled from damaged ones.

    The patterns are training examples, one of each class in turn. Validation and test part are damaged patterns.
    """

    help_section: ClassVar[str] = "memory"
    tiny: ClassVar[dict[str, Any]] = {"patterns": 6, "copies": 2, "model": {"storage": "pseudo-inverse"}}
    overfits_to: ClassVar[float | None] = None  # there is no loss

    model: Settings[Hopfield] = settings(Hopfield)
    """the network"""
    patterns: Count = 6
    """number of stored patterns"""
    side: Count | None = None
    """height and width to which images are resized, before they are black and white; as they are if not given"""
    noise: Fraction = 0.2
    """probability with which a value of a damaged pattern has the other sign"""
    copies: Annotated[int, Field(ge=1)] = 20
    """number of damaged copies of each pattern in the validation part, and in the test part"""
    data: str = "glyphs"
    glyphs: Glyphs = LETTERS
    table: Table = Table(standardize=False)
    binarize: Binarize = "threshold"
    batch_size: Count | Literal["full"] = "full"
    epochs: Positive | None = 1
    monitor: str | None = "none"

    def load(self, access: Access | None = None) -> DataSet:
        """The stored patterns as training part, damaged ones as validation and test part; all values are -1 and 1.

        Raises:
            UsageError: also if a value of a table is neither -1 nor 1, or there are too few training examples.
        """
        settings = self
        if self.data == "glyphs" and self.split == Split():  # the faces of the other parts are not needed
            settings = self.model_copy(update={"split": Split(validation=0, test=0)})
        data = DataSettings.load(settings, access)  # in gray, because images are resized before they are binarized
        return sign_patterns(data, self.patterns, self.side, self.binarize, self.noise, self.copies, self.split.seed)

    def task(self, info: DataInfo) -> PatternStorage:
        return PatternStorage(self.model.build(shape=info.shape, patterns=self.patterns), info.inputs)

    def optimizer_settings(self) -> dict[str, OptimizerSettings]:
        """There is no optimizer."""
        return {}

    @model_validator(mode="after")
    def _patterns_are_signs(self) -> Self:
        if self.binarize not in ("threshold", "static"):
            raise ValueError(
                f"binarize={self.binarize} gives no patterns of -1 and 1; use threshold (white from a gray value of "
                f"0.5) or static"
            )
        if self.augment.on:
            raise ValueError("augment has no effect: patterns are stored as they are; leave it out")
        return self
