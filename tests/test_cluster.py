"""Slurm scripts: they parse, nothing in them is left open, and they save and queue again."""

import os
import shutil
import signal
import subprocess
import time

import pytest
import yaml
from accelerate.commands.launch import launch_command_parser
from conftest import PROJECT

from workbench import __main__, cluster, commands, machines
from workbench.errors import UserError

FILES = sorted((PROJECT / "recipes/cluster").glob("*.yaml"))
NAMES = [path.stem for path in FILES]
STARTER = "recipes/pretrain/starter.yaml"


# Stand-ins for Slurm and Accelerate. srun runs its command as the second of two nodes; scancel
# signals what srun runs; the training writes its words down and waits to be stopped.
FAKES = {
    "srun": 'while [[ $1 == -* ]]; do shift; done; exec "$@"',
    "scontrol": 'case "$1" in show) echo node-1; echo node-2;; *) echo "$@" > asked;; esac',
    "scancel": 'echo "$@" > signalled; kill -TERM "$(cat pid)"',
    "accelerate": (
        "printf '%s\\0' \"$@\" > words; printenv HARMLESS > variable; "
        "trap 'exit 143' TERM; echo $$ > pid; "
        "for n in $(seq $WAIT); do sleep 0.05; done; exit $STATUS"
    ),
}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A project whose starter recipe has steps wide enough for every cluster."""
    home = tmp_path_factory.mktemp("wide")
    shutil.copytree(PROJECT / "recipes", home / "recipes")
    content = yaml.safe_load((home / STARTER).read_text(encoding="utf-8"))
    content["train"]["batch"] = 256
    (home / STARTER).write_text(yaml.safe_dump(content), encoding="utf-8")
    return home


@pytest.fixture(autouse=True)
def at_home(monkeypatch, wide):
    monkeypatch.setenv("WORKBENCH_HOME", str(wide))
    monkeypatch.chdir(wide)


def plain(**settings):
    """A cluster without modules, so that its job runs anywhere."""
    return cluster.Cluster(machine="lumi-g", partition="standard-g", nodes=2, **settings)


class Job:
    """A script that runs in a folder of its own, against the stand-ins."""

    def __init__(self, folder, script, status=0, wait=0, restarts=0):
        self.folder = folder
        for name, body in FAKES.items():
            (folder / "bin").mkdir(exist_ok=True)
            fake = folder / "bin" / name
            fake.write_text(f"#!/bin/bash\n{body}\n")
            fake.chmod(0o755)
        (folder / "job.sh").write_text(script)
        self.process = subprocess.Popen(
            ["bash", "job.sh"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
                "SLURM_JOB_NODELIST": "node-[1-2]",
                "SLURM_JOB_ID": "77",
                "SLURM_NNODES": "2",
                "SLURM_NODEID": "1",
                "SLURM_RESTART_COUNT": str(restarts),
                "STATUS": str(status),
                "WAIT": str(wait),
            },
        )

    def stop(self):
        deadline = time.monotonic() + 20
        while not (self.folder / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self):
        _, self.said = self.process.communicate(timeout=30)
        return self.process.returncode

    def read(self, name):
        return (self.folder / name).read_text()

    @property
    def words(self):
        return self.read("words").split("\0")[:-1]


def test_there_are_files_for_the_four_machines():
    assert len(FILES) >= 4
    assert {"lumi", "leonardo", "marenostrum5", "jupiter"} <= set(cluster.names())


@pytest.mark.parametrize("name", NAMES)
def test_every_script_parses_and_nothing_is_left_open(name, tmp_path):
    loaded = cluster.load(name)
    script = commands.job(STARTER, "train.steps=7", cluster=name)
    assert "@{" not in script
    asked = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    assert script.splitlines()[1 : 1 + len(asked)] == asked, "Slurm stops reading at a command"
    keys = [line.split()[1].partition("=")[0] for line in asked]
    assert len(keys) == len(set(keys))
    assert [line for line in asked if line.count(" ") != 1 or line.endswith("=")] == []
    assert f"#SBATCH --signal=B:TERM@{loaded.grace}" in asked
    assert "#SBATCH --requeue" in asked
    assert loaded.gpus_per_node == machines.get(loaded.machine).per_node
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_job_written_elsewhere_names_its_recipe_from_the_projects_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(PROJECT))
    monkeypatch.chdir(tmp_path)
    script = commands.job(STARTER, "train.batch=32", cluster="lumi")
    assert f"workbench run {STARTER} train.batch=32" in script


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("name", NAMES)
def test_shellcheck_has_nothing_to_say(name):
    script = commands.job(STARTER, cluster=name)
    command = ["shellcheck", "--severity=warning", "--exclude=SC1091", "-"]
    checked = subprocess.run(command, input=script, capture_output=True, text=True)
    assert checked.stdout == ""


def test_accelerate_takes_every_word_and_gets_the_right_numbers(tmp_path):
    job = Job(tmp_path, cluster.script(plain(gpus_per_node=8, checkpointing=True), STARTER))
    assert job.end() == 0, job.said
    launch, *words = job.words
    assert launch == "launch"
    taken = launch_command_parser().parse_args(words)
    assert (taken.num_machines, taken.machine_rank, taken.num_processes) == (2, 1, 16)
    assert (taken.main_process_ip, taken.main_process_port) == ("node-1", 20077)
    assert (taken.use_fsdp, taken.fsdp_version, taken.mixed_precision) == (True, "2", "bf16")
    assert taken.fsdp_activation_checkpointing == "true"
    assert taken.fsdp_state_dict_type == "SHARDED_STATE_DICT"
    assert (taken.module, taken.training_script) == (True, "workbench")
    assert taken.training_script_args == ["run", STARTER]


def test_the_wrapped_layer_is_that_of_our_models():
    from workbench import model as models

    layer = type(models.build("nano", 300, 64, 0, 1).model.layers[0]).__name__
    assert f"--fsdp_transformer_layer_cls_to_wrap {layer}" in cluster.script(plain(), STARTER)


def test_hostile_names_and_values_arrive_as_they_are(wide, tmp_path):
    folder = tmp_path / "a b'c $(touch hacked) `touch hacked`; touch hacked"
    folder.mkdir()
    recipe = folder / 'mt"&\\.yaml'
    shutil.copy(wide / STARTER, recipe)
    why = "why='\"$(touch hacked)`touch hacked`\n#SBATCH --account=other; \\ à"
    value = "$(touch hacked)'; touch hacked; echo '"
    wrap = ["env", "A=it's $(touch hacked)"]
    script = cluster.script(plain(environment={"HARMLESS": value}, wrap=wrap), recipe, [why])
    job = Job(tmp_path, script)
    assert job.end() == 0, job.said
    assert job.words[-4:] == ["workbench", "run", str(recipe), why]
    assert job.read("variable") == value + "\n"
    assert not list(tmp_path.rglob("hacked"))


def test_before_the_time_limit_it_is_saved_and_queued_again(tmp_path):
    job = Job(tmp_path, cluster.script(plain(), STARTER), wait=400)
    assert job.stop() == 143
    assert job.read("signalled") == "--signal=TERM 77.0\n"
    assert job.read("asked") == "requeue 77\n"


@pytest.mark.parametrize(("status", "restarts"), [(0, 0), (1, 0), (2, 3)])
def test_what_ended_by_itself_is_not_queued_again(tmp_path, status, restarts):
    job = Job(tmp_path, cluster.script(plain(), STARTER), status=status, restarts=restarts)
    assert job.end() == status
    assert not (tmp_path / "asked").exists()


def test_it_does_not_queue_again_without_end(tmp_path):
    job = Job(tmp_path, cluster.script(plain(requeues=3), STARTER), wait=400, restarts=3)
    assert job.stop() == 143
    assert not (tmp_path / "asked").exists()


def test_a_setup_that_fails_ends_the_job(tmp_path):
    job = Job(tmp_path, cluster.script(plain(setup=["false"]), STARTER))
    assert job.end() != 0
    assert not (tmp_path / "words").exists()


def test_the_account_is_named_or_left_to_slurm():
    assert "--account=project_465000000\n" in commands.job(
        STARTER, "cluster.account=project_465000000", cluster="lumi"
    )
    script = commands.job(STARTER, "cluster.nodes=16", "train.steps=9", cluster="lumi")
    assert "#SBATCH --account" not in script
    assert "SBATCH_ACCOUNT" in script
    assert "#SBATCH --nodes=16\n" in script
    assert "cluster.nodes" not in script


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["nodse=2"], r"unknown key 'nodse' \(did you mean 'nodes'\?\)"),
        (["nodes=few"], "nodes is a whole number, not text"),
        (["nodes=0"], "nodes must be at least 1"),
        (["machine=lumi"], r"unknown machine 'lumi' \(did you mean 'lumi-g'\?\)"),
        (["gpus_per_node=16"], "a node of lumi-g has 8"),
        (["time=2 days"], "time is hours:minutes:seconds"),
        (["grace=200000"], "grace must be at least 120 seconds and below the time limit"),
        (['account="x\\n#SBATCH --nodes=99"'], "account may hold"),
        (["partition=a b"], "partition may hold"),
        (["partition="], "partition may hold"),
        (["environment={A-B: c}"], "environment names no variable 'A-B'"),
        (['setup=["a\\nb"]'], "setup holds a line break"),
        (["gpu_option=gpus"], "gpu_option is 'gpus'"),
    ],
)
def test_a_mistake_in_a_cluster_file_is_one_line(settings, told):
    with pytest.raises(UserError, match=told) as caught:
        cluster.load("lumi", settings)
    assert "\n" not in str(caught.value)


def test_time_limits_in_seconds():
    assert cluster.seconds("24:00:00") == 86400
    assert cluster.seconds("1-12:00:30") == 129630


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([STARTER, "--cluster", "lumy", "--dry-run"], "did you mean 'lumi'?"),
        ([STARTER, "--cluster", "lumi"], "then: sbatch job.sh"),
        ([STARTER, "--dry-run"], "name one with --cluster"),
        ([STARTER, STARTER, "--cluster", "lumi", "--dry-run"], "one recipe, not 2"),
        (["recipes/inspect/starter.yaml", "--cluster", "lumi", "--dry-run"], "for what trains"),
        ([STARTER, "train.stepps=1", "--cluster", "lumi", "--dry-run"], "did you mean 'steps'"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_exit_2(capsys, words, told):
    assert __main__.main(["run", *words]) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_dry_run_prints_the_script_alone(capsys):
    assert __main__.main(["run", STARTER, "--cluster", "lumi", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert said.out == commands.job(STARTER, cluster="lumi")
    assert said.out.startswith("#!/bin/bash\n#SBATCH ")


def test_a_job_whose_steps_cannot_be_dealt_out_is_refused():
    with pytest.raises(UserError, match="the 6 sequences of a step cannot be dealt out evenly to"):
        commands.job(STARTER, "train.batch=6", cluster="lumi")
