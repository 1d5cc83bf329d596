"""The entry point: whatever happens, there is a result.json that says what, and what to do."""

import json
import subprocess
import sys

import pytest

from aiida_mlip.schema.job import CONTRACT, Result
from aiida_mlip.worker import __main__ as entry
from aiida_mlip.worker.bundle import build_worker
from aiida_mlip.worker.context import Context, Stopped
from aiida_mlip.worker.failures import failure_of
from aiida_mlip.worker.runner import run_job


def run(folder, document):
    text = document if isinstance(document, str) else json.dumps(document)
    (folder / "job.json").write_text(text)
    assert run_job(folder / "job.json") == 0
    return Result.model_validate_json((folder / "result.json").read_text())


def test_the_plain_answer_is_of_the_same_contract():
    assert entry._CONTRACT == CONTRACT


def test_without_pydantic_the_result_says_what_to_install(tmp_path):
    worker = build_worker(tmp_path)
    (tmp_path / "job.json").write_text(json.dumps({"contract": 1, "task": "train", "settings": {}}))
    done = subprocess.run(
        [sys.executable, "-S", worker, "job.json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    result = Result.model_validate_json((tmp_path / "result.json").read_text())
    assert result.task == "train"
    assert result.error.kind == "backend_import"
    assert "pydantic" in result.error.message
    assert "prepend_text" in result.error.remedy
    assert "pydantic" in done.stderr


@pytest.mark.parametrize(
    ("document", "kind", "words"),
    [
        ("{not json", "contract", "cannot be read"),
        ("[1, 2]", "contract", "not a JSON object"),
        ({"task": "evaluate", "settings": {}}, "contract", "contract = None"),
        ({"contract": 99, "task": "evaluate", "settings": {}}, "contract", "newer"),
        ({"contract": 1, "task": "dance", "settings": {}}, "contract", "job.task"),
        (
            {"contract": 1, "task": "evaluate", "settings": {}, "filez": {}},
            "contract",
            "job.filez is not a known field",
        ),
        ({"contract": 1, "task": "train", "settings": {}}, "input", "settings.strategy is required"),
    ],
)
def test_a_wrong_job_is_answered_in_words(tmp_path, document, kind, words):
    result = run(tmp_path, document)
    assert result.error.kind == kind
    assert words in result.error.message
    assert result.versions["python"]


def test_a_missing_job_file_is_answered(tmp_path):
    assert run_job(tmp_path / "job.json") == 0
    assert "cannot be read" in json.loads((tmp_path / "result.json").read_text())["error"]["message"]


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit):
        entry.main(["--version"])
    assert capsys.readouterr().out.strip() == entry._version()


def test_inspect_prints_the_description_alone(tmp_path):
    (tmp_path / "cu.json").write_text('{"architecture": "emt", "elements": ["Cu"], "r_max": 4.5}')
    done = subprocess.run(
        [sys.executable, "-m", "aiida_mlip.worker", "inspect", tmp_path / "cu.json"],
        capture_output=True,
        text=True,
        check=True,
    )
    info = json.loads(done.stdout)
    assert (info["architecture"], info["elements"], info["r_max"]) == ("emt", ["Cu"], 4.5)


def test_inspect_of_something_else_fails_in_words(tmp_path):
    (tmp_path / "x.model").write_bytes(b"PK\x03\x04 not really")
    done = subprocess.run(
        [sys.executable, "-m", "aiida_mlip.worker", "inspect", tmp_path / "x.model"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot be read as a MACE model" in json.loads(done.stdout)["error"]["message"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out_of_memory"),
        (ModuleNotFoundError("No module named 'mace'", name="mace"), "backend_import"),
        (ValueError("boom"), "exception"),
        (Stopped("told to stop"), "walltime"),
        (SystemExit(3), "exception"),
    ],
)
def test_every_exception_becomes_a_failure(error, kind):
    failure = failure_of(error)
    assert failure.kind == kind
    assert failure.message
    assert failure.remedy


def test_an_import_failure_names_the_package_to_install():
    assert "mace-torch" in failure_of(ModuleNotFoundError("No module named 'mace'", name="mace")).remedy


def test_only_unexpected_failures_carry_a_traceback():
    assert "ValueError: boom" in failure_of(ValueError("boom")).traceback
    assert failure_of(Stopped("x")).traceback == ""


class TestTimeLimit:
    """The limit holds wherever the task is; a task of our own stands in for a long one."""

    @pytest.fixture
    def sleeping(self, monkeypatch):
        def task(context: Context):
            context.partial["done"] = 3
            subprocess.run(["sleep", "30"], check=True)
            return {}

        monkeypatch.setattr("aiida_mlip.worker.runner.load_task", lambda _name: task)

    @pytest.mark.usefixtures("sleeping")
    def test_it_ends_as_walltime_and_keeps_the_partial_payload(self, tmp_path):
        result = run(tmp_path, {"contract": 1, "task": "evaluate", "settings": {}, "time_limit": 0.5})
        assert result.error.kind == "walltime"
        assert result.payload == {"done": 3}
        assert result.timings["total"] < 10

    def test_the_context_tells_the_time_left(self, tmp_path, monkeypatch):
        seen = []
        monkeypatch.setattr(
            "aiida_mlip.worker.runner.load_task", lambda _name: lambda context: seen.append(context.remaining()) or {}
        )
        run(tmp_path, {"contract": 1, "task": "evaluate", "settings": {}, "time_limit": 60})
        assert 50 < seen[0] < 60
        run(tmp_path, {"contract": 1, "task": "evaluate", "settings": {}})
        assert seen[1] is None
