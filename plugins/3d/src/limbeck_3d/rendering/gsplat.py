"""gsplat as the renderer of splats: CUDA kernels for tens of thousands of Gaussians. Imported when it is chosen."""

import os
import shutil
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import LimbeckError
from limbeck.networks.scenes import Cameras
from limbeck_3d.rendering.splatting import BLUR, NEAR, Gaussians

INSTEAD = "Or render with plain torch: generator.backend=torch"


def missing() -> str | None:
    """Why gsplat cannot render here, in one line with the hint, or None when it can."""
    try:
        import gsplat  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        return f'gsplat is not installed ({error}). Install it with: pip install "limbeck-3d[gsplat]". {INSTEAD}'
    if not torch.cuda.is_available():
        return f"gsplat renders on CUDA only, and torch sees no GPU here. {INSTEAD}"
    try:
        from gsplat import csrc  # noqa: F401  # a precompiled wheel
    except ImportError:
        if shutil.which("nvcc") is None and not os.environ.get("CUDA_HOME"):
            return (
                "gsplat from PyPI compiles its kernels with nvcc, and there is none. Install the CUDA toolkit (and set "
                f"CUDA_HOME), or a precompiled gsplat wheel from its own index. {INSTEAD}"
            )
    return None


def require() -> None:
    """Raise the reason of `missing`."""
    if (reason := missing()) is not None:
        raise LimbeckError(f"splats with backend gsplat: {reason}")


def splat(gaussians: Gaussians, cameras: Cameras, background: Tensor, *, height: int, width: int) -> Any:
    """As `limbeck_3d.rendering.splatting.splat`, up to gsplat's skipping below 1/255 and its stop at transmittance
    1e-4."""
    from gsplat import rasterization

    if not gaussians.means.is_cuda:
        raise LimbeckError(f"gsplat renders on CUDA, and the scene is on {gaussians.means.device}. {INSTEAD}")
    axes, position = cameras.axes(), cameras.position()
    views = len(cameras)
    turn = torch.stack([axes[..., 0], -axes[..., 1], -axes[..., 2]], dim=-2)
    viewmats = torch.eye(4, device=turn.device, dtype=turn.dtype).repeat(views, 1, 1)
    viewmats[:, :3, :3] = turn
    viewmats[:, :3, 3] = -torch.einsum("bij,bj->bi", turn, position)
    intrinsics = torch.zeros(views, 3, 3, device=turn.device, dtype=turn.dtype)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = cameras.focal(height)
    intrinsics[:, 0, 2], intrinsics[:, 1, 2], intrinsics[:, 2, 2] = 0.5 * width, 0.5 * height, 1.0
    seen, alpha, _ = rasterization(
        gaussians.means, gaussians.quaternions, gaussians.scales, gaussians.opacity, gaussians.rgb,
        viewmats, intrinsics, width, height, near_plane=NEAR, eps2d=BLUR, render_mode="RGB+ED", packed=False,
    )  # fmt: skip
    image, alpha = seen[..., :-1].permute(0, 3, 1, 2), alpha.permute(0, 3, 1, 2)
    return image + (1 - alpha) * background[..., None, None], alpha, seen[..., -1:].permute(0, 3, 1, 2)


__all__ = ["missing", "require", "splat"]
