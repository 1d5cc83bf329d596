"""Registering computers and codes in a temporary AiiDA profile."""

from __future__ import annotations

import json

import pytest
from aiida import orm

from aiida_mlip.computers.codes import register_installed, register_worker, register_workers
from aiida_mlip.computers.config import ExtraWorker, InstalledCode
from aiida_mlip.computers.defaults import find_worker, job_defaults, job_options
from aiida_mlip.computers.local import local_worker
from aiida_mlip.computers.register import register_computer


def test_a_new_computer_is_stored_configured_and_remembers_its_job_options(clean_profile, slurm_config):
    register_computer(slurm_config())
    computer = orm.load_computer("cluster")
    assert computer.is_configured
    assert computer.get_workdir() == "/scratch/{username}/aiida"
    assert job_defaults(computer).gpus == 2
    assert job_options(computer) == {
        "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1, "num_cores_per_mpiproc": 8},
        "withmpi": False,
        "max_wallclock_seconds": ((24 + 2) * 60 + 3) * 60 + 4,
        "queue_name": "gpu",
        "account": "project",
        "max_memory_kb": 62500000,
        "custom_scheduler_commands": "#SBATCH --gres=gpu:2\n#SBATCH --constraint=a100",
    }
    assert job_options(computer, walltime="00:30:00")["max_wallclock_seconds"] == 1800


def test_setting_up_again_updates_what_may_change(clean_profile, slurm_config):
    first = register_computer(slurm_config())
    second = register_computer(slurm_config(work_dir="/elsewhere", jobs={"cpus": 3}))
    assert second.pk == first.pk
    stored = orm.load_computer("cluster")
    assert stored.get_workdir() == "/elsewhere"
    assert job_options(stored)["resources"]["num_cores_per_mpiproc"] == 3
    assert "queue_name" not in job_options(stored)


def test_a_label_is_not_moved_to_another_scheduler(clean_profile, slurm_config):
    register_computer(slurm_config())
    with pytest.raises(ValueError, match=r"scheduler = 'core.direct'.*'core.slurm'.*verdi computer relabel"):
        register_computer(slurm_config(scheduler="core.direct", jobs={}))


def test_a_computer_that_was_not_set_up_here_is_named(clean_profile, aiida_computer_local):
    foreign = aiida_computer_local(label="foreign")
    with pytest.raises(ValueError, match=r"computer = 'foreign' has no job defaults.*aiida-mlip setup"):
        job_options(foreign)
    with pytest.raises(ValueError, match=r"no worker is registered for computer = 'foreign'"):
        find_worker(foreign)


def test_the_worker_is_registered_once_and_replaced_when_its_environment_changes(
    clean_profile, worker_zipapp, slurm_config
):
    computer = register_computer(slurm_config())
    first = register_worker(computer, slurm_config().worker, worker_zipapp)
    assert register_worker(computer, slurm_config().worker, worker_zipapp).pk == first.pk
    assert orm.load_code(f"{first.label}@cluster").pk == first.pk
    assert "source /opt/mlip/bin/activate" in first.prepend_text
    assert 'export OMP_WAIT_POLICY="PASSIVE"' in first.prepend_text
    assert 'OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-8}"' in first.prepend_text

    second = register_worker(computer, local_worker(2), worker_zipapp)
    assert second.pk != first.pk
    assert find_worker(computer).pk == second.pk
    assert orm.load_node(first.pk).is_hidden
    assert orm.load_code(f"{second.label}@cluster").pk == second.pk


def test_the_worker_says_which_contract_it_speaks_when_it_is_run(localhost, worker_code, tmp_path, monkeypatch):
    """Also where the daemon hands on a PYTHONPATH with other packages: the environment is the worker's own."""
    (tmp_path / "daemon").mkdir()
    (tmp_path / "daemon" / "pydantic.py").write_text("raise ImportError('the package of another environment')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "daemon"))
    with localhost.get_transport() as transport:
        worker_code.base.repository.copy_tree(tmp_path)
        (tmp_path / "job.json").write_text(json.dumps({"contract": 999, "task": "evaluate", "settings": {}}))
        command = f"{worker_code.prepend_text}\nchmod +x mlip-worker.pyz\n./mlip-worker.pyz job.json"
        transport.exec_command_wait(command, workdir=str(tmp_path))
    assert json.loads((tmp_path / "result.json").read_text())["error"]["kind"] == "contract"


def test_an_installed_code_is_used_again_or_replaced(clean_profile, slurm_config):
    computer = register_computer(slurm_config())
    pw = InstalledCode(executable="/usr/bin/pw.x", plugin="quantumespresso.pw")
    first = register_installed(computer, "pw", pw)
    assert register_installed(computer, "pw", pw).pk == first.pk
    second = register_installed(computer, "pw", pw.model_copy(update={"executable": "/opt/pw.x"}))
    assert second.pk != first.pk
    assert orm.load_code("pw@cluster").pk == second.pk


def test_a_further_environment_serves_the_potentials_it_names(clean_profile, worker_zipapp, slurm_config):
    other = {"architectures": ["sevennet", "chgnet"], "activate": "source /opt/sevennet/bin/activate"}
    config = slurm_config(workers={"other": other})
    computer = register_computer(config)
    main, extra = register_workers(computer, config)
    assert extra.label == f"{main.label}-other"
    assert "source /opt/sevennet/bin/activate" in extra.prepend_text.splitlines()
    assert find_worker(computer).pk == main.pk
    assert {find_worker(computer, name).pk for name in ("sevennet", "chgnet")} == {extra.pk}
    assert find_worker(computer, "emt").pk == main.pk
    assert [code.pk for code in register_workers(computer, config)] == [main.pk, extra.pk]


def test_a_further_environment_that_is_no_longer_named_is_hidden_or_kept(clean_profile, worker_zipapp, slurm_config):
    config = slurm_config(workers={"sevennet": {"activate": "source /opt/sevennet/bin/activate"}})
    computer = register_computer(config)
    main, extra = register_workers(computer, config)
    kept = register_workers(computer, slurm_config(), keep=True)
    assert [code.pk for code in kept] == [main.pk, extra.pk]
    assert [code.pk for code in register_workers(computer, slurm_config())] == [main.pk]
    assert orm.load_node(extra.pk).is_hidden
    assert find_worker(computer, "sevennet").pk == main.pk


def test_a_further_environment_is_replaced_when_it_changes(clean_profile, worker_zipapp, slurm_config):
    computer = register_computer(slurm_config())
    first = register_worker(computer, ExtraWorker(activate="source a"), worker_zipapp, name="sevennet")
    second = register_worker(computer, ExtraWorker(activate="source b"), worker_zipapp, name="sevennet")
    assert find_worker(computer, "sevennet").pk == second.pk
    assert orm.load_node(first.pk).is_hidden
    with pytest.raises(ValueError, match="no worker is registered for computer = 'cluster'"):
        find_worker(computer)
