"""Whole models: a classifier of images, a model of language."""

from .language import PLSTMLanguageModel
from .reference import convert_reference_checkpoint
from .vision import PLSTMVision

__all__ = ["PLSTMLanguageModel", "PLSTMVision", "convert_reference_checkpoint"]
