import os
import time
from pathlib import Path

import pytest

from app.errors import BadModel
from app.zoo.config import evaluate


def evaluated(tmp_path: Path, source: str, **others: str) -> dict:
    for name, text in others.items():
        (tmp_path / f"{name}.py").write_text(text)
    (tmp_path / "config.py").write_text(source)
    return evaluate(tmp_path / "config.py")


def refused(tmp_path: Path, source: str, **others: str) -> str:
    with pytest.raises(BadModel) as caught:
        evaluated(tmp_path, source, **others)
    return caught.value.detail


def test_reads_a_dump_of_pointcept(golden):
    config = evaluate(golden / "config.py")
    assert config["model"]["backbone"]["channels"] == (8, 8, 12, 16, 16, 12, 8, 8)
    assert config["data"]["test"]["test_cfg"]["aug_transform"][1][1] == {"type": "RandomScale", "scale": [0.95, 0.95]}
    assert config["weight"] is None
    assert config["enable_amp"] is True


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("-1", -1),
        ("+2.5", 2.5),
        ("1 / 2 + 3 * 4 - 7 // 2 % 5", 9.5),
        ("2 ** 10", 1024),
        ("2 ** -1", 0.5),
        ("'a' + 'b'", "ab"),
        ("'=' * 3", "==="),
        ("3 * [0, [1]]", [0, [1], 0, [1], 0, [1]]),
        ("(1, 2) + (3,)", (1, 2, 3)),
        ("[1, *(2, 3)]", [1, 2, 3]),
        ("{'a': 1, **{'b': 2}, 3: None}", {"a": 1, "b": 2, 3: None}),
        ("dict({'a': 1}, b=2, **dict(c=3))", {"a": 1, "b": 2, "c": 3}),
        ("dict()", {}),
        ("[1, 2, 3, 4][1:-1]", [2, 3]),
        ("'abc'[::2]", "ac"),
        ("dict(a=[5, 6])['a'][1]", 6),
    ],
)
def test_evaluates_literals_as_python_does(tmp_path, expression, value):
    result = evaluated(tmp_path, f"value = {expression}")["value"]
    assert result == value
    assert type(result) is type(value)


def test_names_are_known_from_where_they_were_assigned(tmp_path):
    config = evaluated(tmp_path, "'''a docstring'''\na = b = [1]\nc = dict(x=a, y=b * 2)\na = 5\nd = a")
    assert config == {"a": 5, "b": [1], "c": {"x": [1], "y": [1, 1]}, "d": 5}


def test_values_share_nothing(tmp_path):
    config = evaluated(tmp_path, "a = b = [1]\nc = [a] * 2")
    config["a"].append(2)
    config["c"][0].append(3)
    assert (config["b"], config["c"][1]) == ([1], [1])


def test_byte_order_mark_and_line_ends_of_windows(tmp_path):
    (tmp_path / "config.py").write_bytes(b"\xef\xbb\xbfa = 'gr\xc3\xbcn'\r\nb = 2\r\n")
    assert evaluate(tmp_path / "config.py") == {"a": "grün", "b": 2}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os", "import"),
        ("from os import system", "import"),
        ("open('{marker}', 'w')", "a call of open"),
        ("a = __import__('os').system('touch {marker}')", "a call"),
        ("a = [1].append(2)", "a call"),
        ("a = ().__class__", "attribute"),
        ("a = [i for i in (1, 2)]", "comprehension"),
        ("a = {{i: i for i in (1, 2)}}", "comprehension"),
        ("a = (i for i in (1, 2))", "comprehension"),
        ("a = f'{{open}}'", "f-string"),
        ("a = lambda: 1", "lambda"),
        ("def a(): pass", "function"),
        ("class A: pass", "class"),
        ("a = 1 < 2", "comparison"),
        ("a = 1 if True else 2", "condition"),
        ("if True: a = 1", "condition"),
        ("for a in (1, 2): pass", "loop"),
        ("a = 1\na += 1", "augmented"),
        ("a = {{1, 2}}", "set"),
        ("a = b'bytes'", "bytes"),
        ("a = 1j", "complex"),
        ("a = ...", "ellipsis"),
        ("a = 'x' % 5", "Mod"),
        ("a = '%1000000000d' % 5", "Mod"),
        ("a = 1 << 1000000000", "BinOp"),
        ("a = [1] + (2,)", "Add"),
        ("a = -'x'", "sign"),
        ("a = (b := 5)", "NamedExpr"),
        ("a = not 1", "UnaryOp"),
        ("a, b = 1, 2", "plain name"),
        ("a = []\na[0] = 1", "plain name"),
        ("dict = 5", "plain name"),
        ("a: int = 5", "AnnAssign"),
        ("del a", "Delete"),
        ("a = b", "b was not assigned"),
        ("a = print", "print was not assigned"),
        ("a = dict(**[1])", "list"),
        ("a = dict([('b', 1)])", "list"),
        ("a = dict(*[1])", "positional"),
        ("a = {{(1, 2): 3}}", "tuple"),
        ("a = [*5]", "int"),
        ("a = [1][3]", "index"),
        ("a = dict(b=1)['c']", "index"),
        ("a = [1][::0]", "slice step"),
        ("a = 5[0]", "int"),
        ("a = 1 / 0", "arithmetic"),
        ("a = 10.0 ** 400", "arithmetic"),
        ("a = (-8) ** 0.5", "out of range"),
        ("a = ", "not valid Python"),
        ("a = '\\0'\0", "not valid Python"),
        ("model = {{{{_base_.model}}}}", "set"),
    ],
)
def test_whatever_is_not_a_literal_is_refused_and_not_run(tmp_path, source, found):
    marker = tmp_path / "marker"
    message = refused(tmp_path, "ok = 1\n" + source.format(marker=marker))
    assert not marker.exists()
    assert found in message
    assert f"{tmp_path.name}/config.py" in message
    if "not valid" not in message:
        assert f"config.py:{2 + source.count(chr(10))}:" in message


