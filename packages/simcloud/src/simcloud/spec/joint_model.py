"""Values of a spec that are drawn for themselves: shared ones, and several together as one row."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from simcloud.spec.base import Name, SpecModel
from simcloud.spec.distributions import Choice, Sequence, Stratified
from simcloud.spec.kinds import Kind, Values, no_values, to_float32
from simcloud.spec.parameters import Scalar
from simcloud.spec.streams import RandomStream

TAKEN = frozenset(
    {"background", "camera", "dome", "light", "material", "objects", "plugin", "settling"}
)
"""First parts of the names that the spec's other values have."""

_Row = tuple[bool | int | float | str, ...]


def _free(name: str) -> str:
    if name in TAKEN:
        raise ValueError(f"{name!r} begins the names of other values: choose another name")
    return name


def sort_of(value: Scalar) -> str:
    """``number``, ``name`` or ``truth value``: a column of the index holds one sort."""
    if isinstance(value, bool):
        return "truth value"
    return "name" if isinstance(value, str) else "number"


class JointTable(SpecModel):
    """Several values drawn together: one row of a table in each frame.

    Other parameters refer to them, as in `temperature_k: {from: weather.temperature_k}`.
    """

    name: Annotated[Name, AfterValidator(_free)]
    """First part of the names of its values, as `weather` in `weather.temperature_k`."""
    columns: tuple[Name, ...] = Field(min_length=1, max_length=64)
    """Second parts of the names."""
    rows: tuple[_Row, ...] = Field(min_length=1, max_length=65_536)
    """A value for each column; all values of a column are numbers, names or truth values."""
    weights: tuple[float, ...] | None = None
    """Relative weights of the rows, 0 or more, not all 0; unset: all alike."""
    pick: Literal["random", "stratified", "sequence"] = "random"
    """How rows are taken: by chance, by chance but evenly over consecutive frames, or one after the
    other (weights don't count then)."""

    @model_validator(mode="after")
    def _rectangular(self) -> JointTable:
        if len(set(self.columns)) != len(self.columns):
            raise ValueError("columns: a name is used twice")
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"rows[{index}] has {len(row)} values for {len(self.columns)} columns"
                )
        for column, *values in zip(self.columns, *self.rows, strict=True):
            sorts = sorted({sort_of(value) for value in values})
            if len(sorts) > 1:
                raise ValueError(f"column {column!r} mixes {'s and '.join(sorts)}s")
        self.row_numbers()
        if self.weights is not None and self.pick == "sequence":
            raise ValueError("weights do not count where rows are taken one after the other")
        return self

    def row_numbers(self) -> Kind:
        """The distribution of the row's number."""
        numbers = tuple(range(len(self.rows)))
        if self.pick == "sequence":
            return Sequence(values=numbers)
        chance = Choice(values=numbers, weights=self.weights)
        return Stratified(of=chance) if self.pick == "stratified" else chance

    def column(self, index: int) -> JointColumn:
        """The distribution of one of the values; all of a table take the same random bits."""
        return JointColumn(row=self.row_numbers(), values=tuple(row[index] for row in self.rows))


class JointColumn(Kind):
    """One value of the row that is drawn; made from a table, never written in a spec."""

    row: Kind
    """Draws the row's number."""
    values: tuple[bool | int | float | str, ...]
    """The column, by row."""

    def support(self) -> tuple[Scalar, ...]:
        """The column's values."""
        return self.values

    def enumerated(self) -> tuple[Scalar, ...]:
        """The same."""
        return self.values

    def draw(self, stream: RandomStream, values: Values = no_values) -> Scalar:
        """What the row's number takes."""
        chosen = self.values[int(self.row.draw(stream, values))]
        return to_float32(chosen) if isinstance(chosen, float) else chosen
