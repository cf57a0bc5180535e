"""Building, keeping and loading the CPU kernel, and doing without: real processes, caches and compilers."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from adan_implementations import has_compiler, needs_compiler

STEP = """
import torch
from adan import Adan
param = torch.nn.Parameter(torch.ones(200_000))
optimizer = Adan([param], lr=0.1)
for _ in range(2):
    param.grad = torch.ones_like(param)
    optimizer.step()
assert torch.allclose(param, torch.full_like(param, 0.8)), param
print(optimizer.implementation)
"""
BUILDING = "building the CPU kernel"


@pytest.fixture
def run(processes):
    """Runs code in a process with a cache of its own and, unless said otherwise, the system's compiler."""

    def run(code, cache, check=True, **environment):
        cache = None if cache is None else str(cache)
        (done,) = processes.run(code, **{"ADAN_CACHE_DIR": cache, "CXX": None, **environment})
        assert not check or done.returncode == 0, (done.returncode, done.stderr)
        return done

    return run


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A cache after the first step of the first process, and what that process said."""
    if not has_compiler:
        pytest.skip("needs a C++ compiler")
    cache = tmp_path_factory.mktemp("built")
    environment = {**os.environ, "ADAN_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", STEP]
    return cache, subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


@pytest.fixture
def cache(built, tmp_path):
    """A copy of the cache, to be damaged."""
    return Path(shutil.copytree(built[0], tmp_path / "cache"))


def kernel(cache):
    (path,) = cache.glob("*.so")
    return path


def test_importing_and_constructing_build_nothing(run, tmp_path):
    code = "import torch, adan, adan.kernels.cpu; adan.Adan([torch.nn.Parameter(torch.ones(1))])"
    done = run(code, tmp_path / "cache", CXX=script(tmp_path / "cxx", f"touch {tmp_path}/called; exit 1"))
    assert done.stderr == "" and not (tmp_path / "cache").exists() and not (tmp_path / "called").exists()


def test_the_first_step_builds_and_says_so_once(built):
    cache, first = built
    assert first.stdout == "fused-cpp\n"
    assert first.stderr.count(BUILDING) == 1 and "once for this machine" in first.stderr
    assert str(kernel(cache)) in first.stderr and "one thread" not in first.stderr
    assert sorted(path.suffix for path in cache.iterdir()) == ["", ".sha256", ".so"], "kernel, digest, lock"


def test_the_next_process_is_silent_and_compiles_nothing(run, built, tmp_path):
    cache, _ = built
    before = kernel(cache).stat()
    second = run(STEP, cache)
    assert (second.stdout, second.stderr) == ("fused-cpp\n", "")
    assert kernel(cache).stat().st_mtime_ns == before.st_mtime_ns


def test_without_a_compiler_torchs_operations_run_and_that_is_said_once(run, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    code = STEP + "Adan([torch.nn.Parameter(torch.ones(2, dtype=torch.float64))]).implementation\n"
    done = run(code, tmp_path / "cache", PATH=str(empty))
    assert done.stdout == "single-tensor\n"
    assert (
        len(done.stderr.splitlines()) == 1
        and "no C++ compiler" in done.stderr
        and "several times slower" in done.stderr
    )
    insisting = run(STEP.replace("lr=0.1", "lr=0.1, fused=True"), tmp_path / "cache", check=False, PATH=str(empty))
    assert insisting.returncode != 0 and "RuntimeError: fused=True: no C++ compiler" in insisting.stderr


@pytest.mark.parametrize("answers_version", [False, True])
def test_a_compiler_that_fails_is_quoted(run, tmp_path, answers_version):
    text = "echo 'cc1plus: error: out of paper' >&2; exit 1"
    if answers_version:
        text = f'[ "$1" = --version ] && exec echo 1.0\n{text}'
    compiler = script(tmp_path / "cxx", text)
    done = run(STEP, tmp_path / "cache", CXX=compiler)
    assert done.stdout == "single-tensor\n"
    assert "out of paper" in done.stderr and done.stderr.count("several times slower") == 1
    assert done.stderr.count(BUILDING) <= 1
    insisting = run(STEP.replace("lr=0.1", "fused=True"), tmp_path / "cache", check=False, CXX=compiler)
    assert insisting.returncode != 0 and "RuntimeError: fused=True:" in insisting.stderr.splitlines()[-1]
    assert "out of paper" in insisting.stderr.splitlines()[-1]
    assert not list((tmp_path / "cache").glob("*.so"))


@needs_compiler
def test_a_compiler_without_openmp_makes_a_kernel_of_one_thread_and_that_is_said(run, tmp_path):
    real = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))))
    refuse = 'for word; do [ "$word" = -fopenmp ] && { echo "error: no -fopenmp here" >&2; exit 1; }; done'
    compiler = script(tmp_path / "cxx", f'{refuse}\nexec {real} "$@"')
    first, second = (run(STEP, tmp_path / "cache", CXX=compiler) for _ in range(2))
    assert first.stdout == second.stdout == "fused-cpp\n"
    assert first.stderr.count("one thread") == second.stderr.count("one thread") == 1
    assert first.stderr.count(BUILDING) == 1 and second.stderr.count(BUILDING) == 0


DAMAGES = {
    "no library": lambda data: b"not a library\n" * 1000,
    "half": lambda data: data[: len(data) // 2],
    "zeros in the middle": lambda data: data[: len(data) // 3] + bytes(len(data) // 3) + data[2 * (len(data) // 3) :],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_kernel_is_built_anew(run, cache, damage):
    path = kernel(cache)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    done = run(STEP, cache)
    assert done.stdout == "fused-cpp\n" and done.stderr.count(BUILDING) == 1
    assert run(STEP, cache).stderr == ""


@needs_compiler
def test_a_cache_that_cannot_be_is_no_obstacle(run, tmp_path):
    """Neither the home directory nor the cache can be made: the folder for temporary files is used."""
    file = tmp_path / "file"
    file.write_text("")
    environment = {"HOME": f"{file}/home", "XDG_CACHE_HOME": None, "TMPDIR": str(tmp_path)}
    done = run(STEP, None, **environment)
    assert done.stdout == "fused-cpp\n"
    folder = tmp_path / f"adan-{os.getuid()}"
    assert kernel(folder).exists() and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert run(STEP, None, **environment).stderr == ""


def mounted(folder, options):
    if sys.platform != "linux" or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]).returncode:
        pytest.skip("needs to mount a file system")
    return folder


@pytest.fixture
def unusable(request, tmp_path):
    """A folder in which no kernel can be kept, of the kind that the test is parametrized with."""
    if request.param == "a file":
        (tmp_path / "unusable").write_text("")
        yield tmp_path / "unusable"
        return
    (tmp_path / "unusable").mkdir()
    yield mounted(tmp_path / "unusable", {"noexec": "noexec", "read-only": "ro", "full": "size=64k"}[request.param])
    subprocess.run(["umount", tmp_path / "unusable"], check=True)


@needs_compiler
@pytest.mark.parametrize("unusable", ["a file", "noexec", "read-only", "full"], indirect=True)
def test_a_cache_that_is_of_no_use_is_named_and_the_next_folder_used(run, unusable, tmp_path):
    first, second = (run(STEP, unusable / "cache", TMPDIR=str(tmp_path)) for _ in range(2))
    assert first.stdout == second.stdout == "fused-cpp\n"
    assert first.stderr.count(BUILDING) == 1 and str(unusable / "cache") in first.stderr.splitlines()[0]
    assert second.stderr == ""
    kernel(tmp_path / f"adan-{os.getuid()}")


@needs_compiler
@pytest.mark.parametrize("compiler", ["no-such-program -O2", "/", "'"])
def test_a_compiler_that_is_no_program_is_named_and_another_used(run, cache, tmp_path, compiler):
    done = run(STEP, cache, CXX=compiler)
    assert done.stdout == "fused-cpp\n"
    assert done.stderr.splitlines()[0].startswith(f"adan: CXX={compiler} is no program on the PATH: /")
    assert len(done.stderr.splitlines()) == 1, "the other's kernel is there"


@needs_compiler
@pytest.mark.parametrize(
    ("chosen", "home_cache", "found"),
    [("~/kernels", None, "kernels"), ("kernels/../own", None, "own"), (None, "~/caches", "caches/adan")],
)
def test_kernels_are_kept_where_prepared_data_are(run, tmp_path, chosen, home_cache, found):
    """As `experiments.schema.paths` reads the environment, which this package may not import."""
    code = f"import os; os.chdir({str(tmp_path)!r})\nfrom experiments.schema import paths\n{STEP}print(paths.CACHE)"
    done = run(code, chosen, HOME=str(tmp_path), XDG_CACHE_HOME=home_cache)
    assert done.stdout == f"fused-cpp\n{tmp_path / found}\n"
    kernel(tmp_path / found)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_only_be_read_serves_what_it_has(run, cache):
    (cache / "lock").chmod(0o444)
    cache.chmod(0o555)
    assert run(STEP, cache).stderr == ""
    kernel(cache)
    assert "single-tensor" in run(STEP, cache, CXX="c++ -O1").stdout


def test_a_kernel_that_others_could_have_written_is_not_loaded(run, built, tmp_path):
    """A temporary folder that somebody else prepared: its contents would be run."""
    folder = tmp_path / "home" / ".cache" / "adan"
    environment = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": None, "TMPDIR": str(tmp_path)}
    shutil.copytree(built[0], folder)
    assert run(STEP, None, **environment).stderr == ""
    kernel(folder).chmod(0o777)
    assert BUILDING in run(STEP, None, **environment).stderr
    assert run(STEP, None, **environment).stderr == ""
    folder.chmod(0o777)
    done = run(STEP, None, **environment)
    assert BUILDING in done.stderr and str(tmp_path / f"adan-{os.getuid()}") in done.stderr


@needs_compiler
def test_processes_that_start_together_all_get_the_kernel_and_one_builds_it(run, processes, tmp_path):
    ended = processes.run(*[STEP] * 4, ADAN_CACHE_DIR=str(tmp_path / "cache"), CXX=None)
    assert [process.returncode for process in ended] == [0] * 4, ended
    assert {process.stdout for process in ended} == {"fused-cpp\n"}
    assert sum(process.stderr.count(BUILDING) for process in ended) == 1
    kernel(tmp_path / "cache")


@pytest.mark.parametrize("change", ["cpu", "compiler", "source"])
def test_another_cpu_compiler_or_source_has_a_kernel_of_its_own(run, cache, tmp_path, change):
    before = kernel(cache)
    code, environment = STEP, {}
    if change == "cpu":
        code = "from adan.kernels import compilation; compilation.cpu_model = lambda: 'another'\n" + STEP
    elif change == "compiler":
        real = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))))
        environment["CXX"] = script(tmp_path / "cxx", f'exec {real} "$@"')
    else:
        source = tmp_path / "cpu.cpp"
        code = (
            "from adan.kernels import compilation; from pathlib import Path\n"
            f"source = Path({str(source)!r}); source.write_text(compilation.SOURCE.read_text() + '// newer')\n"
            "compilation.library.__defaults__ = (source,)\n" + STEP
        )
    assert BUILDING in run(code, cache, **environment).stderr
    assert before.exists() and len(list(cache.glob("*.so"))) == 2


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads what is loaded from /proc")
def test_no_second_openmp_runtime_is_loaded(run, built):
    loaded = "sorted({x.split()[-1] for x in open('/proc/self/maps') if 'omp' in x.rsplit('/', 1)[-1]})\n"
    code = STEP.replace("for _", f"before = {loaded}for _", 1) + f"print(before)\nprint({loaded})"
    name, before, after = run(code, built[0]).stdout.splitlines()
    assert name == "fused-cpp" and before == after
    assert "omp" in before, "torch's own is there, or the test sees nothing"
