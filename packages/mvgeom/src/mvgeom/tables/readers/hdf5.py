"""Common parts of the readers of HDF5 files: signature, optional libraries, and pandas tables without their code."""

from __future__ import annotations

import importlib
import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mvgeom.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["H5_ERRORS", "check_structure", "has_dataset", "import_optional", "is_hdf5", "read_pandas_table"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"

H5_ERRORS = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, NotImplementedError),
    *(OverflowError, MemoryError, SystemError, AssertionError, EOFError, ZeroDivisionError),
)
"""Errors of the libraries over a file that is damaged or of another kind."""

_PLAIN = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    ("pandas.core.indexes.frozen", "FrozenList"),
    ("_codecs", "encode"),
}
"""Names that the pickles in pandas' tables may use: they make arrays, numbers and lists of names, and run nothing."""

_TEXT_ATTRIBUTES = ("CLASS", "VERSION", "TITLE", "FLAVOR", "PYTABLES_FORMAT_VERSION")
"""Attributes that PyTables reads as texts, whatever their type."""

_reading = Lock()


def read_pandas_table(path: Path) -> pd.DataFrame:
    """Read the only table of a file that pandas wrote, such as DeepLabCut's.

    PyTables stores column names and other objects as pickles, which can name any function to be called in reading.
    Here they can name only those that make plain data.

    Raises:
        InputError: `missing-library`, if PyTables is not installed; `damaged-file`, if the file is no such table, or
            its pickles name anything else; `bad-header`, if the table has no named column levels.
    """
    tables = import_optional("tables", path)
    import pandas as pd

    check_structure(path)
    try:
        with _plain_pickles() as refused:
            table = pd.read_hdf(path)
    except (tables.HDF5ExtError, *H5_ERRORS, EOFError, ImportError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[-1]
        raise InputError(
            f"{path}: not an HDF5 table of DeepLabCut or SLEAP, or damaged: {_refusal(refused) or reason}",
            code="damaged-file",
            path=path,
        ) from error
    if refused:
        raise InputError(f"{path}: {_refusal(refused)}", code="damaged-file", path=path)
    names = [str(name) for name in table.columns.names] if isinstance(table, pd.DataFrame) else []
    if not isinstance(table, pd.DataFrame) or "bodyparts" not in names or "coords" not in names:
        raise InputError(
            f"{path}: the columns must have the levels bodyparts and coords, found {', '.join(names) or 'none'}",
            code="bad-header",
            path=path,
        )
    return table


def check_structure(path: Path) -> None:
    """Visit all groups, datasets and attributes of a file with h5py, before other libraries read it.

    h5py raises errors where PyTables crashes. Nothing of the file may be in another one: a link or a dataset that is
    stored outside would bring the content of any file into what is read.

    Raises:
        InputError: `missing-library`; `damaged-file`, if the structure cannot be read, parts are in other files, or
            attributes of PyTables are not texts.
    """
    h5py = import_optional("h5py", path)

    def visit(node: Any) -> None:
        for name in node.attrs:
            is_text = node.attrs.get_id(name).dtype.kind in "SO"
            if name in _TEXT_ATTRIBUTES and not is_text:
                raise ValueError(f"{node.name}: {name} is not a text")
        if isinstance(node, h5py.Dataset):
            if node.external is not None or node.is_virtual:
                raise ValueError(f"{node.name} is in another file")
            _ = node.shape, node.dtype, node.chunks
            return
        for name in node:
            if isinstance(node.get(name, getlink=True), h5py.ExternalLink):
                raise ValueError(f"{node.name}: {name} is in another file")

    try:
        with h5py.File(path, "r") as file:
            visit(file)
            file.visititems(lambda _, node: visit(node))
    except H5_ERRORS as error:
        raise InputError(
            f"{path}: not HDF5 that can be read, or damaged: {error}", code="damaged-file", path=path
        ) from error


@contextmanager
def _plain_pickles() -> Iterator[list[str]]:
    """Let PyTables read pickles of plain data only; yield the list of the other names that it meets.

    PyTables has no setting for it, so its modules get another `pickle` for a while.
    """
    refused: list[str] = []

    class PlainUnpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in _PLAIN:
                refused.append(f"{module}.{name}")
                raise pickle.UnpicklingError(_refusal(refused))
            return super().find_class(module, name)

    def loads(content: bytes, **options: Any) -> Any:
        return PlainUnpickler(io.BytesIO(content), **options).load()

    plain = SimpleNamespace(**{**vars(pickle), "loads": loads})
    modules = [importlib.import_module(f"tables.{name}") for name in ("attributeset", "atom")]
    with _reading:
        try:
            for module in modules:
                module.pickle = plain  # type: ignore[attr-defined]
            yield refused
        finally:
            for module in modules:
                module.pickle = pickle  # type: ignore[attr-defined]


def _refusal(names: list[str]) -> str:
    return f"it names {', '.join(names)}, which would run code" if names else ""


def is_hdf5(path: Path) -> bool:
    """Return True if a file begins with the signature of HDF5; no library is needed."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


def import_optional(module: str, path: Path) -> Any:
    """Import h5py or tables, which reading HDF5 files needs.

    Raises:
        InputError: `missing-library`, if it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{path}: reading HDF5 needs the library {module}, which cannot be imported ({error}). Install it with: "
            'pip install "mvgeom[hdf5]"',
            code="missing-library",
            path=path,
            library=module,
            extra="hdf5",
        ) from error


def has_dataset(path: Path, name: str) -> bool:
    """Return True if an HDF5 file contains a dataset or group of this name at its root.

    Raises:
        InputError: `missing-library`, if h5py is not installed.
    """
    h5py = import_optional("h5py", path)
    try:
        with h5py.File(path, "r") as file:
            return name in file
    except H5_ERRORS:
        return False
