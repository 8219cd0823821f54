import pytest

import limbeck
from limbeck.errors import LimbeckError
from limbeck_3d.rendering import gsplat as gsplat_backend


def test_one_line_gives_the_reason_why_gsplat_cannot_render_here():
    if gsplat_backend.missing() is None:
        pytest.skip("gsplat works here")
    with pytest.raises(LimbeckError, match=r"backend gsplat: .*backend=torch") as caught:
        limbeck.create("generator", "3d/splats", backend="gsplat")
    assert "\n" not in str(caught.value)
