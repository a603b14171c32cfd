"""Names in a pickle that run code if it is loaded the usual way, by importing and calling what it names.

Of the standard library, of torch and of numpy a few names are known as what training writes down: containers, numbers,
dates, dtypes, optimizers, schedulers. All their others count as such that run code. Names of other packages, as of a
user's own classes, count so if they are known to run what they are given, or are called like that.
"""

import re
import sys
from collections.abc import Iterable

# From the standard library since Python 3.10, or never listed there
REMOVED = """
    aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib
    ossaudiodev pipes popen2 smtpd sndhdr spwd sunau telnetlib test uu xdrlib
"""
STANDARD = {*sys.stdlib_module_names, *REMOVED.split()}

INERT = re.compile(
    "|".join(
        [
            r"builtins\.(abs|all|any|bool|bytearray|bytes|complex|dict|divmod|enumerate|filter|float|frozenset|getattr|"
            r"hash|int|iter|len|list|map|max|min|next|object|pow|print|range|reversed|round|set|slice|sorted|str|sum|"
            r"tuple|type|zip|Ellipsis|NotImplemented|\w+(Error|Exception|Warning))",
            r"collections\.(OrderedDict|defaultdict|deque|Counter|ChainMap|UserDict|UserList|namedtuple)(\.fromkeys)?",
            r"collections\.abc\.[A-Z]\w*",
            r"datetime\.(date|datetime|time|timedelta|timezone)",
            r"pathlib\.(_local\.)?(Pure)?(Posix|Windows)?Path",
            r"argparse\.Namespace|types\.(SimpleNamespace|MappingProxyType|NoneType|GenericAlias)",
            r"typing\.[A-Z]\w*|enum\.[A-Z]\w*|numbers\.[A-Z]\w*|math\.\w+|_?operator\.(getitem|or_|add|sub|mul|truediv)",
            r"decimal\.Decimal|fractions\.Fraction|uuid\.(UUID|SafeUUID)|ipaddress\.IPv\w+|zoneinfo\.ZoneInfo(\._unpickle)?",
            r"array\.(array|_array_reconstructor)|random\.Random|re\._compile|_?codecs\.encode|copyreg\._reconstructor",
            r"functools\.partial|itertools\.(chain|count|cycle|islice|repeat)|time\.struct_time|http\.HTTPStatus",
            r"logging\.(Logger|getLogger)",
            r"numpy\.(dtype|ndarray|matrix|recarray|record|void|generic|number|bool8?_?|str_|bytes_|object_|unicode_|"
            r"string_|datetime64|timedelta64|half|single|double|c?longdouble|longfloat|c(single|double|float)|"
            r"u?(byte|short|intc|intp|int_?|long|longlong)|(u?int|float|complex)(\d+|_))",
            r"numpy\._?core\.(multiarray|numeric)\.(scalar|_reconstruct|_frombuffer)",
            r"numpy\.(core\.|_core\.)?(rec|records)\.(recarray|record)|numpy\.ma\.core\.(MaskedArray|_mareconstruct)",
            r"numpy\.random\.\w+\.[A-Z]\w*|numpy\.dtypes\.[A-Z]\w*|numpy\.matrixlib\.defmatrix\.matrix",
            r"torch\.([A-Z]\w*|b?float\d*\w*|double|half|c?(half|float|double)|complex\d+|bits\w+|bool|short|long|"
            r"q?u?int\d*(x\d)?|device|dtype|layout|memory_format|qscheme|finfo|iinfo|strided|jagged|sparse_\w+|"
            r"\w+_format|channels_last\w*|per_\w+|relu|tanh|sigmoid|softmax)",
            r"torch\.(_utils|_tensor|storage|nn|optim|amp|cuda\.amp|ao|quantization|distributions|torch_version)(\.\w+)+",
            r"torch\.(_C\._nn\.\w+|serialization\._get_layout|distributed(\.\w+)*\._?[A-Z]\w*)",
            r"torch\.utils\.data\.(dataset|sampler|dataloader|distributed)\.\w+",
        ]
    )
)
# Makers of generators of random numbers, and of classes that Cython compiled
CONSTRUCTOR = re.compile(r"numpy\.random\._pickle\.__\w{1,40}_ctor|numpy\.[a-z_.]{1,80}\.__pyx_unpickle_\w{1,40}")
# Modules that others import, so that a path of names leads to them; with torch and numpy, to all that these hold
ON_THE_WAY = """
    builtins ctypes importlib marshal multiprocessing nt numpy os pickle posix pty runpy shutil socket subprocess sys
    torch webbrowser
"""
RUNNERS = """
    IPython Cython aiohttp asteval cffi cloudpickle dill execnet fabric httpx invoke jinja2 joblib jsonpickle numexpr
    paramiko pexpect pip pkg_resources plumbum psutil ptyprocess pyximport requests setuptools sh simpleeval sympy
    urllib3 yaml
"""
VERB = re.compile(
    r"Popen|_*(eval|exec|compile|system|popen|open|spawn|run|call(?!back)|check_output|import|load|read_pickle|"
    r"download|urlopen|urlretrieve|unsafe|shell)[a-z0-9_]*"
)
MAX_CHARACTERS = 300


def dangerous(names: Iterable[str]) -> list[str]:
    """Those of ``names``, module.name, that run code, sorted."""
    return sorted(name for name in names if runs_code(name))


def runs_code(name: str) -> bool:
    """Whether the object ``name``, a path of names from a module on, runs code or leads to what does."""
    name = name.replace("()", "")  # what a call gave stands for what was called
    root, *path = name.split(".")
    if CONSTRUCTOR.fullmatch(name):
        return False
    if len(name) > MAX_CHARACTERS or any(part.lstrip("_") in ON_THE_WAY.split() for part in path):
        return True
    if VERB.fullmatch(path[-1] if path else root):
        return True
    if any(part.startswith("__") for part in path):
        return True
    if INERT.fullmatch(name):
        return False
    return root in RUNNERS.split() or root in ("torch", "numpy") or root in STANDARD
