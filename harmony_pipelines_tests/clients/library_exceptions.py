"""Every exception class of a library, found by walking its modules: also those of a new version."""

import importlib
import inspect
import pkgutil
import warnings
from types import ModuleType

_NOT_FOR_US = (
    "__main__",
    "PIL.report",
    ".testing",
    ".contrib",
    ".ui",
    "ext.mypy",
    "beets.importer",
)


def exceptions_of(library: str) -> list[type[Exception]]:
    """The exception classes that the library itself defines, by name."""
    found = {
        value
        for module in _modules(library)
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Exception)
        and not issubclass(value, Warning)
        and value.__module__.partition(".")[0] == library
    }
    return sorted(found, key=lambda each: (each.__module__, each.__qualname__))


def made(kind: type[Exception]) -> Exception:
    """An instance of it, whatever its constructor asks for."""
    for arguments in (("odd",), (), ("odd", {}, Exception("odd")), ("odd", None, "odd")):
        try:
            instance = kind(*arguments)
            str(instance)
        except (TypeError, AttributeError, IndexError):
            continue
        return instance
    instance = kind.__new__(kind, "odd")
    for name in ("orig", "http_status", "code", "msg", "reason", "path"):
        instance.__dict__.setdefault(name, "odd")
    return instance


def _modules(library: str) -> list[ModuleType]:
    top = importlib.import_module(library)
    modules = [top]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in pkgutil.walk_packages(top.__path__, f"{library}.", onerror=lambda _: None):
            if any(part in each.name for part in _NOT_FOR_US):
                continue
            try:
                modules.append(importlib.import_module(each.name))
            except (ImportError, RuntimeError, AttributeError):  # an extra that is not installed
                continue
    return modules
