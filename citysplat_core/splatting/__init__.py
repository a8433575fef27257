"""Gaussian splats of a box: rasterizers, training and metrics."""

from citysplat_core.splatting.rasterizer import Rasterizer, RenderOut, Splats, choose_rasterizer
from citysplat_core.splatting.recipe import Recipe
from citysplat_core.splatting.train_box import train_box

__all__ = ["Rasterizer", "Recipe", "RenderOut", "Splats", "choose_rasterizer", "train_box"]
