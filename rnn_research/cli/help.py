"""What `rnn-train --help` prints: the config groups and their options, read from the yamls' first lines."""

from __future__ import annotations

from rnn_research.config.groups import CONF, config_dirs, options

USAGE = """\
rnn-train: does the gradient vanish, and what does clipping do about it? One training, or a sweep of them.

usage: rnn-train [GROUP=OPTION ...] [KEY=VALUE ...]             one run
       rnn-train -m GROUP=OPTION,OPTION KEY=VALUE,VALUE ...     a sweep: every combination
       rnn-train experiment=NAME                                a study with a question
       rnn-train --config-dir FOLDER ...                        with your own options beside these
       rnn-train --cfg job ...                                  print the config, train nothing
       rnn-compare FOLDER                                       compare the runs in a folder

often used: model.cell.hidden_size=64 dataset.length=50 dataset.root=FOLDER dataset.batch_size=32
            clipping.max_norm=1.0 optimizer.lr=0.001 trainer.max_steps=500 trainer.max_epochs=10 seed=0
            model.match_parameters=20000 hydra.run.dir=FOLDER (with -m: hydra.sweep.dir=FOLDER)
"""


def help_text(arguments: list[str]) -> str:
    """The whole help."""
    lines = [USAGE]
    for group, members in options([CONF, *config_dirs(arguments)]).items():
        lines.append(f"{group}=")
        lines += [f"  {name:22} {line}" for name, line in sorted(members.items())]
        lines.append("")
    lines.append("init=, clipping=, regularizer= and probe= take lists, in order: clipping=[value,global_norm]")
    lines.append("in a list, an option's keys stand below its name: clipping.value.max_value=0.1")
    return "\n".join(lines)
