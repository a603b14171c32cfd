"""Which names count as such that run code."""

from app.pickles.calls import dangerous, runs_code

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


def test_names_that_run_code():
    assert [name for name in RUN if not runs_code(name)] == []


def test_names_that_training_writes_down():
    assert [name for name in INERT if runs_code(name)] == []


def test_names_too_long_to_be_looked_at_run_code():
    assert runs_code("torch.nn." + "a" * 1000)


def test_names_are_those_of_python_3_and_sorted():
    assert dangerous({"torch.load", "collections.OrderedDict", "os.system"}) == ["os.system", "torch.load"]
