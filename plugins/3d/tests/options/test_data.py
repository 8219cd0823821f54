import pytest

from limbeck_3d.options.cameras import CameraOptions
from limbeck_3d.options.data import PromptOptions, SolidsOptions


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"elevation is \[low, high\]; got \[60, -20\]"):
        CameraOptions(elevation=(60.0, -20.0))
    with pytest.raises(ValueError, match="unknown word 'torsu'. Nearest: torus"):
        PromptOptions(prompt="a red torsu")
    with pytest.raises(ValueError, match="is empty: name what to make"):
        PromptOptions(prompt=None)
    with pytest.raises(ValueError, match="fov lies between 1 and 150"):
        PromptOptions(fov=(0.0, 40.0))
    with pytest.raises(ValueError, match="elevation lies between -90 and 90"):
        SolidsOptions(elevation=(-90.0, 40.0))
