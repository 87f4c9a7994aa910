"""A record names the code that made it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import pytest
import torch
from wording import says

from vicinal.storage import provenance as module
from vicinal.storage.provenance import provenance, source_commit

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A repository in tmp_path/repo that holds src/code.py, and a way to command it."""
    for variable in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(variable)
    repository = tmp_path / "repo"

    def run(*arguments: str) -> str:
        author = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(repository), *author, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    (repository / "src").mkdir(parents=True)
    (repository / "results").mkdir()
    (repository / "src" / "code.py").write_text("1\n")
    (repository / "results" / "run.json").write_text("1\n")
    run("init", "--quiet")
    run("add", ".")
    run("commit", "--quiet", "--message", "first")
    return run


def code(tmp_path: Path) -> Path:
    return tmp_path / "repo" / "src" / "code.py"


def test_the_commit_is_that_of_the_source_wherever_one_stands(
    tmp_path: Path, git: Git, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert source_commit(code(tmp_path)) == {"commit": git("rev-parse", "HEAD"), "dirty": False}


def test_a_changed_tracked_file_is_dirty_staged_or_not(tmp_path: Path, git: Git):
    code(tmp_path).write_text("2\n")
    assert (source_commit(code(tmp_path)) or {})["dirty"]
    git("add", ".")
    assert (source_commit(code(tmp_path)) or {})["dirty"]


def test_a_change_elsewhere_in_the_repository_is_dirty_too(tmp_path: Path, git: Git):
    config = tmp_path / "repo" / "configs.yaml"
    config.write_text("1\n")
    git("add", ".")
    git("commit", "--quiet", "--message", "second")
    assert not (source_commit(code(tmp_path)) or {})["dirty"]
    config.unlink()
    assert (source_commit(code(tmp_path)) or {})["dirty"]


def test_results_and_untracked_files_do_not_make_a_sweep_dirty(tmp_path: Path, git: Git):
    (tmp_path / "repo" / "results" / "run.json").write_text("2\n")
    (tmp_path / "repo" / "results" / "new.json").write_text("2\n")
    git("add", "results")
    (tmp_path / "repo" / "src" / "notes.txt").write_text("untracked\n")
    assert source_commit(code(tmp_path)) == {"commit": git("rev-parse", "HEAD"), "dirty": False}


def test_a_package_installed_inside_someones_checkout_has_no_commit(tmp_path: Path, git: Git):
    package = tmp_path / "repo" / ".venv" / "vicinal"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert source_commit(package / "__init__.py") is None


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path):
    (tmp_path / "code.py").write_text("")
    assert source_commit(tmp_path / "code.py") is None


def test_a_git_hook_of_another_repository_does_not_mislead(
    tmp_path: Path, git: Git, monkeypatch: pytest.MonkeyPatch
):
    head = git("rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert source_commit(code(tmp_path)) == {"commit": head, "dirty": False}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_checkout_of_another_user_is_read_all_the_same(tmp_path: Path, git: Git):
    for path in [tmp_path / "repo", *(tmp_path / "repo").rglob("*")]:
        os.chown(path, 12345, 12345)
    assert source_commit(code(tmp_path)) is not None


@pytest.mark.parametrize("failure", ["exit 1", "sleep 60", None])
def test_a_git_that_fails_hangs_or_is_missing_stops_nothing(
    tmp_path: Path, git: Git, monkeypatch: pytest.MonkeyPatch, failure: str | None
):
    programs = tmp_path / "bin"
    programs.mkdir()
    if failure:
        (programs / "git").write_text(f"#!/bin/sh\nexec {failure}\n".replace("exec exit", "exit"))
        (programs / "git").chmod(0o755)
        (programs / "sleep").symlink_to("/bin/sleep")
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(module, "GIT_SECONDS", 0.2)
    assert source_commit(code(tmp_path)) is None


def test_the_versions_are_those_that_run():
    found = provenance("cpu")["versions"]
    assert found["python"] == sys.version.split()[0]
    assert found["torch"] == torch.__version__
    assert found["timm"] == version("timm")
    assert set(found) >= {"vicinal", "torchvision", "numpy", "hydra-core", "cuda", "cudnn"}


def test_git_is_asked_once_a_process(monkeypatch: pytest.MonkeyPatch):
    # A sweep's later runs use the code that was imported, whatever the checkout holds by then.
    first = provenance("cpu")["git"]
    monkeypatch.setattr(module, "source_commit", lambda _: pytest.fail("asked again"))
    assert provenance("cpu")["git"] == first


def test_a_package_that_is_not_here_has_no_version(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PACKAGES", ("no-such-package",))
    assert provenance("cpu")["versions"]["no-such-package"] is None


def test_where_there_is_no_git_the_environment_tells_the_commit(tmp_path: Path):
    source = Path(module.__file__).parents[1]
    shutil.copytree(source, tmp_path / "vicinal", ignore=shutil.ignore_patterns("__pycache__"))
    ask = "from vicinal.storage.provenance import provenance; print(provenance('cpu')['git'])"
    digits = "0123456789abcdef0123456789abcdef01234567"
    wanted = {"": "None", digits: f"{{'commit': '{digits}', 'dirty': False}}"}
    for told, said in wanted.items():
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "VICINAL_COMMIT": told}
        command = [sys.executable, "-c", ask]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.strip() == said


def test_what_the_environment_tells_must_be_a_commit():
    digits = "0123456789abcdef0123456789abcdef01234567"
    assert module.parsed_commit(f"{digits}-dirty") == {"commit": digits, "dirty": True}
    for told in ("HEAD", digits[:7], f"{digits}-clean"):
        with pytest.raises(ValueError, match=says(f"^VICINAL_COMMIT ... {told}")):
            module.parsed_commit(told)


def test_it_is_plain_json_and_equal_when_asked_twice():
    found = provenance("cpu")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert provenance("cpu") == found
    kept = BytesIO()
    torch.save(found, kept)  # as checkpoints keep it
    kept.seek(0)
    assert torch.load(kept, weights_only=True) == found
    assert found["device"]["type"] == "cpu"
    assert found["device"]["name"]
    assert found["machine"]["threads"] == torch.get_num_threads()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_named():
    found = provenance("cuda")["device"]
    assert found["name"] == torch.cuda.get_device_name()
    assert found["count"] == torch.cuda.device_count()
