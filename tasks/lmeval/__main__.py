"""lm-eval's own command line, with our model `harness` and our tasks in it.

python -m tasks.lmeval --model harness --model_args name=bundled/tiny-base --tasks micro --limit 10
python -m tasks.lmeval ls tasks
"""

from __future__ import annotations

import sys

from harness.console.text import printable
from harness.errors import HarnessError
from harness.extras import install_command
from tasks.lmeval.task_files import write_task_files

INCLUDE = "--include_path"


def main() -> int:
    """Registers, then hands the arguments on. Returns 2 with a sentence for what is wrong on our side."""
    try:
        from lm_eval.__main__ import cli_evaluate
        from lm_eval.api.registry import register_model
    except ImportError:
        print(f"lm-eval is not installed: {install_command('lm-eval')}.", file=sys.stderr)
        return 2
    from tasks.lmeval.model import NAME, HarnessLM

    register_model(NAME)(HarnessLM)
    try:
        if len(sys.argv) > 1 and not any(argument.startswith(INCLUDE) for argument in sys.argv):
            sys.argv += [INCLUDE, str(write_task_files({}))]
        cli_evaluate()
    except HarnessError as error:
        print(printable(str(error)), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
