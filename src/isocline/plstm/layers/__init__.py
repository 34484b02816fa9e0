"""Layers: gates and projections around one call of `functional`. Source: pLSTM, sections on layers and initialisation."""

from isocline.plstm.layers.graph import PLSTMGraph
from isocline.plstm.layers.grid import PLSTM2d
from isocline.plstm.layers.sequence import PLSTM1d, SequenceState

__all__ = ["PLSTM1d", "PLSTM2d", "PLSTMGraph", "SequenceState"]