@pytest.mark.parametrize(
    "source",
    [
        "a = 9 ** 9 ** 9",
        "a = 2 ** 1000000000",
        "a = [0] * 10 ** 9",
        "a = 'a' * 10 ** 9",
        "a = 10 ** 9 * 'a'",
        "a = [0] * 1000\nb = [a] * 1000\nc = [b] * 1000",
        "a = 'a' * 100000\n" + "a = a + a\n" * 10,
        "a = [1, 1]\n" + "a = a + a\n" * 40,
        "a = dict(x=1)\n" + "a = dict(x=a, y=a)\n" * 40,
        "a = (1,)\n" + "a = (a,)\n" * 200,
        "a = " + "[" * 100 + "]" * 100,
        "a = " + "-" * 50_000 + "1",
        "a = 1" + "+1" * 20_000,
        "a = [0]" + "[0]" * 20_000,
        "a = " + "1" * 5000,
        "a = 1\n" * 200_000,
        "a = 1" + "+1" * 60_000,
    ],
)
def test_bombs_are_refused_quickly(tmp_path, source):
    start = time.process_time()
    refused(tmp_path, source)
    assert time.process_time() - start < 5


def test_base_files_are_merged_key_by_key(tmp_path):
    config = evaluated(
        tmp_path,
        "_base_ = ['base.py', 'runtime.py']\nmodel = dict(width=2, head=dict(_delete_=True, kind='b'))\nnames = ['x']",
        base="model = dict(type='A', width=1, head=dict(kind='a', size=3))\nnames = ['y', 'z']",
        runtime="_base_ = 'seed.py'\nepoch = 5",
        seed="seed = 1\nepoch = 4",
    )
    assert config == {
        "model": {"type": "A", "width": 2, "head": {"kind": "b"}},
        "names": ["x"],
        "epoch": 5,
        "seed": 1,
    }


def test_base_files_lie_inside_the_folder(tmp_path):
    (tmp_path / "secret.py").write_text("a = 1")
    folder = tmp_path / "folder"
    folder.mkdir()
    os.symlink(tmp_path / "secret.py", folder / "link.py")
    for base in ("../secret.py", str(tmp_path / "secret.py"), "link.py", "sub/../../secret.py"):
        assert "outside the experiment folder" in refused(folder, f"_base_ = {base!r}")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("_base_ = 'absent.py'", "no such file"),
        ("_base_ = 5", "5"),
        ("_base_ = 'a\\0b.py'", "_base_ holds"),
        ("_base_ = '" + "x" * 5000 + ".py'", "cannot be read"),
        ("_base_ = 'config.py'", "includes itself"),
        ("_base_ = 'one.py'", "includes itself"),
        ("_base_ = ['two.py', 'three.py']", "two _base_ files define a"),
        ("_base_ = 'two.py'\na = dict(b=1)", "_delete_"),
    ],
)
def test_base_files_that_make_no_sense_are_refused(tmp_path, source, found):
    message = refused(tmp_path, source, one="_base_ = 'config.py'", two="a = 1", three="a = 2")
    assert found in message


def test_bases_that_include_each_other_many_times_are_bounded(tmp_path):
    others = {f"level{i}": f"_base_ = ['level{i + 1}.py', 'level{i + 1}.py']" for i in range(40)}
    assert "too large" in refused(tmp_path, "_base_ = 'level0.py'", **others, level40="")


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(BadModel, match="no such file"):
        evaluate(tmp_path / "config.py")
    os.mkfifo(tmp_path / "config.py")
    with pytest.raises(BadModel, match="no such file"):
        evaluate(tmp_path / "config.py")
    (tmp_path / "big.py").write_bytes(b"#" * (2 << 20))
    with pytest.raises(BadModel, match="too large"):
        evaluate(tmp_path / "big.py")
    (tmp_path / "latin.py").write_bytes(b"a = '\xff'")
    with pytest.raises(BadModel, match="the file is no text in UTF-8"):
        evaluate(tmp_path / "latin.py")
