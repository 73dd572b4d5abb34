"""The public API: every name is there, and importing the package imports nothing heavy."""

import subprocess
import sys

import pytest

import iapt


def test_importing_the_package_imports_no_library():
    program = (
        "import sys; before = set(sys.modules); import iapt; dir(iapt); "
        "print(*sorted({n.split('.')[0] for n in set(sys.modules) - before} - {'iapt', *sys.stdlib_module_names}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_every_name_that_is_promised_is_there():
    assert set(iapt.__all__) == set(dir(iapt))
    for name in iapt.__all__:
        assert getattr(iapt, name) is not None
    assert {"load_run", "Tenants", "Backbone", "Method", "rows", "predictions"} <= set(iapt.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"no attribute 'loadrun'; it has .*load_run"):
        _ = iapt.loadrun
