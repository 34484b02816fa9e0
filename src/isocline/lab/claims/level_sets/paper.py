"""What the claims of this room share."""

from __future__ import annotations

PAPER = "Balasubramanian, Sriramanan, Sadasivan & Feizi, Exploring Geometry of Blind Spots in Vision Models, NeurIPS 2023"
