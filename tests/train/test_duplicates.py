"""Copies: found when they are copies, and not when they merely look alike."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.cartoon import draw_faces
from edgefer.train.data import duplicates
