"""Low-rank adapters."""

import pytest
import torch
from tiny_transformers import Words, build, some_tokens

from limbeck_text.models.language_model import LanguageModel


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_adapters_start_as_the_teacher_and_alone_learn(kind):
    teacher = LanguageModel(build(kind), Words()).freeze()
    student = teacher.trainable_copy("lora", rank=2, alpha=4.0)
    tokens = some_tokens()
    torch.testing.assert_close(student.eval()(tokens), teacher(tokens))
    student(tokens).square().mean().backward()
    learning = {name for name, p in student.named_parameters() if p.requires_grad}
    assert learning and all("lora_" in name for name in learning)
    assert {name for name, p in student.named_parameters() if p.grad is not None} == learning
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    changed = student(tokens)
    assert not torch.allclose(changed, teacher(tokens), atol=1e-2)
    merged = LanguageModel(student.merged(), Words()).eval()
    torch.testing.assert_close(merged(tokens), changed, rtol=1e-4, atol=1e-4)


def test_wrong_targets_of_adapters_name_the_layers_there_are():
    teacher = LanguageModel(build("llama"), Words())
    with pytest.raises(TypeError, match="Linear layers here: .*q_proj"):
        teacher.trainable_copy("lora", targets=("no_such_layer",))
    with pytest.raises(TypeError, match="the head cannot be adapted"):
        teacher.trainable_copy("lora", targets=("lm_head",))
