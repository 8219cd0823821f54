"""The file that a training script of a judge writes."""

from torch import nn

from limbeck.export.teacher_files import PROVENANCE, read
from limbeck_video.features.training import run


def test_a_trained_judge_is_written_with_its_scores_in_the_words_of_every_asset(tmp_path):
    run("judge", lambda seed, steps: (nn.Linear(2, 1), {"pairs": 0.5}), ["--out", str(tmp_path), "--seed", "3"])
    _, header = read(tmp_path / "judge.safetensors")
    provenance = header["provenance"]
    assert set(provenance) <= set(PROVENANCE) and "train_judge --seed 3" in provenance["made_by"]
    assert provenance["evaluation"] == [{"name": "real data, held out", "metrics": {"pairs": 0.5}}]
