"""The command line: ``workbench``, or ``python -m workbench``.

Exit status: 0 done, 2 the user's mistake, 130 or 143 stopped after saving, 1 our fault or no room
on the disk.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from workbench import __version__, commands, processes
from workbench.errors import OutOfSpace, Stopped, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return _dispatch(options)
    except (UserError, OutOfSpace, Stopped) as ended:
        if not processes.told(ended):
            print(f"workbench: {ended}", file=sys.stderr)
        return ended.exit_status
    except KeyboardInterrupt:
        print("workbench: stopped; the same command goes on from what was saved", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output went away, as with ``| head``; that is no fault.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _terminated(number: int, frame: FrameType | None) -> None:
    raise Stopped("stopped by SIGTERM; the same command goes on from what was saved", number)


def _dispatch(options: argparse.Namespace) -> int:
    match options.command:
        case "run":
            files = [word for word in options.recipes if "=" not in word]
            overrides = [word for word in options.recipes if "=" in word]
            if not files:
                raise UserError("no recipe given; try recipes/pretrain/starter.yaml")
            if options.cluster:
                print(_job(options, files, overrides), end="")
                return 0
            if options.dry_run:
                raise UserError("--dry-run prints the job of a cluster; name one with --cluster")
            for file in files:
                commands.run(file, *overrides, fresh=options.fresh, workers=options.workers)
        case "plan":
            subject, *words = options.subject
            print(
                commands.plan(
                    subject,
                    *words,
                    machine=options.machine,
                    gpus=options.gpus,
                    allocation=options.allocation,
                )
            )
        case "resume":
            commands.resume(options.run)
        case "stop":
            commands.stop(options.run)
        case "list":
            print(commands.list_runs())
        case "show":
            print(commands.show(options.run))
        case "verify":
            problems = commands.verify(options.run)
            print("\n".join(problems) or f"{options.run}: every file is as it was written")
            return 1 if problems else 0
        case "document":
            print("\n".join(str(path) for path in commands.document(options.run)))
        case "languages":
            result = commands.languages(options.json)
            print(json.dumps(result, ensure_ascii=False, indent=1) if options.json else result)
        case "demo":
            print(commands.demo(), "Next: make lab, and open notebooks/00-welcome.ipynb")
        case "lab":
            return commands.lab()
    return 0


def _job(options: argparse.Namespace, files: list[str], overrides: list[str]) -> str:
    """Return the cluster's script; what is submitted, a person has looked at first."""
    if len(files) > 1:
        raise UserError(f"a job carries out one recipe, not {len(files)}")
    script = commands.job(files[0], *overrides, cluster=options.cluster)
    if not options.dry_run:
        raise UserError(
            "nothing is submitted from here; add --dry-run and '> job.sh', look the script over, "
            "then: sbatch job.sh"
        )
    return script


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="workbench",
        description="Small multilingual language models in every official and future EU language.",
    )
    parser.add_argument("--version", action="version", version=f"workbench {__version__}")
    commands_ = parser.add_subparsers(dest="command", required=True, metavar="command")
    run = commands_.add_parser("run", help="carry recipes out, one after the other")
    run.add_argument(
        "recipes", nargs="+", metavar="RECIPE|key=value", help="recipe files, and settings for them"
    )
    run.add_argument("--fresh", action="store_true", help="set existing runs aside, begin anew")
    run.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes of an inspection; by the amount of text where not given",
    )
    run.add_argument(
        "--cluster", default="", metavar="NAME", help="the job for a file in recipes/cluster/"
    )
    run.add_argument("--dry-run", action="store_true", help="of --cluster: print the job's script")
    plan = commands_.add_parser("plan", help="FLOPs, memory, time and energy of a training")
    plan.add_argument(
        "subject",
        nargs="+",
        metavar="RECIPE|SIZE|RUN|key=value",
        help="what to plan, then settings such as tokens=10e12, mfu=0.45 or train.steps=50",
    )
    plan.add_argument("--machine", default="", metavar="NAME", help="such as lumi-g or h100")
    plan.add_argument(
        "--gpus", type=int, default=0, metavar="N", help="one node of the machine where not given"
    )
    plan.add_argument(
        "--allocation",
        type=float,
        default=0.0,
        metavar="GPU_HOURS",
        help="as the machine bills them; tells what fits",
    )
    for name, purpose in (
        ("resume", "go on with an unfinished run"),
        ("stop", "ask a training or an inspection to save and stop"),
        ("show", "what a run asked, how it went, its results"),
        ("verify", "hold a run's files against their checksums"),
        ("document", "write model card and data summary from a run's records"),
    ):
        commands_.add_parser(name, help=purpose).add_argument("run", metavar="RUN")
    commands_.add_parser("list", help="all runs")
    table = commands_.add_parser("languages", help="the registry and the data sets' coverage")
    table.add_argument("--json", action="store_true", help="for programs")
    commands_.add_parser("demo", help="the whole series on the starter corpus")
    commands_.add_parser("lab", help="open JupyterLab on the notebooks")
    return parser


if __name__ == "__main__":
    sys.exit(main())
