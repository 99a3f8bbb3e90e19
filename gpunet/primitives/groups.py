"""The sizes of a normalization, as its twins take them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Groups"]


class Groups(NamedTuple):
    """Arrays of (batch, positions, groups, members); each sample's group has one mean."""

    batch: int
    positions: int
    groups: int
    members: int  # channels of a group
    epsilon: float  # added to variances

    @classmethod
    def of_channels(cls, shape: tuple[int, int], epsilon: float) -> Groups:
        """Return those of (rows, channels), where each channel has one mean."""
        rows, channels = shape
        return cls(1, rows, channels, 1, epsilon)

    @property
    def channels(self) -> int:
        return self.groups * self.members

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return the shape in which a group is what lies along axes 1 and 3."""
        return self[:4]

    @property
    def size(self) -> int:
        """Return how many elements a mean is taken over."""
        return self.positions * self.members
