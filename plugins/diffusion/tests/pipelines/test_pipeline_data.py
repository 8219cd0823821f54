"""Files of prompts, folders of images, and what encoders made of them kept on disk by content."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import tiny_pipelines as tiny
import torch
from PIL import Image

from limbeck.conditions import Conditions
from limbeck.errors import LimbeckError
from limbeck.interfaces import Space
from limbeck_diffusion.pipelines import prompt_files
from limbeck_diffusion.pipelines.data import ImageFolder, Prompts
from limbeck_diffusion.pipelines.encoded import EncodedFiles, default_folder, digest, identity
from limbeck_diffusion.pipelines.loading import diffusers_teacher
from limbeck_diffusion.pipelines.prompt_files import Prompt

# --- files of prompts ------------------------------------------------------------------------------------------------

ROWS = [Prompt("a fox", "blurry", 3), Prompt("two foxes"), Prompt(None, None, 7)]


def write(path, kind):
    objects = [{"caption": "a fox", "negative": "blurry", "class": 3}, {"prompt": "two foxes"}, {"label": 7}]
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, objects)) + "\n\n")
    elif kind == "json":
        path.write_text(json.dumps(objects))
    elif kind == "csv":
        path.write_text("caption,negative,class\na fox,blurry,3\ntwo foxes,,\n,,7\n")
    else:
        from pyarrow import Table, parquet

        columns = {"caption": ["a fox", "two foxes", None], "negative": ["blurry", None, None], "class": [3, None, 7]}
        parquet.write_table(Table.from_pydict(columns), path)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_every_kind_of_file_gives_the_same_prompts(kind, tmp_path):
    assert prompt_files.read(write(tmp_path / f"p.{kind}", kind)) == (ROWS, [])


def test_a_text_file_is_a_prompt_a_line(tmp_path):
    (tmp_path / "p.txt").write_text("\ufeffa fox, # 7\n\n  zwei Füchse \n", encoding="utf-8")
    assert prompt_files.read(tmp_path / "p.txt")[0] == [Prompt("a fox, # 7"), Prompt("zwei Füchse")]


def test_bad_lines_are_named_by_their_numbers_and_may_be_left_out(tmp_path):
    lines = [
        '{"caption": "a"}',
        "{broken",
        '{"size": 3}',
        '{"caption": 5}',
        "",
        '{"class": "x"}',
        '{"class": -1}',
        "[]",
    ]
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(lines))
    with pytest.raises(LimbeckError) as error:
        prompt_files.read(file)
    said = str(error.value)
    assert "6 cannot be used" in said and "of 7 rows" in said and "skip_bad: true" in said
    for part in ("line 2: not JSON", "line 3: neither caption nor class (it has size)", "line 4: its caption is a int",
                 "line 6: its class is 'x', not a whole number", "line 7: its class is -1"):  # fmt: skip
        assert part in said
    assert "line 8" not in said and "; ..." in said
    prompts, bad = prompt_files.read(file, skip_bad=True)
    assert prompts == [Prompt("a")] and [b.line for b in bad] == [2, 3, 4, 6, 7, 8]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.yaml", b"a", "end in .txt, .jsonl"),
        ("p.txt", b"\n \n", "holds no prompt"),
        ("p.txt", "Füchse".encode("latin-1"), "not UTF-8"),
        ("p.json", b"{}", "a list of prompts is expected"),
        ("p.csv", b"size,colour\n1,red\n", "has the columns size, colour"),
        ("p.parquet", b"not parquet", "cannot be read as Parquet"),
    ],
)
def test_files_that_hold_no_prompts_are_refused(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LimbeckError, match=said):
        prompt_files.read(tmp_path / name)
    with pytest.raises(LimbeckError, match="is no file"):
        prompt_files.read(tmp_path / "absent.txt")


# --- kept on disk ----------------------------------------------------------------------------------------------------


def test_entries_are_found_again_and_damaged_ones_are_made_again(tmp_path):
    said, tensors = [], {"prompt": torch.arange(6.0).reshape(1, 3, 2), "mask": torch.tensor([[1, 0, 1]])}
    key = digest("encoder", "a fox")
    EncodedFiles(tmp_path).write(key, tensors)
    (path,) = tmp_path.rglob("*.safetensors")
    assert path == tmp_path / key[:2] / f"{key}.safetensors" and not list(tmp_path.rglob("*.part"))
    again = EncodedFiles(tmp_path, said.append)
    found = again.read(key)
    assert torch.equal(found["prompt"], tensors["prompt"]) and found["mask"].dtype == torch.int64

    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1  # one bit of one number: the file is still a good safetensors file
    path.write_bytes(raw)
    fresh = EncodedFiles(tmp_path, said.append)
    assert fresh.ensure([key, key], lambda rows: [tensors for _ in rows]) == 1
    assert "not those that were written" in said[0] and "made again" in said[0]
    assert torch.equal(EncodedFiles(tmp_path).read(key)["prompt"], tensors["prompt"])
    path.write_bytes(path.read_bytes()[:-5])
    assert EncodedFiles(tmp_path, said.append).read(key) is None and len(said) == 2
    other = digest("another")
    EncodedFiles(tmp_path).write(key, tensors)
    (tmp_path / other[:2]).mkdir(exist_ok=True)
    shutil.copy(path, tmp_path / other[:2] / f"{other}.safetensors")
    assert EncodedFiles(tmp_path, said.append).read(other) is None and "another entry's" in said[2]


def test_processes_of_one_run_share_the_work(tmp_path, monkeypatch):
    keys, asked = [digest(i) for i in range(6)], []

    def encode(rows):
        asked.extend(rows)
        if rows == [3]:  # meanwhile the other process makes the first two
            for i in (0, 1):
                EncodedFiles(tmp_path).write(keys[i], {"x": torch.full((1,), float(i))})
        return [{"x": torch.full((1,), float(i))} for i in rows]

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert EncodedFiles(tmp_path).ensure(keys, encode, chunk=1) == 4 and asked == [3, 4, 5, 2]
    assert [float(EncodedFiles(tmp_path).read(key)["x"]) for key in keys] == [0, 1, 2, 3, 4, 5]


def test_the_default_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path))
    assert default_folder() == tmp_path / "encoded"
    monkeypatch.delenv("LIMBECK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert default_folder() == tmp_path / "x" / "limbeck" / "encoded"


def test_an_encoder_is_known_by_its_weights():
    torch.manual_seed(0)
    one, twin = tiny.clip_text(), tiny.clip_text()
    twin.load_state_dict(one.state_dict())
    assert identity(one, None) == identity(twin, None) != identity(one)
    with torch.no_grad():
        next(twin.parameters())[0, 0] += 1e-6
    assert identity(one, None) != identity(twin, None)
    assert identity(tiny.clip_tokenizer(8)) != identity(tiny.clip_tokenizer(9))


# --- prompts ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Path(tiny.saved("sd15", tmp_path_factory.mktemp("base")))


def prepared(folder, cache, **options):
    teacher = diffusers_teacher(model=str(folder))
    data = Prompts(cache=str(cache), **options)
    data.prepare(teacher)
    return data, teacher


def test_prompts_are_encoded_once_and_then_read_without_the_text_encoders(folder, tmp_path):
    data, teacher = prepared(folder, tmp_path, prompts=("a fox", "b"))
    assert data.files.made == 3  # both, and no prompt
    cond = data.batch(torch.tensor([1, 0, 1])).cond
    assert isinstance(cond, Conditions) and cond == teacher.encode(["b", "a fox", "b"])
    assert data.space == teacher.space and len(data) == 2

    again, teacher = prepared(folder, tmp_path, prompts=("b", "a fox"))
    assert again.files.made == 0 and teacher.prompts._pipeline is None
    assert again.batch(torch.tensor([0])).cond == data.batch(torch.tensor([1])).cond
    assert torch.equal(teacher.null(cond)["prompt"], teacher.encode(["", "", ""])["prompt"])
    assert teacher.prompts._pipeline is None  # not even for the empty prompt


def test_a_new_prompt_or_another_encoder_makes_new_entries(folder, tmp_path):
    cache = tmp_path / "cache"
    data, _ = prepared(folder, cache, prompts=("a fox",))
    more, _ = prepared(folder, cache, prompts=("a fox", "a fox "), text_encoder="unload")
    assert more.files.made == 1 and more.encoded.encoder._pipeline is None
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    tiny.clip_text().save_pretrained(other / "text_encoder")
    changed, _ = prepared(other, cache, prompts=("a fox",))
    assert changed.files.made == 2
    row = torch.tensor([0])
    assert not torch.equal(changed.batch(row).cond["prompt"], data.batch(row).cond["prompt"])
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)  # the same pipeline elsewhere is the same
    same, _ = prepared(moved, cache, prompts=("a fox",))
    assert same.files.made == 0


def test_an_entry_that_is_damaged_meanwhile_is_encoded_again(folder, tmp_path):
    data, _ = prepared(folder, tmp_path, prompts=("a fox",), text_encoder="unload")
    before = data.batch(torch.tensor([0])).cond
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(b"torn")
    data.files._recent.clear()
    with pytest.warns(UserWarning, match="is damaged .* made again"):
        assert data.batch(torch.tensor([0])).cond == before


def test_negative_prompts_stand_in_for_no_prompt_row_by_row(folder, tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_text('{"caption": "a fox", "negative": "b"}\n{"caption": "c"}\n')
    data, teacher = prepared(folder, tmp_path / "cache", file=str(file))
    cond = data.batch(torch.tensor([0, 1])).cond
    assert set(cond) == {"prompt", "negative_prompt"}
    assert torch.equal(teacher.null(cond)["prompt"], teacher.encode(["b", ""])["prompt"])
    x, t = torch.randn(2, 4, 8, 8), torch.tensor([0.5, 0.6])
    assert torch.equal(teacher(x, t, cond).x0_hat, teacher(x, t, ["a fox", "c"]).x0_hat)


def test_splits_follow_from_the_content_of_the_rows(folder, tmp_path):
    prompts = tuple(f"{a}{b}" for a in "abcdefgh" for b in "abcde")
    data, _ = prepared(folder, tmp_path, prompts=prompts, held_out=0.25)
    out = data.split("held_out")
    rows = {row.caption for row in data.rows}, {row.caption for row in out.rows}
    assert not rows[0] & rows[1] and rows[0] | rows[1] == set(prompts) and 4 <= len(out) <= 16
    assert out.batch(torch.tensor([0])).cond["prompt"].shape == (1, 8, 16)
    assert {row.caption for row in Prompts(prompts=prompts[:20], held_out=0.25, cache=str(tmp_path)).rows} <= rows[0]
    with pytest.raises(TypeError, match="no 'held_out' split"):
        Prompts(prompts=("a",)).split("held_out")


def test_classes_are_for_teachers_of_classes_and_captions_for_those_that_read(folder, tmp_path):
    dit = diffusers_teacher(model=tiny.saved("dit", tmp_path / "dit"))
    file = tmp_path / "p.jsonl"
    file.write_text('{"class": 3}\n{"class": 999}\n')
    data = Prompts(file=str(file))
    data.prepare(dit)
    assert data.batch(torch.tensor([1, 0])).cond.tolist() == [999, 3]
    with pytest.raises(LimbeckError, match=r"row 1 has a class \(3\) and no caption"):
        prepared(folder, tmp_path, file=str(file))
    file.write_text('{"class": 1000}')
    with pytest.raises(LimbeckError, match="class 1000; this DiT has classes 0 to 999"):
        Prompts(file=str(file)).prepare(dit)


def test_prompts_need_a_teacher_that_reads_them():
    class Deaf:
        space = Space((2,))

    with pytest.raises(LimbeckError, match="Deaf reads none"):
        Prompts(prompts=("a",)).prepare(Deaf())
    with pytest.raises(LimbeckError, match=r"call data\.prepare"):
        Prompts(prompts=("a",)).batch(torch.tensor([0]))
    with pytest.raises(ValueError, match="give file or prompts"):
        Prompts()


# --- images ----------------------------------------------------------------------------------------------------------


def pictures(folder):
    """Upright and wide ones, grey, transparent, small, broken."""
    folder.mkdir()
    noise = torch.randint(0, 255, (40, 24, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).numpy()
    Image.fromarray(noise).save(folder / "a.png")
    Image.fromarray(noise[:, :, 0]).save(folder / "b.png")
    Image.new("RGBA", (16, 16), (255, 0, 0, 0)).save(folder / "c.png")
    Image.new("RGB", (8, 8), "blue").save(folder / "d.jpg")
    (folder / "e.png").write_bytes(b"\x89PNG broken")
    (folder / "a.txt").write_text("a fox\n")
    return folder


def test_a_folder_of_images_becomes_latents_with_captions(folder, tmp_path):
    teacher = diffusers_teacher(model=str(folder))
    where, cache = pictures(tmp_path / "images"), str(tmp_path / "cache")
    data = ImageFolder(folder=str(where), cache=cache)
    assert len(data) == 5
    with pytest.warns(UserWarning) as told_of:
        data.prepare(teacher)
    said = " ".join(str(w.message) for w in told_of)
    assert (
        "1 of 5 images cannot be read, first e.png" in said and "1 images are smaller than 16x16, first d.jpg" in said
    )
    batch = data.batch(torch.tensor([2, 0, 1]))
    assert len(data) == 4 and batch.x0.shape == (3, 4, 8, 8)
    white = teacher.space.codec.encode(torch.ones(1, 3, 16, 16))  # transparent is white
    torch.testing.assert_close(batch.x0[:1], white)
    assert batch.cond == teacher.encode(["", "a fox", ""])
    again = ImageFolder(folder=str(where), cache=cache)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again.prepare(teacher)
    assert again.files.made == 0 and torch.equal(again.batch(torch.tensor([0])).x0[0], batch.x0[1])


def test_mirrored_images_and_classes_by_folder(folder, tmp_path):
    teacher = diffusers_teacher(model=tiny.saved("dit", tmp_path / "dit"))
    for name, colour in (("cats", "red"), ("dogs", "green")):
        (tmp_path / "images" / name).mkdir(parents=True)
        half = Image.new("RGB", (16, 16), colour)
        half.paste("black", (0, 0, 8, 16))
        half.save(tmp_path / "images" / name / "0.png")
    data = ImageFolder(folder=str(tmp_path / "images"), captions="folder", flip=True, cache=str(tmp_path / "cache"))
    data.prepare(teacher)
    batch = data.batch(torch.arange(4))
    assert batch.cond.tolist() == [0, 0, 1, 1]
    pixels = torch.full((1, 3, 16, 16), -1.0)
    pixels[:, 0, :, 8:] = 1
    torch.testing.assert_close(batch.x0[:1], teacher.space.codec.encode(pixels))
    torch.testing.assert_close(batch.x0[1:2], teacher.space.codec.encode(pixels.flip(-1)))


def test_captions_may_stand_in_metadata_and_bad_lines_are_told(tmp_path):
    where = tmp_path / "images"
    where.mkdir()
    Image.new("RGB", (4, 4)).save(where / "a.png")
    lines = ['{"file_name": "a.png", "text": "a fox"}', '{"file_name": "z.png", "text": "b"}', "{"]
    (where / "metadata.jsonl").write_text("\n".join(lines))
    with pytest.warns(UserWarning, match=r"2 cannot be used \(line 2: no image z.png; line 3: no file_name"):
        assert ImageFolder(folder=str(where)).rows == [Prompt("a fox")]
    with pytest.raises(LimbeckError, match=r"line 2: no image z\.png"):
        ImageFolder(folder=str(where), skip_bad=False)
    (where / "a.png").unlink()
    with pytest.raises(LimbeckError, match="holds no images"):
        ImageFolder(folder=str(where))
    with pytest.raises(LimbeckError, match="is no folder"):
        ImageFolder(folder=str(tmp_path / "absent"))
