"""What the claims of this room share."""

from __future__ import annotations

PAPER = "Pöppel et al., pLSTM: parallelizable Linear Source Transition Mark networks, arXiv 2506.11997"
