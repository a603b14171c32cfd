"""Which names count as such that run code, and what becomes of weights that hold them."""

import argparse
import collections
import datetime
import functools
import os
import pathlib
import pickle
import subprocess
import uuid
import zipfile
from enum import Enum

import numpy as np
import pytest
import torch
from checkpoint_samples import Calls, pickled, write_zip

from app.errors import BadModel
from app.pickles.calls import dangerous, runs_code
from app.settings import settings
from app.zoo.check import check
from app.zoo.checkpoint import open_checkpoint
from app.zoo.loading import load_model

RUN = """
    os.system posix.system nt.system posix.popen os.execv os.remove builtins.eval builtins.exec builtins.compile
    builtins.__import__ builtins.open builtins.setattr builtins.globals builtins.breakpoint builtins.input
    subprocess.Popen subprocess.check_output _posixsubprocess.fork_exec sys.exit sys.settrace shutil.rmtree
    socket.socket socket.create_connection runpy.run_path runpy._run_code importlib.import_module
    importlib.machinery.SourceFileLoader pickle.loads _pickle.loads pickle.Unpickler marshal.loads webbrowser.open
    ctypes.CDLL timeit.timeit pty.spawn code.InteractiveInterpreter code.interact pdb.run bdb.Bdb.run cProfile.run
    profile.run trace.Trace doctest.debug_script pydoc.pipepager idlelib.pyshell.ModifiedInterpreter
    lib2to3.pgen2.pgen.ParserGenerator test.support.script_helper.assert_python_ok imp.load_source asyncio.run
    multiprocessing.Process multiprocessing.util.spawnv_passfds threading.Thread
    concurrent.futures.ProcessPoolExecutor types.FunctionType types.CodeType operator.attrgetter
    operator.methodcaller _operator.attrgetter functools.reduce urllib.request.urlopen http.client.HTTPConnection
    ftplib.FTP smtplib.SMTP tempfile.mktemp logging.config.fileConfig zipimport.zipimporter
    distutils.file_util.write_file ensurepip._run_pip venv.create sqlite3.connect pathlib.Path.unlink
    pathlib.PosixPath.write_text collections.os.system collections._sys.modules uuid.os.system typing.get_type_hints
    uuid._get_command_stdout argparse.FileType datetime.sys.modules posixpath.os torch.load torch.save
    torch.hub.load torch.hub.load_state_dict_from_url torch.jit.load torch.compile torch.ops.load_library
    torch.storage._load_from_bytes torch.serialization.load torch.package.PackageImporter
    torch.utils.cpp_extension.load_inline torch.utils.collect_env.run torch.utils.bottleneck.__main__.run_prof
    torch.utils._config_module.load_config torch._dynamo.guards.GuardBuilder.get
    torch._inductor.codecache.compile_file torch.utils.data.datapipes.utils.decoder.basichandlers
    torch.jit.unsupported_tensor_ops.execWrapper torch.multiprocessing.spawn torch.distributed.run.main
    torch.fx.graph_module._forward_from_src torch._utils._import_dotted_name
    torch.nn.functional.importlib.import_module torch.optim.adamw.torch.hub.load
    torch.nn.Module.__init__.__globals__ torch.optim.Adam.__init__ numpy.load numpy.fromfile numpy.save
    numpy.f2py.crackfortran.getlincoef numpy.f2py.capi_maps.load_f2cmap_file numpy.testing._private.utils.runstring
    numpy.distutils.exec_command.exec_command numpy.ctypeslib.load_library numpy.lib.npyio.DataSource
    numpy.core._ufunc_reconstruct numpy.vectorize numpy.os.system numpy.ndarray.tofile pip.main pip._internal.main
    setuptools.setup pkg_resources.run_script dill.loads cloudpickle.loads joblib.load joblib.numpy_pickle.load
    pandas.read_pickle pandas.eval numexpr.evaluate yaml.unsafe_load yaml.load jsonpickle.decode sympy.sympify
    IPython.get_ipython pexpect.run requests.get psutil.Popen gevent.subprocess.Popen mmcv.os.system
    pathlib.__pyx_unpickle_x mypackage.utils.eval mypackage.tools.run_command mypackage.loss.Loss.__class__
    __main__.exec_code mlflow.load_model
""".split()  # noqa: SIM905
INERT = """
    collections.OrderedDict collections.defaultdict collections.Counter collections.deque builtins.set
    builtins.getattr builtins.frozenset builtins.complex builtins.slice builtins.dict builtins.print builtins.max
    builtins.ValueError datetime.datetime datetime.timedelta pathlib.PosixPath pathlib.WindowsPath
    pathlib._local.PosixPath argparse.Namespace types.SimpleNamespace typing.Any typing.Optional operator.getitem
    _operator.getitem decimal.Decimal fractions.Fraction uuid.UUID _codecs.encode copyreg._reconstructor
    functools.partial math.cos itertools.count numpy.random.bit_generator.__pyx_unpickle_SeedSequence numpy.dtype
    numpy.ndarray numpy.float64 numpy.float32 numpy.int64 numpy.bool_ numpy.core.multiarray.scalar
    numpy._core.multiarray.scalar numpy.core.multiarray._reconstruct numpy._core.numeric._frombuffer
    numpy.random._pickle.__randomstate_ctor numpy.random._pickle.__bit_generator_ctor numpy.random._pcg64.PCG64
    numpy.dtypes.Float64DType numpy.ma.core.MaskedArray torch.Size torch.device torch.float32 torch.bfloat16
    torch.int64 torch.complex64 torch.float8_e4m3fn torch.strided torch.contiguous_format torch.Tensor
    torch.Generator torch.FloatStorage torch._utils._rebuild_tensor_v2 torch._utils._rebuild_parameter
    torch._utils._rebuild_qtensor torch._tensor._rebuild_from_type_v2 torch.storage.UntypedStorage
    torch.storage.TypedStorage torch.serialization._get_layout torch.nn.modules.linear.Linear
    torch.nn.parameter.Parameter torch.nn.functional.relu torch.optim.adamw.AdamW
    torch.optim.lr_scheduler.OneCycleLR torch.optim.lr_scheduler.OneCycleLR._annealing_cos
    torch.optim.swa_utils.AveragedModel torch.amp.grad_scaler.OptState
    torch.amp.grad_scaler._refresh_per_optimizer_state torch.cuda.amp.grad_scaler.GradScaler
    torch.ao.quantization.observer.MinMaxObserver torch.distributed.fsdp.api.FullStateDictConfig
    torch.distributed.tensor._dtensor_spec.DTensorSpec torch.torch_version.TorchVersion
    torch.utils.data.sampler.RandomSampler mmcv.utils.config.ConfigDict mmengine.config.config.ConfigDict
    mmengine.logging.history_buffer.HistoryBuffer mmengine.logging.history_buffer.HistoryBuffer.mean
    addict.addict.Dict addict.Dict easydict.EasyDict omegaconf.dictconfig.DictConfig
    omegaconf.base.ContainerMetadata yacs.config.CfgNode
    pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint lightning_fabric.utilities.data.AttributeDict
    lightning.pytorch.callbacks.early_stopping.EarlyStopping transformers.training_args.TrainingArguments
    accelerate.state.PartialState apex.amp.scaler.LossScaler deepspeed.runtime.fp16.loss_scaler.LossScaler
    timm.scheduler.cosine_lr.CosineLRScheduler pandas.core.frame.DataFrame pandas._libs.internals._unpickle_block
    pointcept.utils.config.ConfigDict pointcept.engines.hooks.misc.CheckpointSaver
    pointcept.utils.scheduler.OneCycleLR wandb.sdk.wandb_config.Config __main__.Config __main__.Trainer.state
    models.losses.LovaszLoss utils.misc.AverageMeter utils.common_utils.callback
    tensorflow.python.framework.dtypes.DType
""".split()  # noqa: SIM905


