"""`iapt-train`: one run, from a configuration to its result row."""

import sys
from collections.abc import Sequence

from iapt.cli.configuration import CONFIG_DIR, check_keys, guarded, help_text, prepare, refuse_grid
from iapt.errors import IaptError

EXAMPLES = (
    "iapt-train task=boolq method=iapt",
    "iapt-train task=sst2 method=lora hparams.max_steps=100 data=<folder>",
    "iapt-train task=boolq method=iapt +experiment=paper    # LLaMA-2 7B, released data, Appendix F; needs a GPU",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help", "help"} & set(words):
        print(
            help_text(
                "iapt-train",
                "train one method on one task, decode the test set, write one row.",
                EXAMPLES,
            )
        )
        return 0
    return guarded(lambda: _train(words))


def _train(words: list[str]) -> None:
    refuse_grid(words)
    prepared = prepare(words)
    check_keys(prepared)
    from omegaconf import DictConfig, OmegaConf

    failures: list[IaptError] = []

    def task(config: DictConfig) -> None:
        from iapt.run import run

        values = OmegaConf.to_container(config, resolve=True)
        assert isinstance(values, dict)
        try:
            run({str(k): v for k, v in values.items()})
        except IaptError as error:  # Hydra would print a report of its own above ours
            failures.append(error)

    run_hydra(task, prepared)
    if failures:
        raise failures[0]


def run_hydra(task: object, prepared: Sequence[str]) -> None:
    """Let Hydra compose and call `task`; our errors pass through instead of being printed by Hydra."""
    import os

    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints its own report and exits
    sys.argv = [sys.argv[0], *prepared]
    hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="config")(task)()  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