class Task(Enum):
    """Of a user's own."""

    SEMANTIC = "semantic"


@pytest.fixture(autouse=True)
def _fresh_settings():
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_names_that_run_code():
    assert [name for name in RUN if not runs_code(name)] == []


def test_names_that_training_writes_down():
    assert [name for name in INERT if runs_code(name)] == []


def test_names_too_long_to_be_looked_at_run_code():
    assert runs_code("torch.nn." + "a" * 1000)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_what_trainers_store_beside_weights_is_no_reason_to_refuse(tmp_path, protocol, zipped):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
    extra = {
        "scheduler": scheduler.__dict__ | {"optimizer": None},
        "optimizer": optimizer,
        "args": argparse.Namespace(
            lr=np.float32(0.1), out=pathlib.Path("exp"), task=Task.SEMANTIC, dtype=torch.float16
        ),
        "metrics": collections.defaultdict(list, miou=[np.float64(0.7), np.arange(3)]),
        "rng": np.random.default_rng(0),
        "old_rng": np.random.RandomState(0),
        "when": datetime.datetime.now(datetime.timezone.utc),
        "run": uuid.uuid4(),
        "norm": functools.partial(torch.nn.BatchNorm1d, eps=1e-3),
        "device": torch.device("cpu"),
        "network": model,
    }
    path = tmp_path / "a.pth"
    checkpoint = {"state_dict": model.state_dict(), **extra}
    torch.save(checkpoint, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = open_checkpoint(path)
    assert set(found.weights) == {"weight", "bias"}
    assert found.remarks == []
    assert "torch.optim.adamw.AdamW" in found.ignored


def refused(path) -> str:
    with pytest.raises(BadModel) as caught:
        open_checkpoint(path)
    return caught.value.detail


@pytest.mark.parametrize(
    ("program", "named"),
    [
        (b"ccollections\nos.system\n(X\x02\x00\x00\x00lstR", "collections.os.system"),
        (b"c__builtin__\neval\n(X\x01\x00\x00\x001tR", "builtins.eval"),
        (b"ccommands\ngetoutput\n(X\x02\x00\x00\x00lstR", "subprocess.getoutput"),
        (b"(X\x02\x00\x00\x00lsios\nsystem\n", "os.system"),
        (b"(cos\nsystem\nX\x02\x00\x00\x00lso", "os.system"),
        (b"cos\nsystem\n)\x81", "os.system"),
        (b"cos\nsystem\n)}\x92", "os.system"),
        (b"c__builtin__\ngetattr\n(ctorch.optim\nAdam\nX\x0b\x00\x00\x00__globals__tR", "torch.optim.Adam.__globals__"),
        (
            b"c__builtin__\ngetattr\n(c__builtin__\ngetattr\n(ctorch\nnn\nX\x02\x00\x00\x00ostR"
            b"X\x06\x00\x00\x00systemtR",
            "torch.nn.os.system",
        ),
        (b"cfunctools\npartial\n(cos\nsystem\nX\x02\x00\x00\x00lstR", "os.system"),
        (b"c__builtin__\nmap\n(c__builtin__\nexec\n]tR", "builtins.exec"),
        (b"cmine\nThing\n)\x81}X\x01\x00\x00\x00fcos\nsystem\nsb", "os.system"),
    ],
)
def test_every_way_to_call_is_named_and_refused(tmp_path, program, named):
    head = b"\x80\x02}(X\x05\x00\x00\x00extra" + program
    state = pickled({"a": 1})[2:-1]
    path = write_zip(tmp_path / "a.pth", head + b"X\x0a\x00\x00\x00state_dict" + state + b"u.")
    assert f"names {named}" in refused(path) or f", {named}" in refused(path)


def test_a_pickle_that_breaks_off_after_the_name_tells_it(tmp_path):
    path = write_zip(tmp_path / "a.pth", b"\x80\x02cposix\nsystem\n(S'ls'\ntR.")
    assert "posix.system" in refused(path)
    assert "KeyError" not in refused(path)


def test_refused_weights_say_what_would_have_been_called(folder):
    path = folder / "model" / "model_best.pth"
    state = torch.load(path, weights_only=False)["state_dict"]
    torch.save({"state_dict": state, "hook": Calls(os.system, "touch marker")}, path)
    report = check(folder)
    assert not report.served
    name = f"{os.system.__module__}.system"
    assert name in report.reason
    assert f"POINTSERVE_PERMITTED_NAMES={name}" in report.reason


def test_a_name_is_served_with_an_explicit_word(folder, monkeypatch, caplog):
    path = folder / "model" / "model_best.pth"
    state = torch.load(path, weights_only=False)["state_dict"]
    torch.save({"state_dict": state, "hook": Calls(subprocess.Popen, "touch marker")}, path)
    monkeypatch.setenv("POINTSERVE_PERMITTED_NAMES", "os.system, subprocess.Popen")
    report = check(folder)
    assert report.served
    assert any(found.check == "names" and "subprocess.Popen" in found.detail for found in report.findings)
    card = load_model(folder).card()
    assert "subprocess.Popen" in card["remarks"][0]
    assert "subprocess.Popen" in caplog.text


def test_another_name_is_not_permitted_with_it(tmp_path, monkeypatch):
    torch.save({"state_dict": {"a": torch.ones(1)}, "x": Calls(eval, "1")}, tmp_path / "a.pth")
    monkeypatch.setenv("POINTSERVE_PERMITTED_NAMES", "posix.system")
    assert "builtins.eval" in refused(tmp_path / "a.pth")


def test_names_are_those_of_python_3_and_sorted():
    assert dangerous({"torch.load", "collections.OrderedDict", "os.system"}) == ["os.system", "torch.load"]


def test_records_beside_the_pickle_that_is_read_do_not_count(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {"a": torch.ones(1)}}, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other.pkl", pickle.dumps(os.system))
    assert open_checkpoint(path).remarks == []
